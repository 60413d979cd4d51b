"""A vault with its first owner, and people who come by letters: what tests of accounts ask again and again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from flask import Response

from auricle.ports.hashing import PasswordHasher
from builders.house import House, house
from builders.quick_hasher import QuickHasher

OWNER = "ada@vault.example"
PASSWORD = "brass lantern over quiet water"
OTHER = "seven green bicycles at midnight"
THIRD = "a kettle hums below the stairs"
TOKEN = re.compile(r"#token=(aur[a-z]+_[\w-]+)")
_addresses = count(1)
T = TypeVar("T")


@contextmanager
def vault(database_url: str, first: str = PASSWORD, quick: bool = True, **settings: Any) -> Iterator[House]:
    """A house with its first owner, whose password is `first`. Hashes cost little where they are to be `quick`."""
    chosen: dict[str, Any] = {"password_profile": "nist", "public_url": "http://127.0.0.1:8787", **settings}
    with house(database_url, **chosen) as home:
        if quick:
            home.bound.wiring.__dict__.setdefault("_ports", {})[PasswordHasher] = QuickHasher()
        # The first request makes the code.
        home.raw("POST", "/api/setup", {"code": "", "email": OWNER, "display_name": "Ada", "password": first})
        code = (Path(home.bound.wiring.settings.data_dir) / "setup-code").read_text()
        made = home.raw("POST", "/api/setup", {"code": code, "email": OWNER, "display_name": "Ada", "password": first})
        assert made.status_code == 201, made.get_data(as_text=True)
        yield home


def from_somewhere(home: House, method: str, path: str, body: Any = None, **headers: str) -> Response:
    """A call by somebody who is not signed in, each from another address: addresses have limits."""
    n = next(_addresses)
    with home.coming_from(f"192.0.{n // 250 + 2}.{n % 250 + 1}"):
        return home.raw(method, path, body, **{"Authorization": "", **headers})


def sign_in(home: House, email: str, password: str, **headers: str) -> Response:
    """The answer to a sign-in."""
    return from_somewhere(home, "POST", "/api/session", {"email": email, "password": password}, **headers)


def bearer(home: House, email: str = OWNER, password: str = PASSWORD) -> dict[str, str]:
    """To ask as somebody, signed in just now."""
    answer = sign_in(home, email, password)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    return {"Authorization": f"Bearer {answer.get_json()['access_token']}"}


def letters(home: House, address: str) -> list[str]:
    """The subjects of what somebody got so far."""
    home.settle()
    return [letter.subject for letter in home.mail.to(address)]


def token(home: House, address: str) -> str:
    """The one in the last letter to somebody that has one."""
    home.settle()
    found = [match[1] for letter in home.mail.to(address) if (match := TOKEN.search(letter.text))]
    assert found, f"no link was mailed to {address}"
    return found[-1]


def newcomer(home: House, email: str, role: str = "member", password: str = OTHER, **by: str) -> dict[str, Any]:
    """Somebody with a new account and a password of their own, made by the owner."""
    made: dict[str, Any] = home.ask(
        "POST",
        "/api/users",
        {"email": email, "display_name": email.partition("@")[0].title(), "role": role},
        **(by or bearer(home)),
    )
    chosen = {"token": token(home, email), "password": password}
    assert from_somewhere(home, "POST", "/api/password-reset/complete", chosen).status_code == 204
    user: dict[str, Any] = made["user"]
    return user


def at_once(act: Callable[[int], T], times: int = 2) -> list[T]:
    """What came of doing something several times at the same moment."""
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(act, range(times)))

"""What the audit trail says of sign-ins, and of requests that were refused; and how little a flood of them writes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from auricle.admin.audit.model import AuditFilter, AuditRow
from auricle.admin.audit.store import AuditStore
from builders.house import House, house

PASSWORD = "brass lantern over quiet water"
EMAIL = "ada@vault.example"
ADDRESSES = count(1)


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url, password_profile="nist", public_url="http://127.0.0.1:8787") as made:
        code = Path(made.bound.wiring.settings.data_dir) / "setup-code"
        made.raw("POST", "/api/setup", {"code": "", "email": EMAIL, "display_name": "Ada", "password": PASSWORD})
        made.ask("POST", "/api/setup", {"code": code.read_text(), "email": EMAIL, "display_name": "Ada", "password": PASSWORD})
        yield made


@pytest.fixture
def address() -> str:
    return f"198.51.100.{next(ADDRESSES)}"


def trail(home: House, address: str) -> list[AuditRow]:
    """What was written about who came from there, in order."""
    with home.bound.wiring.database.work() as db:
        return AuditStore(db).page(200, None, AuditFilter(address=address))[::-1]


def sign_in(home: House, address: str, password: str = PASSWORD, email: str = EMAIL) -> Any:
    with home.coming_from(address):
        return home.raw("POST", "/api/session", {"email": email, "password": password})


def test_a_sign_in_is_told_with_who_when_where_and_how(home: House, address: str) -> None:
    answer = sign_in(home, address)
    (entry,) = trail(home, address)
    me = home.ask("GET", "/api/me")["id"]
    assert (entry.kind, entry.outcome, entry.actor_kind, str(entry.actor)) == ("auth.login", "success", "person", me)
    assert (entry.function, entry.subject_kind, entry.subject_id) == ("identity", "user", me)
    assert entry.details["session"] == answer.get_json()["session_id"]
    assert entry.details["method"] == "password"
    assert entry.trace_id


@pytest.mark.parametrize(
    ("email", "password", "reason"),
    [(EMAIL, "typed amiss", "wrong-password"), ("nobody@vault.example", PASSWORD, "unknown-account")],
)
def test_a_failed_sign_in_is_told_without_what_was_typed(
    home: House, address: str, email: str, password: str, reason: str
) -> None:
    assert sign_in(home, address, password, email).status_code == 401
    (entry,) = trail(home, address)
    assert (entry.kind, entry.outcome, entry.details["reason"]) == ("auth.login", "failure", reason)
    assert entry.details["route"] == "POST /api/session"
    assert len(entry.details["account"]) == 16
    written = repr(entry)
    assert email not in written
    assert password not in written


def test_a_locked_account_is_told_as_such(home: House, address: str) -> None:
    answers = [sign_in(home, address, "wrong", "locked@vault.example").status_code for _ in range(8)]
    assert answers[-1] == 429
    assert trail(home, address)[-1].details["reason"] == "locked"


def test_signing_out_and_being_refused_are_told(home: House, address: str) -> None:
    token = sign_in(home, address).get_json()["access_token"]
    with home.coming_from(address):
        assert home.raw("DELETE", "/api/session", Authorization=f"Bearer {token}").status_code == 204
        assert home.raw("GET", "/api/me", Authorization=f"Bearer {token}").status_code == 401
        assert home.raw("GET", "/api/me", Authorization=f"Bearer {token}", User_Agent="other").status_code == 401
        assert home.raw("GET", "/api/me", Authorization=f"Bearer {token[:-6]}AAAAAA").status_code == 401
        assert home.raw("GET", "/api/me", Authorization="Bearer aur_nothing").status_code == 401
    told = [(e.kind, e.outcome, e.details.get("reason")) for e in trail(home, address)]
    assert told == [
        ("auth.login", "success", None),
        ("auth.logout", "success", None),
        ("access.denied", "failure", "revoked"),
        ("access.denied", "failure", "wrong-fingerprint"),
        ("access.denied", "failure", "wrong-signature"),
        ("access.denied", "failure", "malformed"),
    ]


def test_who_guesses_credentials_is_made_to_wait_and_writes_one_entry(home: House, address: str) -> None:
    with home.coming_from(address):
        answers = [home.raw("GET", "/api/me", Authorization=f"Bearer aur_guess{n}") for n in range(90)]
        nobody = home.raw("GET", "/api/me", Authorization="")
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {401, 429}
    assert codes[:60] == [401] * 60
    assert codes.count(429) > 20
    assert int(next(a for a in answers if a.status_code == 429).headers["Retry-After"]) >= 1
    assert nobody.status_code in (401, 429)
    entries = trail(home, address)
    assert sum(e.kind == "access.rate_limited" for e in entries) == 1
    assert sum(e.kind == "access.denied" for e in entries) == codes.count(401)
    # who has a good token is not kept out by a neighbour's guessing
    with home.coming_from(address):
        assert home.raw("GET", "/api/me").status_code == 200


def test_a_refused_change_of_password_leaves_its_entry_though_the_change_is_undone(home: House, address: str) -> None:
    token = sign_in(home, address).get_json()["access_token"]
    with home.coming_from(address):
        body = {"current_password": "no", "password": "seven green bicycles at midnight"}
        assert home.raw("PUT", "/api/me/password", body, Authorization=f"Bearer {token}").status_code == 422
    assert [(e.kind, e.details.get("reason")) for e in trail(home, address)][-1] == ("auth.password.change", "wrong-password")

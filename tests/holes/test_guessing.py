"""Holes of guessing: counters that many guesses at once slip under, codes that work twice, answers that tell who is here."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from flask import Response

from auricle.access.model import PrincipalId
from auricle.access.permissions import Role
from auricle.access.store import people, principals
from auricle.adapters.hashing.argon2id import Argon2id
from auricle.admin.configuration.actions import Configuration
from auricle.contract.ids import uuid7
from auricle.identity.accounts.model import REGISTRATION, RegistrationMode, RegistrationPolicy
from auricle.ports.hashing import PasswordHasher
from builders.house import House
from builders.members import PASSWORD, by_password, code, held, member, with_app
from builders.newcomers import at_once, bearer, from_somewhere, letters, sign_in
from builders.quick_hasher import QuickHasher
from builders.visitor import Visitor

ROUNDS, PAIRS = 3, 40
MARGIN = 0.25
"""Of the median: how far two kinds of accounts may be apart. One Argon2id more or less would be as much as all of it."""
_numbers = count(1)


# Counters


def test_non_atomic_lockout(home: House) -> None:
    """Twelve guesses at one moment are five, for an account that there is and for one that there is not."""
    hasher = home.bound.wiring.provide(PasswordHasher)
    assert isinstance(hasher, QuickHasher)
    for email in (member(home).email, "nobody-at-once@vault.example"):
        before = hasher.worked
        answers = at_once(lambda n, email=email: sign_in(home, email, f"guess number {n}").status_code, 12)  # type: ignore[misc]
        assert sorted(answers) == [401] * 5 + [429] * 7
        assert hasher.worked - before == 5


def test_lockout_by_spelling(home: House) -> None:
    """One account has one counter, however its address is typed."""
    email = member(home).email
    spellings = (email, email.upper(), f" {email} ", email.title(), email.replace("vault", "Vault"))
    assert [sign_in(home, spelling, "guess").status_code for spelling in spellings] == [401] * 5
    assert sign_in(home, email, PASSWORD).status_code == 429


def test_second_factor_guessed_without_end(home: House) -> None:
    """The half token, the session's step-up and a new half token share one counter."""
    ada = member(home)
    app = with_app(home, held(by_password(home, ada)))
    halves = [held(by_password(home, ada)) for _ in range(3)]
    answers = at_once(
        lambda n: from_somewhere(home, "POST", "/api/mfa/verify", {"code": f"{n:06}"}, **halves[n % 3]).status_code, 12
    )
    assert answers.count(422) <= 5
    assert set(answers) <= {422, 429}
    assert from_somewhere(home, "POST", "/api/mfa/verify", {"code": app.backup[0]}, **halves[0]).status_code == 429


# Codes


def test_replayed_totp(home: House) -> None:
    ada = member(home)
    secret = home.ask("POST", "/api/mfa/totp", **(first := held(by_password(home, ada))))["secret"]
    used = code(secret)
    assert from_somewhere(home, "POST", "/api/mfa/totp/confirm", {"code": used}, **first).status_code == 200
    assert verified(home, by_password(home, ada), used) == 422  # shown when it was set up
    shown = code(secret, 1)
    assert verified(home, by_password(home, ada), shown) == 200
    assert verified(home, by_password(home, ada), shown) == 422
    assert verified(home, by_password(home, ada), used) == 422  # nor an older one after a younger


def test_totp_replayed_at_the_same_moment(home: House) -> None:
    ada = member(home)
    app = with_app(home, held(by_password(home, ada)))
    halves = [by_password(home, ada) for _ in range(4)]
    shown = code(app.secret, 1)
    assert sorted(at_once(lambda n: verified(home, halves[n], shown), 4)) == [200, 422, 422, 422]


def test_backup_code_twice(home: House) -> None:
    ada = member(home)
    app = with_app(home, held(by_password(home, ada)))
    assert verified(home, by_password(home, ada), app.backup[0]) == 200
    assert verified(home, by_password(home, ada), app.backup[0]) == 422
    halves = [by_password(home, ada) for _ in range(4)]
    assert sorted(at_once(lambda n: verified(home, halves[n], app.backup[1]), 4)) == [200, 422, 422, 422]


def verified(home: House, owed: Response, shown: str) -> int:
    return from_somewhere(home, "POST", "/api/mfa/verify", {"code": shown}, **held(owed)).status_code


# Who is here: by the answer


def told(answer: Response) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Everything that a stranger is told, but for what is another's for every request."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("X-Request-Id", "Set-Cookie")}
    body = dict(answer.get_json() or {})
    body.pop("trace", None)
    return answer.status_code, headers, body


def fresh(kind: str, home: House, hashed: str | None = None) -> str:
    """The address of an account of that kind, which nobody has tried yet."""
    email = f"{kind}-{next(_numbers)}@vault.example"
    if kind == "unknown":
        return email
    id = PrincipalId(uuid7())
    kept = hashed or home.bound.wiring.provide(PasswordHasher).hash(PASSWORD)
    with home.bound.wiring.database.work() as db:
        db.execute(principals.insert().values(id=id, kind="person", name=str(id)))
        db.execute(
            people.insert().values(
                principal_id=id,
                email=email,
                email_key=email,
                display_name="Somebody",
                role=Role.MEMBER.value,
                state="disabled" if kind == "disabled" else "pending" if kind == "pending" else "active",
                password_hash=None if kind == "passwordless" else kept,
                changed_at=datetime.now(UTC),
                expires_at=datetime(2020, 1, 1, tzinfo=UTC) if kind == "expired" else None,
            )
        )
    return email


KINDS = ("known", "unknown", "disabled", "passwordless", "expired", "pending")


def test_user_enumeration_by_the_answer_of_a_sign_in(home: House) -> None:
    first = {kind: told(sign_in(home, fresh(kind, home), "not the password")) for kind in KINDS}
    assert all(answer == first["known"] for answer in first.values())
    right = {kind: told(sign_in(home, fresh(kind, home), PASSWORD)) for kind in KINDS if kind != "known"}
    assert all(answer == first["known"] for answer in right.values())  # closed ones, too, to who knows the password


def test_user_enumeration_by_a_lock(home: House) -> None:
    locked = {}
    for kind in KINDS:
        email = fresh(kind, home)
        answers = [sign_in(home, email, "guess") for _ in range(6)]
        locked[kind] = [answer.status_code for answer in answers], answers[-1].get_json()["title"]
    assert all(answer == locked["known"] for answer in locked.values())


@pytest.mark.parametrize("path", ["/api/password-reset", "/api/registration"])
def test_user_enumeration_by_the_answer_to_who_asks_for_a_letter(home: House, path: str) -> None:
    let_register(home)
    answers = {kind: told(from_somewhere(home, "POST", path, {"email": fresh(kind, home)})) for kind in KINDS}
    assert answers["known"][0] == 202
    assert all(answer == answers["known"] for answer in answers.values())


def let_register(home: House) -> None:
    configuration: Configuration = home.bound.wiring.provide(Configuration)
    with home.bound.wiring.database.work() as db:
        configuration.put(db, REGISTRATION, RegistrationPolicy(mode=RegistrationMode.OPEN), None, None, expected=None)


def test_user_enumeration_by_another_address(home: House) -> None:
    """Who changes their address is not told whether somebody has the new one."""
    answers = []
    for kind in ("known", "unknown"):
        mine = bearer(home, fresh("known", home), PASSWORD)
        body = {"email": fresh(kind, home), "password": PASSWORD}
        answers.append(told(from_somewhere(home, "PUT", "/api/me/email", body, **mine)))
    assert answers[0] == answers[1]
    assert answers[0][0] == 202


def test_user_enumeration_by_passkeys(home: House) -> None:
    """Which passkeys there are is asked of nobody: there is no name to ask about."""
    options = from_somewhere(home, "POST", "/api/session/passkey/options").get_json()["options"]
    assert options["allowCredentials"] == []


def test_a_letter_goes_only_to_who_is_here(home: House) -> None:
    """The other side of the same answers: what differs is the mailbox, which strangers do not see."""
    known, unknown = fresh("known", home), fresh("unknown", home)
    for email in (known, unknown):
        from_somewhere(home, "POST", "/api/password-reset", {"email": email})
    assert (len(letters(home, known)), letters(home, unknown)) == (1, [])


# Who is here: by the time


@pytest.fixture
def slow(home: House) -> Iterator[str]:
    """With the hasher of real deployments; the hash of `PASSWORD`."""
    ports = home.bound.wiring.__dict__["_ports"]
    before, ports[PasswordHasher] = ports[PasswordHasher], Argon2id()
    try:
        yield ports[PasswordHasher].hash(PASSWORD)
    finally:
        ports[PasswordHasher] = before


def apart(measure: Callable[[str], float], kinds: tuple[str, ...]) -> dict[str, float]:
    """How far each kind's median is from the first's, as a part of it. Kinds take turns, so that a busy machine is busy for all."""
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(PAIRS):
        for kind in kinds if turn % 2 else reversed(kinds):
            times[kind].append(measure(kind))
    middle = {kind: statistics.median(found) for kind, found in times.items()}
    return {kind: abs(median / middle[kinds[0]] - 1) for kind, median in middle.items()}


def timed(act: Callable[[], Response], status: int) -> float:
    begun = time.perf_counter()
    answer = act()
    passed = time.perf_counter() - begun
    assert answer.status_code == status, answer.get_data(as_text=True)
    return passed


def within_margin(measure: Callable[[str], float], kinds: tuple[str, ...]) -> dict[str, float]:
    """The first of some rounds in which all kinds are within the margin, or the last: noise does not repeat, a difference does."""
    for _ in range(ROUNDS):
        found = apart(measure, kinds)
        if max(found.values()) < MARGIN:
            break
    return found


def test_user_enumeration_by_the_time_of_a_sign_in(home: House, slow: str) -> None:
    """A wrong password, no such account, a closed one, one without a password: 40 of each, interleaved; medians within 25 %."""

    def measure(kind: str) -> float:
        email = fresh(kind, home, slow)
        visitor = Visitor(home)
        return timed(lambda: visitor.ask("POST", "/api/session", {"email": email, "password": "not the password"}), 401)

    found = within_margin(measure, ("known", "unknown", "disabled", "passwordless"))
    assert max(found.values()) < MARGIN, found


def test_user_enumeration_by_the_time_of_a_password_reset(home: House) -> None:
    """The letter is written after the answer, for an account as for none."""

    def measure(kind: str) -> float:
        email = fresh(kind, home)
        visitor = Visitor(home)
        return timed(lambda: visitor.ask("POST", "/api/password-reset", {"email": email}), 202)

    found = within_margin(measure, ("known", "unknown", "disabled"))
    assert max(found.values()) < MARGIN, found

"""Second factors that are required, of some roles or of all, and the step-up that dangerous things ask for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from auricle.access.mfa import MfaPolicy, Required, policy_of
from auricle.access.model import PrincipalId
from auricle.access.permissions import Role
from auricle.access.store import people
from auricle.admin.audit.kinds import EventKind
from auricle.admin.audit.model import AuditFilter
from auricle.admin.audit.store import AuditStore
from auricle.admin.audit.trail import SYSTEM, Facts, Trail
from auricle.errors import NotFound
from auricle.identity.factors.enrolling import reset_factors
from auricle.identity.store import IdentityStore
from auricle.ports.ephemeral import Ephemeral
from builders.house import House, house
from builders.members import PASSWORD, by_password, code, from_elsewhere, held, member, proofs_age, quickly, required, with_app

ADMINS = MfaPolicy(required=Required.ROLES, roles=frozenset({Role.OWNER, Role.ADMIN}))
MAKE_TOKEN = {"name": "for a script"}
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def house_of_many(database_url: str) -> Iterator[House]:
    with house(database_url, public_url="http://127.0.0.1:8787", mfa_required="auditor") as made:
        yield quickly(made)


@pytest.fixture
def home(house_of_many: House) -> Iterator[House]:
    yield house_of_many
    required(house_of_many, None)


def test_who_must_have_one_enrols_before_anything_else(home: House) -> None:
    required(home, ADMINS)
    admin = member(home, Role.ADMIN)
    owed = by_password(home, admin)
    assert (owed.status_code, owed.get_json()["enrol"], owed.get_json()["factors"]) == (200, True, [])
    pending = held(owed)
    assert home.raw("GET", "/api/me", **pending).get_json()["at"] == "GET /api/mfa"
    mine = home.ask("GET", "/api/mfa", **pending)
    assert (mine["required"], mine["signed_in"], mine["needs"]) == (True, False, "factor")
    app = with_app(home, pending)
    assert home.ask("GET", "/api/me", **app.session)["roles"] == ["admin"]
    assert home.raw("GET", "/api/mfa", **pending).status_code == 401


def test_others_sign_in_as_before(home: House) -> None:
    required(home, ADMINS)
    assert by_password(home, member(home, Role.MEMBER)).status_code == 201


def test_the_environment_says_what_holds_until_somebody_sets_it(home: House) -> None:
    auditor = member(home, Role.AUDITOR)
    assert by_password(home, auditor).get_json()["answer"] == "pending"
    required(home, MfaPolicy())
    assert by_password(home, auditor).get_json()["answer"] == "session"


def test_a_session_from_before_the_requirement_only_enrols(home: House) -> None:
    ada = member(home)
    session = held(by_password(home, ada))
    required(home, MfaPolicy(required=Required.ALL))
    refused = home.raw("GET", "/api/me", **session)
    assert (refused.status_code, refused.get_json()["needs"]) == (403, "factor")
    assert home.ask("GET", "/api/mfa", **session)["required"] is True
    app = with_app(home, session)
    assert home.raw("GET", "/api/me", **app.session).status_code == 200


def test_a_session_from_long_before_confirms_with_the_password_first(home: House) -> None:
    ada = member(home)
    session = held(by_password(home, ada))
    required(home, MfaPolicy(required=Required.ALL))
    proofs_age(home, ada, HOUR)
    refused = home.raw("POST", "/api/mfa/totp", **session)
    assert (refused.status_code, refused.get_json()["at"]) == (403, "POST /api/session/confirm")
    confirmed = held(from_elsewhere(home, "POST", "/api/session/confirm", {"password": PASSWORD}, **session))
    assert home.raw("GET", "/api/me", **confirmed).status_code == 403
    assert home.raw("GET", "/api/me", **with_app(home, confirmed).session).status_code == 200


def test_the_last_factor_of_who_must_have_one_stays(home: House) -> None:
    required(home, ADMINS)
    app = with_app(home, held(by_password(home, member(home, Role.ADMIN))))
    refused = home.raw("DELETE", "/api/mfa/totp", **app.session)
    assert refused.status_code == 409
    assert home.raw("GET", "/api/me", **app.session).status_code == 200
    required(home, MfaPolicy())
    assert home.raw("DELETE", "/api/mfa/totp", **app.session).status_code == 200


def test_a_role_that_must_have_one_holds_from_the_next_request_on(home: House) -> None:
    required(home, ADMINS)
    ada = member(home)
    session = held(by_password(home, ada))
    assert home.raw("GET", "/api/me", **session).status_code == 200
    with home.bound.wiring.database.work() as db:
        db.execute(people.update().where(people.c.principal_id == ada.id).values(role="admin"))
    assert home.raw("GET", "/api/me", **session).status_code == 403


def stepped(home: House, session: dict[str, str]) -> tuple[int, str | None]:
    answer = home.raw("POST", "/api/tokens", MAKE_TOKEN, **session)
    return answer.status_code, answer.get_json().get("needs")


def test_dangerous_things_need_the_password_of_who_has_no_factor(home: House) -> None:
    ada = member(home)
    session = held(by_password(home, ada))
    assert stepped(home, session) == (201, None)
    proofs_age(home, ada, HOUR)
    assert stepped(home, session) == (403, "password")
    assert from_elsewhere(home, "POST", "/api/session/confirm", {"password": "no"}, **session).status_code == 422
    answer = from_elsewhere(home, "POST", "/api/session/confirm", {"password": PASSWORD}, **session)
    assert stepped(home, held(answer)) == (201, None)
    assert home.raw("GET", "/api/me", **session).status_code == 401  # a copy of the old one gains nothing


def test_dangerous_things_need_the_factor_of_who_has_one(home: House) -> None:
    ada = member(home)
    app = with_app(home, held(by_password(home, ada)))
    assert stepped(home, app.session) == (201, None)
    proofs_age(home, ada, timedelta(minutes=9))
    assert stepped(home, app.session) == (201, None)
    proofs_age(home, ada, timedelta(minutes=1, seconds=1))
    assert stepped(home, app.session) == (403, "factor")
    confirmed = held(from_elsewhere(home, "POST", "/api/session/confirm", {"password": PASSWORD}, **app.session))
    assert stepped(home, confirmed) == (403, "factor")  # the password alone is not what is asked for
    verified = from_elsewhere(home, "POST", "/api/mfa/verify", {"code": code(app.secret, 1)}, **confirmed)
    assert stepped(home, held(verified)) == (201, None)


def test_factors_are_not_changed_without_a_fresh_one(home: House) -> None:
    ada = member(home)
    app = with_app(home, held(by_password(home, ada)))
    proofs_age(home, ada, HOUR)
    asked = [("POST", "/api/mfa/totp"), ("DELETE", "/api/mfa/totp"), ("POST", "/api/mfa/backup-codes")]
    for method, path in asked:
        answer = home.raw(method, path, **app.session)
        assert (answer.status_code, answer.get_json()["needs"]) == (403, "factor"), path
    assert home.raw("POST", "/api/mfa/passkeys/options", {}, **app.session).status_code == 403


def test_guessing_the_password_in_a_session_locks_that_session_alone(home: House) -> None:
    ada = member(home)
    session, other = held(by_password(home, ada)), held(by_password(home, ada))
    answers = [
        from_elsewhere(home, "POST", "/api/session/confirm", {"password": "no"}, **session).status_code for _ in range(6)
    ]
    assert answers == [422] * 5 + [429]
    assert from_elsewhere(home, "POST", "/api/session/confirm", {"password": PASSWORD}, **other).status_code == 200
    assert by_password(home, ada).status_code == 201


def trail(home: House, db: object) -> Trail:
    return Trail(Facts(), lambda: datetime.now(UTC), lambda name: name, db, SYSTEM)


def test_an_administrators_reset_takes_everything_away_and_ends_all_sessions(home: House) -> None:
    ada = member(home)
    app = with_app(home, held(by_password(home, ada)))
    with home.bound.wiring.database.work() as db:
        store, ephemeral = IdentityStore(db), home.bound.wiring.provide(Ephemeral)
        assert reset_factors(store, ephemeral, trail(home, db), PrincipalId(ada.id)) == 2
        with pytest.raises(NotFound):
            reset_factors(store, ephemeral, trail(home, db), PrincipalId(UUID(int=7)))
    assert home.raw("GET", "/api/me", **app.session).status_code == 401
    assert by_password(home, ada).status_code == 201
    with home.bound.wiring.database.work() as db:
        page = AuditStore(db).page(50, None, AuditFilter(kinds=(EventKind.MFA_RESET,)))
    assert str(ada.id) in {row.subject_id for row in page}


@pytest.mark.parametrize(
    ("said", "policy"),
    [
        ("none", MfaPolicy()),
        ("", MfaPolicy()),
        ("all", MfaPolicy(required=Required.ALL)),
        ("admin, owner", ADMINS),
    ],
)
def test_a_setting_says_of_whom(said: str, policy: MfaPolicy) -> None:
    assert policy_of(said) == policy


@pytest.mark.parametrize("said", ["everybody", "none,all", "owner,none", "Owner"])
def test_a_setting_that_says_nothing_we_know_is_a_mistake(said: str) -> None:
    with pytest.raises(ValueError):
        policy_of(said)


def test_requiring_it_of_no_role_is_a_mistake() -> None:
    with pytest.raises(ValueError):
        MfaPolicy(required=Required.ROLES)


def test_nobody_is_asked_by_role_for_what_all_must_have() -> None:
    assert MfaPolicy(required=Required.ALL).requires({Role.GUEST})
    assert not ADMINS.requires({Role.MEMBER})

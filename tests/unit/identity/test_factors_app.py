"""Authenticator apps and backup codes over HTTP: enrolled, shown, replayed, used up, replaced and taken away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Response
from sqlalchemy import text

from auricle.access.model import PrincipalId
from auricle.access.permissions import Role
from auricle.access.store import people
from auricle.admin.audit.model import AuditFilter
from auricle.admin.audit.store import AuditStore
from auricle.contract.choices import Permission
from auricle.contract.function import registry
from auricle.errors import Unauthenticated
from auricle.identity.factors.presence import present_account
from auricle.identity.factors.store import FactorStore
from auricle.identity.store import IdentityStore
from auricle.ports.sealing import Sealing
from builders.house import House, house
from builders.members import Member, by_password, code, from_elsewhere, held, member, quickly, with_app

WRONG = {"code": "000 000"}


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url, public_url="http://127.0.0.1:8787") as made:
        yield quickly(made)


@pytest.fixture
def ada(home: House) -> Member:
    return member(home)


def verified(home: House, credential: dict[str, str], given: str, **more: str) -> Response:
    return from_elsewhere(home, "POST", "/api/mfa/verify", {"code": given}, **credential, **more)


def kinds(home: House, who: Member) -> list[str]:
    with home.bound.wiring.database.work() as db:
        page = AuditStore(db).page(200, None, AuditFilter(actor=who.id))
    return [f"{row.kind} {row.details.get('factor') or row.details.get('reason') or ''}".strip() for row in reversed(page)]


def test_an_app_is_set_up_and_then_owed_at_every_sign_in(home: House, ada: Member) -> None:
    first, other = by_password(home, ada), by_password(home, ada)
    app = with_app(home, held(first))
    assert len(set(app.backup)) == 10
    assert [home.raw("GET", "/api/me", **held(old)).status_code for old in (first, other)] == [401, 401]
    assert home.raw("GET", "/api/me", **app.session).status_code == 200
    owed = by_password(home, ada)
    assert (owed.status_code, "Set-Cookie" in owed.headers) == (200, False)
    told = owed.get_json()
    assert (told["answer"], told["enrol"], told["factors"]) == ("pending", False, ["totp", "backup-code"])
    assert told["expires_in"] == 600
    answer = verified(home, held(owed), code(app.secret, 1))
    assert answer.get_json()["answer"] == "session"
    assert home.raw("GET", "/api/me", **held(answer)).status_code == 200
    assert len(answer.headers.getlist("Set-Cookie")) == 2
    assert {"auth.mfa.setup totp", "auth.mfa.verify totp"} <= set(kinds(home, ada))


def test_a_picture_and_an_address_tell_the_same_secret(home: House, ada: Member) -> None:
    offer = home.ask("POST", "/api/mfa/totp", **held(by_password(home, ada)))
    assert offer["uri"].startswith("otpauth://totp/")
    assert f"secret={offer['secret']}" in offer["uri"]
    assert offer["qr_svg"].startswith("<svg")


def test_the_secret_is_kept_sealed(home: House, ada: Member) -> None:
    app = with_app(home, held(by_password(home, ada)))
    with home.bound.wiring.database.work() as db:
        row = db.execute(text("select sealed from authenticators where principal_id = :id"), {"id": ada.id}).one()
    assert app.secret.encode() not in bytes(row.sealed)
    assert home.bound.wiring.provide(Sealing).open(ada.id, "totp", bytes(row.sealed)).decode() == app.secret


def test_with_the_factor_pending_no_other_route_answers(home: House, ada: Member) -> None:
    with_app(home, held(by_password(home, ada)))
    pending = held(by_password(home, ada))
    asked = [r for r in registry.routes if r.permission not in (Permission.PUBLIC, Permission.MFA)]
    assert len(asked) > 40
    for route in asked:
        path = route.path
        for name in route.path_parameters:
            path = path.replace(f"{{{name}}}", "2026-01-31" if name == "day" else str(ada.id))
        answer = home.raw(route.method, path, {} if route.body else None, **pending)
        assert answer.status_code == 403, (route.method, path, answer.get_data(as_text=True))
        assert answer.get_json()["at"] == "POST /api/mfa/verify"
    assert "access.denied factor-required" in kinds(home, ada)


def test_a_pending_token_is_used_up_by_the_session_that_it_gives(home: House, ada: Member) -> None:
    app = with_app(home, held(by_password(home, ada)))
    pending = held(by_password(home, ada))
    assert verified(home, pending, app.backup[0]).status_code == 200
    assert verified(home, pending, app.backup[1]).status_code == 401
    assert home.raw("GET", "/api/mfa", **pending).status_code == 401


def test_a_pending_token_is_worth_nothing_elsewhere_nor_after_a_change_of_authority(home: House, ada: Member) -> None:
    app = with_app(home, held(by_password(home, ada)))
    pending = held(by_password(home, ada, User_Agent="mine"))
    assert verified(home, pending, app.backup[0], User_Agent="another").status_code == 401
    body = {"code": code(app.secret, 1)}
    session = held(from_elsewhere(home, "POST", "/api/mfa/verify", body, **held(by_password(home, ada))))
    assert home.raw("DELETE", "/api/mfa/totp", **session).status_code == 200
    assert verified(home, pending, app.backup[1], User_Agent="mine").status_code == 401


def test_kinds_of_tokens_are_not_interchangeable(home: House, ada: Member) -> None:
    app = with_app(home, held(by_password(home, ada)))
    owed = by_password(home, ada)
    token = owed.get_json()["pending"]
    page = {"Origin": "http://127.0.0.1:8787", "Sec_Fetch_Site": "same-origin"}
    assert home.raw("POST", "/api/session/refresh", Cookie=f"auricle_refresh={token}", **page).status_code == 401
    assert home.raw("POST", "/api/mfa/verify", {"code": app.backup[0]}).status_code == 403  # a personal token
    refresh = by_password(home, member(home)).headers.getlist("Set-Cookie")[0].partition(";")[0].partition("=")[2]
    assert home.raw("GET", "/api/mfa", Authorization=f"Bearer {refresh}").status_code == 401
    assert home.raw("GET", "/api/mfa", Authorization=f"Bearer {token[:-4]}AAAA").status_code == 401
    assert home.raw("POST", "/api/session/confirm", {"password": "x"}, **held(owed)).status_code == 403


def test_a_code_is_good_once(home: House, ada: Member) -> None:
    session = held(by_password(home, ada))
    secret = home.ask("POST", "/api/mfa/totp", **session)["secret"]
    typed = code(secret)
    assert home.raw("POST", "/api/mfa/totp/confirm", {"code": typed}, **session).status_code == 200
    assert verified(home, held(by_password(home, ada)), typed).status_code == 422
    later = code(secret, 1)
    assert verified(home, held(by_password(home, ada)), later).status_code == 200
    again = verified(home, held(by_password(home, ada)), later)
    assert (again.status_code, again.get_json()["field"]) == (422, "code")


def test_a_code_that_was_used_once_stays_used_whatever_the_row_says(home: House, ada: Member) -> None:
    app = with_app(home, held(by_password(home, ada)))
    later = code(app.secret, 1)
    assert verified(home, held(by_password(home, ada)), later).status_code == 200
    with home.bound.wiring.database.work() as db:
        db.execute(text("update authenticators set last_step = null where principal_id = :id"), {"id": ada.id})
    assert verified(home, held(by_password(home, ada)), later).status_code == 422


def test_a_backup_code_is_good_once_however_it_is_typed(home: House, ada: Member) -> None:
    app = with_app(home, held(by_password(home, ada)))
    assert verified(home, held(by_password(home, ada)), app.backup[0].lower().replace("-", " ")).status_code == 200
    assert verified(home, held(by_password(home, ada)), app.backup[0]).status_code == 422
    assert home.ask("GET", "/api/mfa", **held(by_password(home, ada)))["backup_codes_left"] == 9
    assert "auth.mfa.backup_used backup-code" in kinds(home, ada)


def answers_at_once(home: House, given: str, credentials: list[dict[str, str]]) -> list[int]:
    answers: list[int] = []

    def show(credential: dict[str, str]) -> None:
        answers.append(home.raw("POST", "/api/mfa/verify", {"code": given}, **credential).status_code)

    threads = [threading.Thread(target=show, args=(credential,)) for credential in credentials]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(answers)


def test_of_several_who_use_a_code_at_once_one_gets_in(home: House, ada: Member) -> None:
    app = with_app(home, held(by_password(home, ada)))
    for given in (app.backup[3], code(app.secret, 1)):
        credentials = [held(by_password(home, ada)) for _ in range(4)]
        answers = answers_at_once(home, given, credentials)
        assert answers.count(200) == 1
        assert set(answers) <= {200, 422, 429}  # whoever comes after the fifth that was too late is locked out for a while


def test_a_wrong_code_and_no_factor_are_answered_alike(home: House, ada: Member) -> None:
    without = held(by_password(home, member(home)))
    with_app(home, held(by_password(home, ada)))
    answers = [
        verified(home, who, given) for who in (without, held(by_password(home, ada))) for given in ("000000", "K7PX-3MTR-9WCD")
    ]
    assert {answer.status_code for answer in answers} == {422}
    assert len({answer.get_json()["detail"] for answer in answers}) == 1


def test_guessing_locks_the_stranger_and_not_the_session(home: House, ada: Member) -> None:
    app = with_app(home, held(by_password(home, ada)))
    pending = held(by_password(home, ada))
    assert [verified(home, pending, "000000").status_code for _ in range(6)] == [422] * 5 + [429]
    assert verified(home, pending, app.backup[0]).status_code == 429
    assert verified(home, app.session, app.backup[0]).status_code == 200


def test_a_known_device_gets_in_while_strangers_are_locked(home: House, ada: Member) -> None:
    signed_in = by_password(home, ada)
    app = with_app(home, held(signed_in))
    mine = signed_in.headers.getlist("Set-Cookie")[1].partition(";")[0]
    for _ in range(5):
        verified(home, held(by_password(home, ada)), "000000")
    assert verified(home, held(by_password(home, ada)), app.backup[0]).status_code == 429
    assert verified(home, held(by_password(home, ada)), app.backup[0], Cookie=mine).status_code == 200


def test_another_app_takes_the_place_of_the_old_one_with_its_first_code(home: House, ada: Member) -> None:
    app = with_app(home, held(by_password(home, ada)))
    offered = home.ask("POST", "/api/mfa/totp", **app.session)["secret"]
    assert home.raw("POST", "/api/mfa/totp/confirm", {"code": code(app.secret)}, **app.session).status_code == 422
    pending = held(by_password(home, ada))
    assert verified(home, pending, code(app.secret, 1)).status_code == 200  # the old one still counts
    answer = home.raw("POST", "/api/mfa/totp/confirm", {"code": code(offered)}, **app.session)
    assert verified(home, held(by_password(home, ada)), code(offered, 1)).status_code == 200
    assert verified(home, held(by_password(home, ada)), app.backup[0]).status_code == 422
    assert home.raw("POST", "/api/mfa/totp/confirm", {"code": code(offered)}, **held(answer)).status_code == 409


def test_without_the_app_the_password_is_enough_again(home: House, ada: Member) -> None:
    app = with_app(home, held(by_password(home, ada)))
    removed = home.raw("DELETE", "/api/mfa/totp", **app.session)
    assert home.raw("GET", "/api/me", **held(removed)).status_code == 200
    assert home.raw("GET", "/api/me", **app.session).status_code == 401
    assert home.raw("DELETE", "/api/mfa/totp", **held(removed)).status_code == 404
    assert by_password(home, ada).status_code == 201
    assert home.ask("GET", "/api/mfa", **held(removed))["backup_codes_left"] == 0


def test_backup_codes_are_renewed_all_together(home: House, ada: Member) -> None:
    without = held(by_password(home, ada))
    assert home.raw("POST", "/api/mfa/backup-codes", **without).status_code == 409
    app = with_app(home, without)
    codes: list[str] = home.ask("POST", "/api/mfa/backup-codes", **app.session)["backup_codes"]
    assert verified(home, held(by_password(home, ada)), app.backup[0]).status_code == 422
    assert verified(home, held(by_password(home, ada)), codes[0]).status_code == 200


def test_who_owes_a_factor_sets_up_no_other_one(home: House, ada: Member) -> None:
    with_app(home, held(by_password(home, ada)))
    pending = held(by_password(home, ada))
    assert home.raw("POST", "/api/mfa/totp", **pending).status_code == 403
    assert home.raw("POST", "/api/mfa/passkeys/options", {}, **pending).status_code == 403


def test_who_is_disabled_meanwhile_gets_no_session(home: House, ada: Member) -> None:
    app = with_app(home, held(by_password(home, ada)))
    pending = held(by_password(home, ada))
    with home.bound.wiring.database.work() as db:
        db.execute(people.update().where(people.c.principal_id == ada.id).values(state="disabled"))
    assert verified(home, pending, app.backup[0]).status_code == 401


def test_what_is_told_once_is_kept_in_no_answer(home: House, ada: Member) -> None:
    session = held(by_password(home, ada))
    key: dict[str, Any] = {"Idempotency_Key": "once-and-only"}
    assert "secret" in home.ask("POST", "/api/mfa/totp", **session, **key)
    assert home.raw("POST", "/api/mfa/totp", **session, **key).status_code == 409


def test_guests_have_factors_too(home: House) -> None:
    guest = member(home, Role.GUEST)
    app = with_app(home, held(by_password(home, guest)))
    assert verified(home, held(by_password(home, guest)), app.backup[9]).status_code == 200


def test_the_row_itself_takes_each_step_once_and_no_older_one(home: House, ada: Member) -> None:
    with_app(home, held(by_password(home, ada)))
    with home.bound.wiring.database.work() as db:
        factors, id = FactorStore(db), PrincipalId(ada.id)
        kept = factors.authenticator(id)
        assert kept is not None
        assert kept.sealed is not None
        assert kept.last_step is not None
        later = kept.last_step + 1
        assert not factors.spend_step(id, b"another secret", later)
        assert [factors.spend_step(id, kept.sealed, step) for step in (later, later, kept.last_step)] == [True, False, False]


def test_who_is_disabled_between_the_door_and_the_change_changes_nothing(home: House, ada: Member) -> None:
    with home.bound.wiring.database.work() as db:
        assert present_account(IdentityStore(db), PrincipalId(ada.id), datetime.now(UTC)).email == ada.email
        db.execute(people.update().where(people.c.principal_id == ada.id).values(state="disabled"))
        with pytest.raises(Unauthenticated):
            present_account(IdentityStore(db), PrincipalId(ada.id), datetime.now(UTC))

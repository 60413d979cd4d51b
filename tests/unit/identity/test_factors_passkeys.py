"""Passkeys over HTTP, with a security key in software: registered, alone to sign in, as a second factor, copied, renamed, removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Response
from sqlalchemy import text

from auricle.access.mfa import MfaPolicy, Required
from auricle.access.model import Site
from auricle.admin.audit.kinds import EventKind
from auricle.admin.audit.model import AuditFilter
from auricle.admin.audit.store import AuditStore
from builders.authenticator import HONEST, Answer, Device
from builders.house import House, house
from builders.members import Member, by_password, from_elsewhere, held, member, quickly, required, with_app

ORIGIN = "http://localhost:8787"


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url, public_url="http://127.0.0.1:8787") as made:
        yield quickly(made)


@pytest.fixture
def ada(home: House) -> Member:
    return member(home)


@pytest.fixture
def device() -> Device:
    return Device(ORIGIN)


def registered(
    home: House, session: dict[str, str], device: Device, use: str = "passwordless", answer: Answer = HONEST
) -> Response:
    begun = from_elsewhere(home, "POST", "/api/mfa/passkeys/options", {"use": use}, **session).get_json()
    response = json.loads(device.create(json.dumps(begun["options"]).encode(), answer))
    body = {"ceremony": begun["ceremony"], "use": use, "name": "my key", "response": response}
    return from_elsewhere(home, "POST", "/api/mfa/passkeys", body, **session)


def shown(home: House, path: str, device: Device, answer: Answer = HONEST, **headers: str) -> Response:
    """Both halves of showing a passkey at `path`."""
    begun = from_elsewhere(home, "POST", f"{path}/options", **headers).get_json()
    return from_elsewhere(home, "POST", path, given(begun, device, answer), **headers)


def given(begun: dict[str, Any], device: Device, answer: Answer = HONEST) -> dict[str, Any]:
    response = json.loads(device.get(json.dumps(begun["options"]).encode(), answer))
    return {"ceremony": begun["ceremony"], "response": response}


def alone(home: House, device: Device, answer: Answer = HONEST) -> Response:
    return shown(home, "/api/session/passkey", device, answer)


def test_a_passkey_signs_in_alone_and_counts_as_both_factors(home: House, ada: Member, device: Device) -> None:
    answer = registered(home, held(by_password(home, ada)), device)
    assert (answer.status_code, len(answer.get_json()["backup_codes"])) == (201, 10)
    assert answer.get_json()["passkey"]["passwordless"] is True
    assert by_password(home, ada).get_json()["factors"] == ["passkey", "backup-code"]
    signed_in = alone(home, device)
    assert (signed_in.status_code, signed_in.get_json()["answer"]) == (201, "session")
    session = held(signed_in)
    assert home.ask("GET", "/api/me", **session)["id"] == str(ada.id)
    assert home.raw("POST", "/api/tokens", {"name": "a fresh factor"}, **session).status_code == 201


def test_its_challenge_is_asked_of_nobody(home: House, ada: Member, device: Device) -> None:
    registered(home, held(by_password(home, ada)), device)
    begun = from_elsewhere(home, "POST", "/api/session/passkey/options").get_json()
    assert begun["options"]["allowCredentials"] == []
    assert begun["options"]["rpId"] == "localhost"


def test_an_answer_is_good_once(home: House, ada: Member, device: Device) -> None:
    registered(home, held(by_password(home, ada)), device)
    begun = from_elsewhere(home, "POST", "/api/session/passkey/options").get_json()
    body = given(begun, device)
    answers = [from_elsewhere(home, "POST", "/api/session/passkey", body).status_code for _ in "12"]
    assert answers == [201, 401]


@pytest.mark.parametrize(
    "wrong",
    [
        Answer(origin="http://localhost.evil.example:8787"),
        Answer(challenge=b"x" * 32),
        Answer(flags=0x01),  # nobody was verified
        Answer(count=0),
        Answer(handle=b"y" * 64),
        Answer(without_handle=True),
        Answer(client={"crossOrigin": True}),
    ],
    ids=["origin", "challenge", "unverified", "count", "handle", "no-handle", "frame"],
)
def test_what_is_wrong_is_answered_alike(home: House, ada: Member, device: Device, wrong: Answer) -> None:
    registered(home, held(by_password(home, ada)), device)
    refused, unknown = alone(home, device, wrong), alone(home, other_device(home))
    assert refused.status_code == unknown.status_code == 401
    assert refused.get_json()["detail"] == unknown.get_json()["detail"]
    assert "Set-Cookie" not in refused.headers


def other_device(home: House) -> Device:
    """One with a passkey that nobody registered here any more."""
    somebody, device = member(home), Device(ORIGIN)
    session = held(registered(home, held(by_password(home, somebody)), device))
    (mine,) = home.ask("GET", "/api/mfa/passkeys", **session)["items"]
    assert home.raw("DELETE", f"/api/mfa/passkeys/{mine['id']}", **session).status_code == 200
    return device


def test_a_copy_of_the_key_is_refused_and_told_of(home: House, ada: Member, device: Device) -> None:
    registered(home, held(by_password(home, ada)), device)
    assert alone(home, device).status_code == 201
    assert alone(home, device, Answer(count=1)).status_code == 401
    with home.bound.wiring.database.work() as db:
        page = AuditStore(db).page(50, None, AuditFilter(kinds=(EventKind.LOGIN,), subject_id=str(ada.id)))
    assert "replayed" in [row.details.get("reason") for row in page]


def test_a_passkey_ends_a_pending_sign_in(home: House, ada: Member, device: Device) -> None:
    registered(home, held(by_password(home, ada)), device, use="second-factor")
    pending = held(by_password(home, ada))
    assert home.raw("GET", "/api/me", **pending).status_code == 403
    answer = shown(home, "/api/mfa/passkey", device, **pending)
    assert home.raw("GET", "/api/me", **held(answer)).status_code == 200
    assert home.raw("GET", "/api/mfa", **pending).status_code == 401


def test_a_second_factor_alone_signs_nobody_in(home: House, ada: Member, device: Device) -> None:
    registered(home, held(by_password(home, ada)), device, use="second-factor")
    assert alone(home, device).status_code == 401


def test_somebody_elses_passkey_is_no_second_factor(home: House, ada: Member, device: Device) -> None:
    registered(home, held(by_password(home, ada)), device)
    mallory, theirs = member(home), Device(ORIGIN)
    registered(home, held(by_password(home, mallory)), theirs)
    pending = held(by_password(home, ada))
    begun = from_elsewhere(home, "POST", "/api/mfa/passkey/options", **pending).get_json()
    response = theirs.get(json.dumps(begun["options"]).encode(), held=theirs.held[0])
    body = {"ceremony": begun["ceremony"], "response": json.loads(response)}
    assert from_elsewhere(home, "POST", "/api/mfa/passkey", body, **pending).status_code == 401


def test_a_ceremony_is_for_what_and_whom_it_was_begun(home: House, ada: Member, device: Device) -> None:
    registered(home, held(by_password(home, ada)), device)
    begun = from_elsewhere(home, "POST", "/api/session/passkey/options").get_json()
    pending = held(by_password(home, ada))
    assert from_elsewhere(home, "POST", "/api/mfa/passkey", given(begun, device), **pending).status_code == 401
    begun = from_elsewhere(home, "POST", "/api/mfa/passkey/options", **pending).get_json()
    other = held(by_password(home, other_with_app(home)))
    assert from_elsewhere(home, "POST", "/api/mfa/passkey", given(begun, device), **other).status_code == 401


def other_with_app(home: House) -> Member:
    somebody = member(home)
    with_app(home, held(by_password(home, somebody)))
    return somebody


def test_a_passkey_steps_a_session_up(home: House, ada: Member, device: Device) -> None:
    session = held(registered(home, held(by_password(home, ada)), device))
    answer = shown(home, "/api/mfa/passkey", device, **session)
    assert home.raw("GET", "/api/me", **session).status_code == 401
    assert home.raw("POST", "/api/tokens", {"name": "after"}, **held(answer)).status_code == 201


def test_passkeys_are_listed_renamed_and_removed(home: House, ada: Member, device: Device) -> None:
    session = held(registered(home, held(by_password(home, ada)), device))
    (mine,) = home.ask("GET", "/api/mfa/passkeys", **session)["items"]
    path = f"/api/mfa/passkeys/{mine['id']}"
    assert home.raw("PATCH", path, {"name": "the blue one"}, **session).status_code == 204
    assert home.ask("GET", "/api/mfa/passkeys", **session)["items"][0]["name"] == "the blue one"
    stranger = held(by_password(home, member(home)))
    assert home.raw("PATCH", path, {"name": "mine"}, **stranger).status_code == 404
    assert home.raw("DELETE", path, **stranger).status_code == 404
    left = held(home.raw("DELETE", path, **session))
    assert home.ask("GET", "/api/mfa/passkeys", **left)["items"] == []
    assert alone(home, device).status_code == 401
    assert by_password(home, ada).status_code == 201


def test_a_device_is_registered_once(home: House, ada: Member, device: Device) -> None:
    session = held(registered(home, held(by_password(home, ada)), device))
    with pytest.raises(LookupError, match="InvalidStateError"):
        registered(home, session, device)


def test_another_passkey_brings_no_other_backup_codes(home: House, ada: Member, device: Device) -> None:
    session = held(registered(home, held(by_password(home, ada)), device))
    answer = registered(home, session, Device(ORIGIN))
    assert answer.get_json()["backup_codes"] == []
    assert home.raw("GET", "/api/me", **session).status_code == 401  # all other sign-ins ended


def test_the_last_factor_of_who_must_have_one_stays(home: House, ada: Member, device: Device) -> None:
    session = held(registered(home, held(by_password(home, ada)), device))
    (mine,) = home.ask("GET", "/api/mfa/passkeys", **session)["items"]
    required(home, MfaPolicy(required=Required.ALL))
    try:
        assert home.raw("DELETE", f"/api/mfa/passkeys/{mine['id']}", **session).status_code == 409
    finally:
        required(home, None)


def test_the_first_factor_that_is_required_can_be_a_passkey(home: House, ada: Member, device: Device) -> None:
    required(home, MfaPolicy(required=Required.ALL))
    try:
        answer = registered(home, held(by_password(home, ada)), device)
        assert home.raw("GET", "/api/me", **held(answer)).status_code == 200
    finally:
        required(home, None)


def test_who_is_disabled_is_not_signed_in(home: House, ada: Member, device: Device) -> None:
    registered(home, held(by_password(home, ada)), device)
    with home.bound.wiring.database.work() as db:
        db.execute(text("update people set state = 'disabled' where principal_id = :id"), {"id": ada.id})
    assert alone(home, device).status_code == 401


def test_another_sites_page_begins_nothing(home: House) -> None:
    foreign = {"Origin": "https://evil.example"}
    assert from_elsewhere(home, "POST", "/api/session/passkey/options", **foreign).status_code == 403


@pytest.mark.parametrize(
    ("public", "domain", "origin"),
    [
        ("https://vault.example/", "vault.example", "https://vault.example"),
        ("https://Vault.example:8443", "vault.example", "https://vault.example:8443"),
        ("http://127.0.0.1:8787", "localhost", "http://localhost:8787"),
        ("http://[::1]:8787", "localhost", "http://localhost:8787"),
        ("http://vault.localhost:8787", "vault.localhost", "http://vault.localhost:8787"),
    ],
)
def test_passkeys_are_for_the_sites_own_domain(public: str, domain: str, origin: str) -> None:
    assert Site(public).passkey_domain == (domain, origin)

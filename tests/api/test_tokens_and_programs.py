"""Personal tokens and service accounts over HTTP: never more than their maker, never by a token, never told twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Response
from sqlalchemy import select

from auricle.access.permissions import Role, possible_scopes
from auricle.access.store import people
from auricle.admin.audit.store import audit_events
from auricle.runtime.repeats import idempotency_keys
from builders.house import House, house
from builders.persons import Person, person


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url, public_url="http://127.0.0.1:8787") as made:
        yield made


def with_token(home: House, token: str, method: str, path: str, body: Any = None) -> Response:
    return home.raw(method, path, body, Authorization=f"Bearer {token}")


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN, Role.AUDITOR, Role.MEMBER])
def test_a_token_without_scopes_says_all_that_its_maker_may(home: House, role: Role) -> None:
    who = person(home.bound.wiring, role)
    made = home.ask("POST", "/api/tokens", {"name": "all"}, status=201, **who.headers)
    assert set(made["scopes"]) == possible_scopes({role})
    (listed,) = home.ask("GET", "/api/tokens", **who.headers)["items"]
    assert (listed["scopes"], "token" in listed) == (made["scopes"], False)


def test_a_token_asks_for_no_more_than_its_maker_may(home: House) -> None:
    who = person(home.bound.wiring)
    for scopes in (["operate"], ["files:read", "audit:read"], ["no:such"], ["*"]):
        home.ask("POST", "/api/tokens", {"name": "more", "scopes": scopes}, status=422, **who.headers)
    home.ask("POST", "/api/tokens", {"name": "g"}, status=403, **person(home.bound.wiring, Role.GUEST).headers)
    home.ask("POST", "/api/tokens", {"name": "g"}, status=403, Authorization=f"Bearer {who.stale}")


def test_what_its_maker_may_no_longer_the_token_may_not_either(home: House) -> None:
    who = person(home.bound.wiring, Role.ADMIN)
    token = home.ask("POST", "/api/tokens", {"name": "ops"}, status=201, **who.headers)["token"]
    assert with_token(home, token, "GET", "/api/dead-letters").status_code == 200
    with home.bound.wiring.database.work() as db:
        db.execute(people.update().where(people.c.principal_id == who.id).values(role="member"))
    assert with_token(home, token, "GET", "/api/dead-letters").status_code == 403
    assert with_token(home, token, "GET", "/api/files").status_code == 200


def test_no_token_makes_another(home: House) -> None:
    assert home.raw("POST", "/api/tokens", {"name": "more"}).status_code == 403


def test_a_repeated_request_for_a_token_makes_one_and_tells_its_secret_once(home: House) -> None:
    who = person(home.bound.wiring)
    body, again = {"name": "once"}, {"Idempotency_Key": "token-1", **who.headers}
    secret = home.ask("POST", "/api/tokens", body, status=201, **again)["token"]
    repeated = home.ask("POST", "/api/tokens", body, status=409, **again)
    assert secret not in str(repeated)
    assert "kept nowhere" in repeated["detail"]
    assert len(home.ask("GET", "/api/tokens", **who.headers)["items"]) == 1
    with home.bound.wiring.database.work() as db:
        kept = db.execute(select(idempotency_keys).where(idempotency_keys.c.key == "token-1")).one()
    assert secret.encode() not in bytes(kept.body)
    assert secret not in str(kept.headers)


@pytest.fixture
def admin(home: House) -> Person:
    return person(home.bound.wiring, Role.ADMIN)


def test_a_program_lives_by_tokens_that_administrators_make_for_it(home: House, admin: Person) -> None:
    made = home.ask("POST", "/api/service-accounts", {"name": "importer"}, status=201, **admin.headers)
    path = f"/api/service-accounts/{made['id']}"
    home.ask("POST", "/api/service-accounts", {"name": "importer"}, status=409, **admin.headers)
    token = home.ask("POST", f"{path}/tokens", {"name": "ci", "expires_in_days": 1}, status=201, **admin.headers)
    assert set(token["scopes"]) == possible_scopes({Role.MEMBER})
    me = with_token(home, token["token"], "GET", "/api/me").get_json()
    assert (me["id"], me["name"], me["roles"], me["email"]) == (made["id"], "importer", ["member"], None)
    upload = {"name": "a.mp3", "size": 5}
    assert with_token(home, token["token"], "POST", "/api/uploads", upload).status_code == 201
    for method, refused in (("POST", "/api/tokens"), ("POST", f"{path}/tokens"), ("GET", "/api/sessions")):
        assert with_token(home, token["token"], method, refused, {"name": "x"}).status_code == 403
    assert "importer" in [a["name"] for a in home.ask("GET", "/api/service-accounts", **admin.headers)["items"]]
    home.ask("DELETE", f"{path}/tokens/{token['id']}", status=204, **admin.headers)
    assert with_token(home, token["token"], "GET", "/api/me").status_code == 401
    second = home.ask("POST", f"{path}/tokens", {"name": "ci"}, status=201, **admin.headers)["token"]
    home.ask("DELETE", path, status=204, **admin.headers)
    assert with_token(home, second, "GET", "/api/me").status_code == 401
    home.ask("DELETE", path, status=404, **admin.headers)
    home.ask("POST", f"{path}/tokens", {"name": "late"}, status=404, **admin.headers)
    home.ask("POST", "/api/service-accounts", {"name": "importer"}, status=201, **admin.headers)  # the name is free
    with home.bound.wiring.database.work() as db:
        told = db.execute(select(audit_events.c.kind).where(audit_events.c.actor == admin.id)).scalars().all()
    assert {"admin.service_account.create", "admin.service_account.delete", "auth.api_token.create"} <= set(told)


def test_a_program_administers_nothing(home: House, admin: Person) -> None:
    for role in ("owner", "admin", "auditor"):
        body = {"name": f"root-{role}", "role": role}
        home.ask("POST", "/api/service-accounts", body, status=422, **admin.headers)
    for name in ("", "A", "a b", "service:x", "-a", "a" * 61):
        home.ask("POST", "/api/service-accounts", {"name": name}, status=422, **admin.headers)
    made = home.ask("POST", "/api/service-accounts", {"name": "reader", "role": "guest"}, status=201, **admin.headers)
    path = f"/api/service-accounts/{made['id']}/tokens"
    home.ask("POST", path, {"name": "x", "scopes": ["operate"]}, status=422, **admin.headers)
    token = home.ask("POST", path, {"name": "x"}, status=201, **admin.headers)["token"]
    assert with_token(home, token, "POST", "/api/uploads", {"name": "a.mp3", "size": 5}).status_code == 403
    member = person(home.bound.wiring)
    for asked in (("GET", "/api/service-accounts", None), ("POST", path, {"name": "x"})):
        assert home.raw(*asked, **member.headers).status_code == 403


def test_a_program_is_shared_with_by_its_id(home: House, admin: Person) -> None:
    made = home.ask("POST", "/api/service-accounts", {"name": "listener"}, status=201, **admin.headers)
    path = f"/api/service-accounts/{made['id']}/tokens"
    token = home.ask("POST", path, {"name": "x", "scopes": ["files:read"]}, status=201, **admin.headers)["token"]
    member = person(home.bound.wiring)
    upload = home.ask("POST", "/api/uploads", {"name": "a.mp3", "size": 5}, status=201, **member.headers)
    file = f"/api/files/{upload['file_id']}"
    assert with_token(home, token, "GET", file).status_code == 404
    given = home.ask("PUT", f"{file}/grants", {"level": "viewer", "person": made["id"]}, **member.headers)
    assert given["person"]["name"] == "listener"
    assert with_token(home, token, "GET", file).status_code == 200

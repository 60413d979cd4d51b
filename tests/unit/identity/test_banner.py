"""Nothing is answered until the notice is acknowledged: by every session anew, and whenever it says something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from auricle.access import permissions
from auricle.access.permissions import Role
from auricle.access.sessions import Client, SessionId, succeed
from auricle.access.store import SessionStore, session_values, sessions
from auricle.admin.audit.model import AuditFilter
from auricle.admin.audit.store import AuditStore
from auricle.admin.configuration.actions import Configuration
from auricle.contract.choices import Permission
from auricle.contract.function import Route, registry
from auricle.identity.banner.model import BANNER, OPEN, Banner
from auricle.runtime.things import THINGS
from builders.house import House, house
from builders.persons import Person, person, session

FIRST = Banner(enabled=True, text="This system is watched.", classification="cui")
SECOND = Banner(enabled=True, text="This system is watched closely.", classification="cui")


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url) as made:
        yield made


@pytest.fixture(autouse=True)
def first(home: House) -> Iterator[None]:
    put(home, FIRST)
    yield
    with home.bound.wiring.database.work() as db:
        db.execute(text("delete from configuration"))
    home.bound.wiring.provide(Configuration).forget()


def put(home: House, banner: Banner) -> None:
    configuration: Configuration = home.bound.wiring.provide(Configuration)
    with home.bound.wiring.database.work() as db:
        configuration.put(db, BANNER, banner, None, None, expected=None)
    configuration.forget()


def acknowledged(home: House, headers: dict[str, str], banner: Banner = FIRST, status: int = 204) -> None:
    home.ask("POST", "/api/banner/acknowledge", {"digest": banner.digest}, status=status, **headers)


def is_refused(answer: Any) -> bool:
    problem = answer.get_json()
    return answer.status_code == 403 and problem["type"] == "urn:auricle:problem:banner-required"


def test_everybody_reads_the_notice_before_signing_in(home: House) -> None:
    notice = home.ask("GET", "/api/banner", Authorization="")
    assert (notice["enabled"], notice["text"], notice["classification"]) == (True, FIRST.text, "cui")
    assert notice["digest"] == FIRST.digest


def test_every_session_acknowledges_it_for_itself(home: House) -> None:
    ada = person(home.bound.wiring)
    refused = home.raw("GET", "/api/files", **ada.headers)
    assert is_refused(refused)
    assert (refused.get_json()["acknowledge"], refused.get_json()["digest"]) == ("/api/banner/acknowledge", FIRST.digest)
    acknowledged(home, ada.headers)
    assert home.raw("GET", "/api/files", **ada.headers).status_code == 200
    other = {"Authorization": f"Bearer {session(home.bound.wiring, ada.id)}"}
    assert is_refused(home.raw("GET", "/api/files", **other))


def test_another_text_is_asked_about_again_and_an_old_one_does_not_count(home: House) -> None:
    ada = person(home.bound.wiring)
    acknowledged(home, ada.headers)
    put(home, SECOND)
    assert is_refused(home.raw("GET", "/api/files", **ada.headers))
    acknowledged(home, ada.headers, FIRST, status=409)
    acknowledged(home, ada.headers, SECOND)
    assert home.raw("GET", "/api/files", **ada.headers).status_code == 200
    put(home, FIRST)
    assert is_refused(home.raw("GET", "/api/files", **ada.headers))


def test_another_label_is_another_notice() -> None:
    assert Banner(text="a", classification="b").digest != Banner(text="a", classification="c").digest


def test_without_a_notice_nothing_is_asked(home: House) -> None:
    put(home, Banner(enabled=False, text=FIRST.text))
    ada = person(home.bound.wiring)
    assert home.raw("GET", "/api/files", **ada.headers).status_code == 200
    assert home.ask("GET", "/api/banner")["text"] == ""
    acknowledged(home, ada.headers, status=409)


def test_a_token_works_when_its_owner_has_acknowledged_in_a_session(home: House) -> None:
    ada = person(home.bound.wiring)
    acknowledged(home, ada.headers)
    token = home.ask("POST", "/api/tokens", {"name": "t", "scopes": ["files:read"]}, status=201, **ada.headers)["token"]
    with_token = {"Authorization": f"Bearer {token}"}
    assert home.raw("GET", "/api/files", **with_token).status_code == 200
    put(home, SECOND)
    assert is_refused(home.raw("GET", "/api/files", **with_token))
    acknowledged(home, with_token, SECOND, status=403)  # a person reads, a token does not
    acknowledged(home, ada.headers, SECOND)
    assert home.raw("GET", "/api/files", **with_token).status_code == 200


def test_whoever_runs_a_program_acknowledges_with_its_token(home: House) -> None:
    admin = person(home.bound.wiring, Role.ADMIN)
    acknowledged(home, admin.headers)
    made = home.ask("POST", "/api/service-accounts", {"name": f"s-{uuid4().hex[:8]}"}, status=201, **admin.headers)
    place = f"/api/service-accounts/{made['id']}/tokens"
    token = home.ask("POST", place, {"name": "t", "scopes": ["files:read"]}, status=201, **admin.headers)["token"]
    with_token = {"Authorization": f"Bearer {token}"}
    assert is_refused(home.raw("GET", "/api/files", **with_token))
    acknowledged(home, with_token)
    assert home.raw("GET", "/api/files", **with_token).status_code == 200


def test_a_step_up_is_no_new_sign_in(home: House) -> None:
    wiring = home.bound.wiring
    ada = person(wiring)
    acknowledged(home, ada.headers)
    with wiring.database.work() as db:
        row = db.execute(sessions.select().where(sessions.c.principal_id == ada.id).order_by(sessions.c.banner)).first()
        assert row is not None
        found = SessionStore(db).of(row.principal_id, SessionId(row.id))
        assert found is not None
        now = wiring.now()
        next_ = succeed(
            found[1],
            SessionId(uuid4()),
            secret="aurr_x",
            epoch=0,
            proof=None,
            client=Client("", "", ""),
            now=now,
        )
        assert session_values(next_.session)["banner"] == FIRST.digest


def test_an_acknowledgement_is_told(home: House) -> None:
    ada = person(home.bound.wiring)
    home.raw("GET", "/api/files", **ada.headers)
    acknowledged(home, ada.headers)
    with home.bound.wiring.database.work() as db:
        told = AuditStore(db).page(10, None, AuditFilter(actor=ada.id))
    assert [(row.kind, row.outcome, row.details.get("reason")) for row in told] == [
        ("auth.banner.acknowledged", "success", None),
        ("access.denied", "failure", "banner-required"),
    ]


@pytest.fixture(scope="module")
def owner(home: House) -> Person:
    return person(home.bound.wiring, Role.OWNER)


def closed() -> list[Route]:
    """All that must not be answered before."""
    shut = [route for route in registry.routes if (route.method, route.path) not in OPEN]
    return [route for route in shut if route.permission not in (Permission.PUBLIC, Permission.MFA)]


def test_no_route_answers_before_the_notice_is_acknowledged(home: House, owner: Person) -> None:
    assert len(closed()) > 40
    for route in closed():
        path = route.path
        for name in route.path_parameters:
            path = path.replace(f"{{{name}}}", "2025-01-31" if name == "day" else str(uuid4()))
        answer = home.raw(route.method, path, {} if route.body else None, **owner.headers)
        hidden = permissions.RULES[route.permission.name].grant is not None and set(route.path_parameters) & set(THINGS)
        assert is_refused(answer) or (hidden and answer.status_code == 404), f"{route.method} {route.path}"


def test_leaving_is_always_possible(home: House) -> None:
    ada = person(home.bound.wiring)
    assert home.raw("DELETE", "/api/session", **ada.headers).status_code == 204

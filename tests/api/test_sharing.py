"""Sharing over HTTP: what is given opens a file, as far and as long as it was given, and what is taken closes it at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, select

from auricle.access.permissions import Role
from auricle.access.store import grants, group_members, groups, people
from auricle.admin.audit.store import audit_events
from auricle.contract.ids import uuid7
from auricle.files.model import FileId, MediaKind, original_key
from auricle.files.store import FileStore
from auricle.notifications.store import EventLogStore
from auricle.ports.feed import EventFeed
from builders.house import House, house
from builders.persons import Person, person


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url, public_url="http://127.0.0.1:8787") as made:
        yield made


@pytest.fixture
def ann(home: House) -> Person:
    return person(home.bound.wiring, name="ann")


@pytest.fixture
def bob(home: House) -> Person:
    return person(home.bound.wiring, name="bob")


@pytest.fixture
def file(home: House, ann: Person) -> str:
    return put(home, ann)


def put(home: House, owner: Person) -> str:
    """The path of a received file."""
    id = FileId(uuid7())
    with home.bound.wiring.database.work() as db:
        files = FileStore(db)
        files.add(id, owner.id, name="talk.mp3", size=7, content_type="audio/mpeg", kind=MediaKind.AUDIO)
        files.received(id, original_key(id, uuid4(), ".mp3"))
    return f"/api/files/{id}"


def asked(home: House, who: Person, method: str, path: str, body: Any = None, **headers: str) -> int:
    """The status of an answer to them."""
    return home.raw(method, path, body, **who.headers, **headers).status_code


def give(home: House, who: Person, path: str, level: str, status: int = 200, **to: Any) -> Any:
    return home.ask("PUT", f"{path}/grants", {"level": level, **to}, status=status, **who.headers)


def recorded(home: House, path: str) -> list[tuple[str, UUID | None, dict[str, Any]]]:
    """What the trail tells of a file: what, by whom, and more."""
    query = select(audit_events).where(audit_events.c.subject_id == path.rpartition("/")[2]).order_by(audit_events.c.id)
    with home.bound.wiring.database.work() as db:
        return [(row.kind, row.behalf_of, row.details) for row in db.execute(query)]


def test_a_file_is_shared_by_address_changed_and_taken_back(home: House, ann: Person, bob: Person, file: str) -> None:
    assert asked(home, bob, "GET", file) == 404
    given = give(home, ann, file, "viewer", person=f" {bob.email.upper()} ")
    assert (given["person"], given["given_by"]["id"]) == ({"id": str(bob.id), "name": "bob"}, str(ann.id))
    assert asked(home, bob, "GET", file) == 200
    assert asked(home, bob, "PATCH", file, {"name": "x.mp3"}) == 403
    owner = {"id": str(ann.id), "name": "ann"}
    assert home.ask("GET", f"{file}/access", **bob.headers) == {"level": "viewer", "owner": owner}
    assert home.ask("GET", f"{file}/access", **ann.headers) == {"level": "owner", "owner": owner}
    changed = give(home, ann, file, "manager", person=str(bob.id))
    assert (changed["id"], changed["level"]) == (given["id"], "manager")
    assert asked(home, bob, "PATCH", file, {"name": "x.mp3"}) == 200
    assert [g["id"] for g in home.ask("GET", f"{file}/grants", **bob.headers)["items"]] == [given["id"]]
    home.ask("DELETE", f"{file}/grants/{given['id']}", status=204, **ann.headers)
    assert asked(home, bob, "GET", file) == 404
    home.ask("DELETE", f"{file}/grants/{given['id']}", status=404, **ann.headers)
    assert [entry for entry in recorded(home, file) if entry[0].startswith("access.grant.")] == [
        ("access.grant.give", bob.id, {"role_after": "viewer"}),
        ("access.grant.change", bob.id, {"role_after": "manager"}),
        ("access.grant.revoke", bob.id, {"role_before": "manager"}),
    ]


def test_a_group_is_given_to_by_what_it_is_now(home: House, ann: Person, bob: Person, file: str) -> None:
    group = uuid7()
    with home.bound.wiring.database.work() as db:
        db.execute(groups.insert().values(id=group, name="interviewers"))
    assert give(home, ann, file, "editor", group=str(group))["group"]["name"] == "interviewers"
    assert asked(home, bob, "GET", file) == 404
    with home.bound.wiring.database.work() as db:
        db.execute(group_members.insert().values(group_id=group, principal_id=bob.id))
    give(home, ann, file, "viewer", person=bob.email)
    assert asked(home, bob, "POST", f"{file}/runs", {}) == 201  # the higher of the two
    (shared, other) = home.ask("GET", "/api/shared-with-me", **bob.headers)["items"]
    assert (shared["level"], shared["through"], other["level"], other["through"]["name"]) == (
        *("viewer", None),
        *("editor", "interviewers"),
    )
    assert shared["owner"] == {"id": str(ann.id), "name": "ann"}
    with home.bound.wiring.database.work() as db:
        db.execute(group_members.delete())
    assert asked(home, bob, "POST", f"{file}/runs", {}) == 403


def test_a_run_by_who_edits_belongs_to_the_file(home: House, ann: Person, bob: Person, file: str) -> None:
    give(home, ann, file, "editor", person=bob.email)
    run = home.ask("POST", f"{file}/runs", {}, status=201, **bob.headers)
    for who in (ann, bob):
        assert [r["id"] for r in home.ask("GET", "/api/runs", **who.headers)["items"]] == [run["id"]]
        assert asked(home, who, "GET", f"/api/runs/{run['id']}") == 200
    stranger = person(home.bound.wiring)
    assert home.ask("GET", f"/api/runs?file_id={run['file_id']}", **stranger.headers)["items"] == []
    assert asked(home, stranger, "POST", f"/api/runs/{run['id']}/cancel") == 404
    assert asked(home, bob, "POST", f"/api/runs/{run['id']}/cancel") == 202


def test_what_expires_is_over_by_itself(home: House, ann: Person, bob: Person, file: str) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    given = give(home, ann, file, "manager", person=bob.email, expires_at=soon.isoformat())
    assert asked(home, bob, "GET", file) == 200
    carol = person(home.bound.wiring)
    beyond = {"level": "manager", "person": carol.email, "expires_at": (soon + timedelta(days=1)).isoformat()}
    assert asked(home, bob, "PUT", f"{file}/grants", beyond) == 409
    lent = give(home, bob, file, "manager", person=carol.email)  # nobody gives for longer than they have
    assert lent["expires_at"] == given["expires_at"]
    with home.bound.wiring.database.work() as db:
        db.execute(grants.update().values(expires_at=datetime.now(UTC)))
    for who in (bob, carol):
        assert asked(home, who, "GET", file) == 404
        assert home.ask("GET", "/api/shared-with-me", **who.headers)["items"] == []
        assert home.ask("GET", "/api/files?shared=true", **who.headers)["items"] == []
    over = {"level": "viewer", "person": bob.email, "expires_at": "2020-01-01T00:00:00Z"}
    assert asked(home, ann, "PUT", f"{file}/grants", over) == 422


def test_nobody_raises_themselves_and_no_grant_makes_an_owner(home: House, ann: Person, bob: Person, file: str) -> None:
    give(home, ann, file, "manager", person=bob.email)
    give(home, bob, file, "manager", status=422, person=bob.email)
    give(home, bob, file, "viewer", status=422, person=ann.email)  # it is hers
    for level in ("owner", "nothing", "5", "MANAGER"):
        give(home, bob, file, level, status=422, person=person(home.bound.wiring).email)
    assert asked(home, bob, "POST", f"{file}/purge") == 403
    assert asked(home, bob, "PUT", f"{file}/owner", {"person": bob.email}) == 403
    assert asked(home, bob, "GET", file) == 200


def test_whoever_is_not_here_is_told_of_alike(home: House, ann: Person, file: str) -> None:
    closed = person(home.bound.wiring)
    with home.bound.wiring.database.work() as db:
        db.execute(people.update().where(people.c.principal_id == closed.id).values(state="disabled"))
    names = (closed.email, str(closed.id), "nobody@vault.example", str(uuid4()), "not an address", "a\0b", "")
    answers = [give(home, ann, file, "viewer", status=422, person=name) for name in names]
    assert len({answer["detail"] for answer in answers}) == 1
    assert give(home, ann, file, "viewer", status=422, group=str(uuid4()))
    assert give(home, ann, file, "viewer", status=422)
    assert give(home, ann, file, "viewer", status=422, person=ann.email, group=str(uuid4()))


def test_ones_own_grant_is_given_back(home: House, ann: Person, bob: Person, file: str) -> None:
    give(home, ann, file, "viewer", person=bob.email)
    mine = f"/api/shared-with-me/{file.rpartition('/')[2]}"
    assert asked(home, bob, "DELETE", mine) == 204
    assert asked(home, bob, "GET", file) == 404
    missing = [home.ask("DELETE", path, status=404, **bob.headers) for path in (mine, f"/api/shared-with-me/{uuid4()}")]
    assert missing[0]["detail"] == missing[1]["detail"]
    assert asked(home, ann, "DELETE", mine) == 404


def test_a_file_is_given_away_with_all_that_is_of_it(home: House, ann: Person, bob: Person, file: str) -> None:
    carol = person(home.bound.wiring)
    give(home, ann, file, "viewer", person=bob.email)
    give(home, ann, file, "viewer", person=carol.email)
    run = home.ask("POST", f"{file}/runs", {}, status=201, **ann.headers)
    to = {"person": bob.email}
    stale = {"Authorization": f"Bearer {ann.stale}"}
    assert home.raw("PUT", f"{file}/owner", to, **stale).status_code == 403
    guest = person(home.bound.wiring, Role.GUEST)
    for name in (guest.email, "nobody@vault.example"):  # guests bring nothing in
        assert asked(home, ann, "PUT", f"{file}/owner", {"person": name}) == 422
    assert asked(home, ann, "PUT", f"{file}/owner", {"person": ann.email}) == 409
    assert asked(home, ann, "PUT", f"{file}/owner", to) == 200
    assert asked(home, ann, "GET", file) == 404
    assert home.ask("GET", "/api/files", **ann.headers)["items"] == []
    assert home.ask("GET", "/api/runs", **ann.headers)["items"] == []
    assert [r["id"] for r in home.ask("GET", "/api/runs", **bob.headers)["items"]] == [run["id"]]
    assert asked(home, carol, "GET", file) == 200
    assert [g["person"]["id"] for g in home.ask("GET", f"{file}/grants", **bob.headers)["items"]] == [str(carol.id)]
    assert ("access.owner.change", bob.id, {}) in recorded(home, file)
    assert asked(home, bob, "POST", f"{file}/purge") == 204
    assert asked(home, carol, "GET", file) == 404
    with home.bound.wiring.database.work() as db:
        assert db.execute(select(grants.c.id).where(grants.c.thing == UUID(file.rpartition("/")[2]))).all() == []


def test_an_administrator_opens_nothing_alone_and_is_seen_where_they_were_let_in(home: House, ann: Person, file: str) -> None:
    for role in (Role.ADMIN, Role.OWNER):
        admin = person(home.bound.wiring, role)
        assert asked(home, admin, "GET", file) == 404
        assert home.ask("GET", "/api/files", **admin.headers)["items"] == []
        give(home, ann, file, "viewer", person=admin.email)
        assert asked(home, admin, "GET", file) == 200
        assert recorded(home, file)[-1] == ("access.content.admin_read", None, {"permission": "files:read"})
    before = len(recorded(home, file))
    assert asked(home, ann, "GET", file) == 200
    assert len(recorded(home, file)) == before


def test_who_it_is_and_what_they_may_is_asked_in_one_query(home: House, ann: Person, bob: Person, file: str) -> None:
    give(home, ann, file, "viewer", person=bob.email)
    asked_of_it: list[str] = []

    def remember(_: Any, __: Any, statement: str, *more: Any) -> None:
        asked_of_it.append(statement)

    engine = home.bound.wiring.database.engine
    for bearer, status in ((bob.bearer, 200), (home.token, 404)):
        home.raw("GET", "/api/me", Authorization=f"Bearer {bearer}")  # notes the token's use
        asked_of_it.clear()
        event.listen(engine, "before_cursor_execute", remember)
        assert home.raw("GET", file, Authorization=f"Bearer {bearer}").status_code == status
        event.remove(engine, "before_cursor_execute", remember)
        (decisive,) = (s for s in asked_of_it if any(t in s for t in ("principals", "grants", "people", "sessions", "tokens")))
        assert {"principals", "grants", "files"} <= {t for t in ("principals", "grants", "files") if t in decisive}


def test_the_live_line_tells_of_what_was_shared(home: House, ann: Person, bob: Person, file: str) -> None:
    feed, database = home.bound.wiring.provide(EventFeed), home.bound.wiring.database
    other = UUID(put(home, ann).rpartition("/")[2])
    give(home, ann, file, "viewer", person=bob.email)
    with database.work() as db:
        log = EventLogStore(db)
        log.append(ann.id, other, "file", {"of": "ann"})
        log.append(ann.id, UUID(file.rpartition("/")[2]), "file", {"of": "both"})
        log.append(bob.id, uuid4(), "file", {"of": "bob"})
    line = feed.follow(bob.id, "0-0")
    heard: list[bytes] = []
    while len(heard) < 2:
        happening = next(line)
        if happening is not None and b"of" in bytes(happening.data):
            heard.append(bytes(happening.data))
    line.close()
    assert heard == [b'{"of": "both"}', b'{"of": "bob"}']

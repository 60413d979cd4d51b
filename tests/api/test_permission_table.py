"""Every route of the OpenAPI document × every kind of credential: who gets through the door, and what the others are told.

What is expected is worked out here, from the written table (`access.permissions.RULES`) and from what a path names; the
answers come from the real door on real rows. Whoever gets through meets a handler that only says so: that is the one proof
that the door let them in, no request changes what the next one finds, and no body has to be made up. Real handlers are asked
too where asking changes nothing (GET), since they must not refuse whom the door let in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import flask
import pytest
from flask import Response
from sqlalchemy import text
from werkzeug.test import EnvironBuilder

from auricle.access import permissions, store
from auricle.access.model import Token, TokenId, digest, new_secret
from auricle.access.permissions import ANY_SCOPE, RULES, Grant, Role, Rule
from auricle.access.services.model import ServiceAccountId, ServiceRole
from auricle.access.services.store import ServiceStore
from auricle.access.sharing.model import GroupId, Subject
from auricle.access.sharing.store import GrantStore
from auricle.access.store import TokenStore, group_members, groups, people, sessions, tokens
from auricle.contract.choices import SCOPES, Permission
from auricle.contract.function import Route, Signature, registry
from auricle.contract.http import Reply
from auricle.contract.ids import uuid7
from auricle.deploy.catalogue import load
from auricle.files.model import FileId, MediaKind, Options, original_key
from auricle.files.store import FileStore
from auricle.intake.model import UploadId
from auricle.intake.store import IntakeStore
from auricle.runs import conducting
from auricle.runs.model import RunId, plan_of
from auricle.runs.store import RunStore
from auricle.runtime import httpdoor
from auricle.runtime.httpdoor import HttpDoor
from builders.house import House, house
from builders.persons import Person, person

load()
OPENAPI = Path(permissions.__file__).parents[1] / "openapi.json"
THROUGH = 299
HIDDEN = "There is no such thing, or it is not shared with you."
NAMED = {
    "file_id": "file",
    "run_id": "run",
    "upload_id": "upload",
    "asset": None,
    "authorities": None,
    "day": None,
    "dead_letter_id": None,
    "directory": None,
    "grant_id": None,
    "group_id": None,
    "identity": None,
    "invitation_id": None,
    "passkey_id": None,
    "provider": None,
    "section": None,
    "service_account_id": None,
    "session_id": None,
    "token_id": None,
    "user_id": None,
}
"""What each path parameter names: a thing that grants open, or nothing of the kind. A new parameter needs its line here."""
OPEN_TO_WHO_MUST_CHANGE = ("SIGNED_IN", "MFA", "ACCOUNT", "ACCOUNT_SECURITY")


@dataclass(frozen=True)
class Who:
    """A kind of credential, and what follows from it. `roles` empty: nobody. `levels`: on the file and all that is of it."""

    name: str
    bearer: str | None
    roles: frozenset[Role] = frozenset()
    level: Grant = Grant.NOTHING
    scopes: frozenset[str] | None = None
    fresh: bool = True
    pending: bool = False
    must_change: bool = False

    def on(self, thing: str) -> Grant:
        """What they hold on the file, its run, or the upload that it came by, which is never shared."""
        return self.level if thing != "upload" or self.level is Grant.OWNER else Grant.NOTHING


@dataclass(frozen=True)
class Operation:
    """A line of the document."""

    method: str
    path: str
    rule: Rule
    permission: str
    thing: str | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def operations() -> list[Operation]:
    """Every operation, with its row of the table and what it names."""
    found = []
    for path, methods in json.loads(OPENAPI.read_text())["paths"].items():
        things = [NAMED[part.strip("{}")] for part in path.split("/") if part.startswith("{")]
        for method, operation in methods.items():
            public = operation.get("security") == []
            name = Permission.PUBLIC.name if public else Permission(operation["x-permission"]).name
            thing = next((thing for thing in things if thing), None)
            found.append(Operation(method.upper(), path, RULES[name], name, thing if RULES[name].grant else None))
    return found


OPERATIONS = operations()


def expected(who: Who, operation: Operation) -> int:
    """The status that the table asks for. Four things can only narrow, in this order, whatever comes after."""
    rule = operation.rule
    if rule.anybody:
        return THROUGH
    if not who.roles:
        return 401
    if who.pending and not rule.pending:
        return 403
    if who.must_change and operation.permission not in OPEN_TO_WHO_MUST_CHANGE:
        return 403
    if who.scopes is not None and rule.scope != ANY_SCOPE and rule.scope not in who.scopes:
        return 403
    if operation.thing is not None and rule.grant is not None:
        level = who.on(operation.thing)
        if level is Grant.NOTHING:
            return 404
        if level < rule.grant:
            return 403
    elif not rule.roles & who.roles:
        return 403
    return 403 if rule.fresh and not who.fresh else THROUGH


class World:
    """A house with everybody in it, one file with all that is of it, and a door whose handlers say that they were reached."""

    def __init__(self, home: House) -> None:
        self.home = home
        self.wiring = home.bound.wiring
        self.owner = person(self.wiring)
        with self.wiring.database.work() as db:
            self.ids = _things(db, self.owner)
        self.everybody = {who.name: who for who in (*self._strangers(), *self._people(), *self._tokens())}
        self._app = flask.Flask("table")
        self._door = HttpDoor([_saying(route) for route in registry.routes], self.wiring)

    def ask(self, operation: Operation, who: Who, *, real: bool = False, file_id: UUID | None = None) -> Response:
        """One request through the door that says who was let in, or through the house's own."""
        with self.wiring.database.work() as db:
            db.execute(text("delete from ephemeral_rates"))  # limits are not what is asked about here
        path = operation.path
        for name, id in {**self.ids, **({"file_id": file_id} if file_id else {})}.items():
            path = path.replace("{" + name + "}", str(id))
        headers = {"Authorization": f"Bearer {who.bearer}"} if who.bearer is not None else {}
        builder = EnvironBuilder(method=operation.method, path=path, headers=headers)
        with self._app.app_context():
            answer = (self.home.bound if real else self._door)(flask.Request(builder.get_environ()))
        assert isinstance(answer, Response)
        return answer

    def wrong(self, names: list[str] | None = None, some: list[Operation] = OPERATIONS, *, real: bool = False) -> list[str]:
        """Every answer that is not what the table says."""
        found = []
        for who in (self.everybody[name] for name in names or self.everybody):
            for operation in some:
                wanted = expected(who, operation)
                if real and wanted != THROUGH:
                    continue  # the same door, asked already
                answer = self.ask(operation, who, real=real)
                if not _fits(answer, wanted, real):
                    found.append(f"{who.name}: {operation} is {answer.status_code} and not {wanted}")
        return found

    def token(self, owner: UUID, scopes: frozenset[str], **values: Any) -> str:
        """A personal token with exactly these scopes."""
        secret = new_secret()
        made = Token(
            id=TokenId(uuid7()), name="t", hint=secret[-4:], scopes=tuple(scopes), created_at=datetime.now(UTC), **values
        )
        with self.wiring.database.work() as db:
            TokenStore(db).add(made, owner, digest(secret))  # type: ignore[arg-type]
        return secret

    def change(self, table: Any, where: Any, **values: Any) -> None:
        """Change rows as time or other people do."""
        with self.wiring.database.work() as db:
            db.execute(table.update().where(where).values(**values))

    def _given(self, level: Grant, role: Role = Role.MEMBER, *, through_group: bool = False, over: bool = False) -> Person:
        """Somebody to whom the file was shared."""
        made = person(self.wiring, role)
        with self.wiring.database.work() as db:
            to = Subject(person=made.id)
            if through_group:
                to = Subject(group=GroupId(uuid7()))
                db.execute(groups.insert().values(id=to.group, name=str(to.group)))
                db.execute(group_members.insert().values(group_id=to.group, principal_id=made.id))
            ended = datetime.now(UTC) - timedelta(seconds=1) if over else None
            GrantStore(db).give(self.ids["file_id"], to, level, self.owner.id, ended)
        return made

    def _strangers(self) -> Iterator[Who]:
        """Credentials that are none, or none any more."""
        yield Who("none", None)
        yield Who("wrong token", "aur_" + "x" * 43)
        yield Who("wrong session", self.owner.bearer[:-8] + "AAAAAAAA")
        yield Who("refresh token", "aurr_" + "x" * 43)
        yield Who("nonsense", "nonsense")
        expired = self.token(self.owner.id, frozenset(SCOPES), expires_at=datetime.now(UTC) - timedelta(seconds=1))
        yield Who("expired token", expired)
        revoked = self.token(self.owner.id, frozenset(SCOPES))
        self.change(tokens, tokens.c.hint == revoked[-4:], revoked_at=datetime.now(UTC))
        yield Who("revoked token", revoked)
        ended = person(self.wiring, Role.OWNER)
        self.change(sessions, sessions.c.principal_id == ended.id, ended_at=datetime.now(UTC), ended_why="signed-out")
        yield Who("ended session", ended.bearer)
        disabled = person(self.wiring, Role.OWNER)
        secret = self.token(disabled.id, frozenset(SCOPES))
        self.change(people, people.c.principal_id == disabled.id, state="disabled")
        yield Who("disabled account", disabled.bearer)
        yield Who("disabled account's token", secret)
        with self.wiring.database.work() as db:
            accounts = ServiceStore(db)
            account = accounts.add(ServiceAccountId(uuid7()), "gone", ServiceRole.MEMBER)
            assert account is not None
        secret = self.token(account.id, frozenset(SCOPES))
        with self.wiring.database.work() as db:
            ServiceStore(db).end(account)
        yield Who("ended service account", secret)
        yield Who("ended service account, a token made since", self.token(account.id, frozenset(SCOPES)))

    def _people(self) -> Iterator[Who]:
        """Sessions of people with every role and every grant."""
        for role in Role:
            made = person(self.wiring, role)
            yield _session(f"{role} who was given nothing", made)
            yield Who(f"{role}, stale", made.stale, frozenset({role}), fresh=False)
        yield Who("MFA pending", self.owner.pending, frozenset({Role.MEMBER}), Grant.OWNER, pending=True)
        for level in (Grant.VIEWER, Grant.COMMENTER, Grant.EDITOR, Grant.MANAGER):
            yield _session(level.name.lower(), self._given(level), level)
            yield _session(f"{level.name.lower()} by group", self._given(level, through_group=True), level)
        both = self._given(Grant.EDITOR, through_group=True)
        with self.wiring.database.work() as db:
            GrantStore(db).give(self.ids["file_id"], Subject(person=both.id), Grant.VIEWER, self.owner.id, None)
        yield _session("viewer, and editor by group", both, Grant.EDITOR)
        yield _session("guest who manages", self._given(Grant.MANAGER, Role.GUEST), Grant.MANAGER)
        yield _session("admin who views", self._given(Grant.VIEWER, Role.ADMIN), Grant.VIEWER)
        yield _session("manager until a second ago", self._given(Grant.MANAGER, over=True))
        yield _session("manager by group until a second ago", self._given(Grant.MANAGER, through_group=True, over=True))
        yield _session("file owner", self.owner, Grant.OWNER)
        yield Who("file owner, stale", self.owner.stale, frozenset({Role.MEMBER}), Grant.OWNER, fresh=False)
        changing = person(self.wiring)
        self.change(people, people.c.principal_id == changing.id, must_change=True)
        yield Who("must change password", changing.bearer, frozenset({Role.MEMBER}), must_change=True)

    def _tokens(self) -> Iterator[Who]:
        """Personal tokens: with all scopes, without any, with each alone."""
        for name, scopes in {"all scopes": frozenset(SCOPES), "no scope": frozenset[str]()}.items():
            yield self._token(f"file owner's token, {name}", self.owner, scopes, Grant.OWNER)
        for scope in SCOPES:
            yield self._token(f"file owner's token, {scope}", self.owner, frozenset({scope}), Grant.OWNER)
        yield self._token("viewer's token, all scopes", self._given(Grant.VIEWER), frozenset(SCOPES), Grant.VIEWER)
        for role in Role:
            yield self._token(f"{role}'s token, all scopes", person(self.wiring, role), frozenset(SCOPES))
        with self.wiring.database.work() as db:
            account = ServiceStore(db).add(ServiceAccountId(uuid7()), "importer", ServiceRole.MEMBER)
            assert account is not None
            GrantStore(db).give(self.ids["file_id"], Subject(person=account.id), Grant.EDITOR, self.owner.id, None)
        secret = self.token(account.id, frozenset(SCOPES))
        member = frozenset({Role.MEMBER})
        yield Who("service account that edits", secret, member, Grant.EDITOR, frozenset(SCOPES), fresh=False)

    def _token(self, name: str, owner: Person, scopes: frozenset[str], level: Grant = Grant.NOTHING) -> Who:
        return Who(name, self.token(owner.id, scopes), frozenset({owner.role}), level, scopes, fresh=False)


def _session(name: str, made: Person, level: Grant = Grant.NOTHING) -> Who:
    return Who(name, made.bearer, frozenset({made.role}), level)


def _things(db: Any, owner: Person) -> dict[str, UUID | str]:
    """A file, a run on it, the upload of another one, and an id for everything else that paths name."""
    file_id, run_id = FileId(uuid7()), RunId(uuid7())
    files = FileStore(db)
    files.add(file_id, owner.id, name="talk.mp3", size=7, content_type="audio/mpeg", kind=MediaKind.AUDIO)
    files.received(file_id, original_key(file_id, run_id, ".mp3"))
    RunStore(db).create(run_id, file_id, owner.id, conducting.begun(Options(), plan_of((), Options())))
    upload = IntakeStore(db).add(UploadId(uuid7()), file_id, owner.id, key="k", ref="r", size=7, part_size=7, hours=1)
    others = {name: uuid7() for name, thing in NAMED.items() if thing is None}
    return {**others, "day": "2026-01-31", "file_id": file_id, "run_id": run_id, "upload_id": upload.id}


def _saying(route: Route) -> Route:
    """The route with a handler that says it was reached, and needs nothing but what the path says."""
    signature = Signature({name: route.signature.parameters[name] for name in route.path_parameters}, Reply[None])
    return replace(
        route, handler=lambda **_: Reply(None, status=THROUGH), signature=signature, body=None, query=None, headers={}
    )


def _fits(answer: Response, wanted: int, real: bool) -> bool:
    hidden = answer.status_code == 404 and answer.get_json()["detail"] == HIDDEN
    if wanted == THROUGH:
        return (answer.status_code not in (401, 403) and not hidden) if real else answer.status_code == THROUGH
    return hidden if wanted == 404 else answer.status_code == wanted


@pytest.fixture(scope="module")
def world(database_url: str) -> Iterator[World]:
    with house(database_url, public_url="http://127.0.0.1:8787") as home:
        yield World(home)


def test_the_document_and_the_door_have_the_same_routes() -> None:
    assert {(o.method, o.path) for o in OPERATIONS} == {(r.method, r.path) for r in registry.routes}
    assert len(OPERATIONS) == len(registry.routes)


def area(operation: Operation) -> str:
    """The first name in its path behind /api."""
    return operation.path.removeprefix("/api").split("/")[1] or "/"


@pytest.mark.parametrize("name", sorted({area(operation) for operation in OPERATIONS}))
def test_every_answer_is_what_the_table_says(world: World, name: str) -> None:
    assert world.wrong(some=[operation for operation in OPERATIONS if area(operation) == name]) == []


def test_no_handler_refuses_whom_the_door_let_in(world: World) -> None:
    asked = [o for o in OPERATIONS if o.method == "GET" and not o.rule.anybody]
    assert world.wrong(some=asked, real=True) == []


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.thing == "file"], ids=str)
def test_what_is_hidden_is_answered_like_what_does_not_exist(world: World, operation: Operation) -> None:
    """Byte for byte, but for the trace of the request itself."""
    stranger = world.everybody["member who was given nothing"]
    answers = [world.ask(operation, stranger, real=True, file_id=id) for id in (None, uuid7())]
    told = [(a.status_code, dict(a.headers), a.get_json()) for a in answers]
    for _, headers, body in told:
        del headers["X-Request-Id"], body["trace"]
        headers.pop("RateLimit-Reset", None), headers.pop("RateLimit-Remaining", None)
    assert told[0] == told[1]
    assert told[0][0] == 404


def test_who_is_refused_is_not_even_told_that_they_asked_wrongly(world: World) -> None:
    """Bodies and queries are read after the decision, so that a real answer of 4xx says nothing to who may not ask."""
    for operation in (o for o in OPERATIONS if not o.rule.anybody):
        for name in ("none", "member who was given nothing"):
            who = world.everybody[name]
            wanted = expected(who, operation)
            if wanted != THROUGH:
                assert _fits(world.ask(operation, who, real=True), wanted, real=True), (name, str(operation))


# The table can be wrong: each check that the door makes is taken away once, and it is noticed.


def _everything(*_: Any, **__: Any) -> None:
    return None


MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "a pending factor is enough": (httpdoor, "signed_in", None),
    "scopes are not asked": (permissions, "_scope", _everything),
    "roles and grants are not asked": (permissions, "_authority", _everything),
    "old factors are fresh": (permissions, "_fresh", _everything),
    "things are not looked at": (httpdoor, "thing_of", _everything),
    "nothing expires": (store, "living", lambda: text("true")),
    "everybody's grants are mine": (store, "held_by", lambda who: text("true")),
    "groups are forgotten": (store, "held_by", lambda who: store.grants.c.principal_id == who),
    "the door lets in whom it knows": (httpdoor, "authorise", _everything),
}


@pytest.fixture
def made_anew() -> Iterator[None]:
    """The door's queries are made once per process: here of what is patched, and afterwards of what is not."""
    made = (store._by_session, store._by_token)
    for query in made:
        query.cache_clear()
    yield
    for query in made:
        query.cache_clear()


@pytest.mark.usefixtures("made_anew")
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_check_that_is_missing_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    module, name, instead = MUTANTS[mutant]
    if mutant == "a pending factor is enough":
        owner, right = world.everybody["file owner"].bearer, httpdoor.signed_in
        monkeypatch.setattr(
            module, name, lambda authorization, *rest: right(authorization and f"Bearer {owner}", *rest), raising=True
        )
        names = ["MFA pending"]
    else:
        monkeypatch.setattr(module, name, instead)
        names = [
            *("member who was given nothing", "viewer", "viewer by group", "manager until a second ago", "admin, stale"),
            *("file owner's token, no scope", "guest who was given nothing"),
        ]
    assert world.wrong(names) != []

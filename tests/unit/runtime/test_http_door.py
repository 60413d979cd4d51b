"""The HTTP door on a real database: authentication, scopes, decoding, idempotency, problems."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import pytest
from flask import Flask, Request, Response
from sqlalchemy import Column, Integer, Table, Text, func, select
from werkzeug.test import EnvironBuilder

import auricle.runs.store  # noqa: F401 -- its tables are referred to
from auricle.access import routes as access_routes
from auricle.access.actions import create_owner, create_token
from auricle.access.model import Principal
from auricle.access.store import TokenStore, tokens
from auricle.contract.choices import Permission, Scale
from auricle.contract.function import Route, Signature, registry
from auricle.contract.http import Body, Header, Page, PageQuery, Reply
from auricle.contract.store import Store
from auricle.errors import Conflict, Retryable
from auricle.runtime.httpdoor import HttpDoor
from auricle.runtime.settings import Settings
from auricle.runtime.wiring import Wiring
from auricle.schema import metadata
from builders.sinks import RememberingSink

notes = Table("notes", metadata, Column("id", Integer, primary_key=True), Column("text", Text))


class Note(Body, frozen=True, kw_only=True):
    """Something to keep."""

    text: str
    times: int = 1


class Kept(msgspec.Struct, frozen=True):
    """What was kept."""

    text: str


class NoteStore(Store):
    """Notes."""

    def add(self, text: str) -> None:
        """Keep it."""
        self.db.execute(notes.insert().values(text=text))


def keep(note: Note, who: Principal, store: NoteStore) -> Reply[Kept]:
    store.add(note.text)
    if note.text == "twice":
        raise Conflict("It is there already.", id=7)
    if note.text == "later":
        raise Retryable("Busy.", delay=3)
    if note.text == "bug":
        raise ZeroDivisionError("secret detail")
    return Reply(Kept(note.text), status=201, etag="v1", location="/notes/1")


def read(number: int, query: PageQuery, tag: Annotated[str | None, Header("X-Tag")] = None) -> Reply[Page[Kept]]:
    return Reply(Page([Kept(f"{number} {query.limit} {tag}")]), etag="v1")


def _route(method: str, path: str, permission: Permission, handler: Any, **more: Any) -> Route:
    signature = Signature.of(handler)
    return Route("notes", handler.__name__, method, path, permission, 200, Scale.INTERACTIVE, handler, signature, **more)


ROUTES = [
    _route("POST", "/notes", Permission.WRITE, keep, path_parameters=(), body="note"),
    _route(
        "GET", "/notes/{number}", Permission.AUDIT, read, path_parameters=("number",), query="query", headers={"tag": "X-Tag"}
    ),
]


class World:
    """A door, its owner's token, and a way to ask."""

    def __init__(self, url: str) -> None:
        self.wiring = Wiring(Settings(database_url=url, database_pool=6, event_key="11" * 32, ephemeral_key="22" * 32))
        metadata.create_all(self.wiring.database.engine)
        self.wiring.__dict__["sink"] = RememberingSink()
        assert access_routes
        tokens_routes = [r for r in registry.routes if r.function == "access"]
        self.door = HttpDoor([*ROUTES, *tokens_routes], self.wiring)
        with self.wiring.database.work() as db:
            self.owner, self.token = create_owner(TokenStore(db))

    def ask(self, method: str, path: str, body: Any = None, token: str | None = "", **headers: str) -> Response:
        sent = {k.replace("_", "-"): v for k, v in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.token}"
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        kind = {"content_type": "application/json"} if data is not None and "Content-Type" not in sent else {}
        builder = EnvironBuilder(method=method, path=path, data=data, headers=sent, **kind)  # type: ignore[arg-type]
        with Flask("test").app_context():
            return self.door(Request(builder.get_environ()))

    def count(self, text: str) -> int:
        with self.wiring.database.work() as db:
            return int(db.execute(select(func.count()).select_from(notes).where(notes.c.text == text)).scalar_one())

    def scoped(self, *scopes: str) -> str:
        with self.wiring.database.work() as db:
            return create_token(TokenStore(db), self.owner, "scoped", scopes, None)[1]


@pytest.fixture(scope="module")
def world(database_url: str) -> Iterator[World]:
    made = World(database_url)
    yield made
    made.wiring.database.close()


def problem(answer: Response) -> dict[str, Any]:
    assert answer.content_type == "application/problem+json"
    found: dict[str, Any] = json.loads(answer.get_data())
    assert found["status"] == answer.status_code
    assert found["detail"].endswith((".", "?"))
    return found


def test_a_write_is_committed_and_described(world: World) -> None:
    answer = world.ask("POST", "/notes", {"text": "one"})
    assert (answer.status_code, answer.headers["Location"], answer.headers["ETag"]) == (201, "/notes/1", '"v1"')
    assert json.loads(answer.get_data()) == {"text": "one"}
    assert world.count("one") == 1
    assert len(answer.headers["X-Request-Id"]) == 32


@pytest.mark.parametrize(
    ("text", "status", "kind"), [("twice", 409, "conflict"), ("later", 503, "unavailable"), ("bug", 500, "unexpected")]
)
def test_an_error_is_a_problem_and_leaves_nothing(world: World, text: str, status: int, kind: str) -> None:
    answer = world.ask("POST", "/notes", {"text": text})
    found = problem(answer)
    assert (answer.status_code, found["type"]) == (status, f"urn:auricle:problem:{kind}")
    assert "secret" not in found["detail"]
    assert world.count(text) == 0
    if status == 409:
        assert found["id"] == 7
    if status == 503:
        assert answer.headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 422, "not JSON"),
        (b'{"txt": "x"}', 422, "unknown field `txt`"),
        (b'{"text": 5}', 422, "at text"),
        (b"{}", 422, "missing required field `text`"),
        (b'{"text": "' + b"x" * 2**20 + b'"}', 413, "in parts"),
    ],
)
def test_bad_bodies_are_explained(world: World, body: bytes, status: int, words: str) -> None:
    answer = world.ask("POST", "/notes", body)
    assert answer.status_code == status
    assert words in problem(answer)["detail"]


def test_another_media_type_is_refused(world: World) -> None:
    answer = world.ask("POST", "/notes", b"text=x", Content_Type="application/x-www-form-urlencoded")
    assert answer.status_code == 415


def test_paths_queries_and_headers_are_decoded(world: World) -> None:
    answer = world.ask("GET", "/notes/7?limit=3", X_Tag="blue")
    assert json.loads(answer.get_data())["items"] == [{"text": "7 3 blue"}]
    assert problem(world.ask("GET", "/notes/seven"))["status"] == 404
    assert "limit" in problem(world.ask("GET", "/notes/7?limit=many"))["detail"]
    assert problem(world.ask("GET", "/notes/7?colour=red"))["status"] == 422
    assert problem(world.ask("GET", "/notes/7?limit=1&limit=2"))["status"] == 422
    assert problem(world.ask("GET", "/nowhere"))["status"] == 404
    assert "GET" in problem(world.ask("POST", "/notes/7", {}))["detail"]


def test_what_did_not_change_is_not_sent_again(world: World) -> None:
    assert world.ask("GET", "/notes/7", If_None_Match='"v1"').status_code == 304
    assert world.ask("GET", "/notes/7", If_None_Match='"v0"').status_code == 200


def test_nobody_gets_in_without_a_valid_token(world: World) -> None:
    for token in (None, "nonsense", "aur_" + "x" * 43):
        answer = world.ask("POST", "/notes", {"text": "intruder"}, token=token)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        problem(answer)
    assert world.count("intruder") == 0


def test_a_token_does_only_what_its_scopes_say(world: World) -> None:
    reader = world.scoped("audit:read")
    assert world.ask("GET", "/notes/1", token=reader).status_code == 200
    answer = world.ask("POST", "/notes", {"text": "reader"}, token=reader)
    assert (answer.status_code, problem(answer)["scope"]) == (403, "files:write")
    for body in ({"name": "more", "scopes": ["operate"]}, {"name": "all"}, {"name": "less", "scopes": ["audit:read"]}):
        assert world.ask("POST", "/api/tokens", body).status_code == 403  # no token makes another


def test_tokens_are_listed_and_revoked_and_never_stored_in_clear(world: World) -> None:
    secret = world.scoped("audit:read")
    (mine,) = [t for t in json.loads(world.ask("GET", "/api/tokens").get_data())["items"] if t["hint"] == secret[-4:]]
    assert "token" not in mine
    with world.wiring.database.work() as db:
        stored = db.execute(select(tokens).where(tokens.c.id == mine["id"])).one()
    assert secret.encode() not in bytes(stored.digest)
    assert world.ask("GET", "/notes/1", token=secret).status_code == 200
    assert world.ask("DELETE", f"/api/tokens/{mine['id']}").status_code == 204
    assert world.ask("GET", "/notes/1", token=secret).status_code == 401
    assert world.ask("DELETE", f"/api/tokens/{mine['id']}").status_code == 404


def test_expired_tokens_are_worth_nothing(world: World) -> None:
    secret = world.scoped("audit:read")
    with world.wiring.database.work() as db:
        db.execute(tokens.update().where(tokens.c.hint == secret[-4:]).values(expires_at=func.now()))
    assert world.ask("GET", "/notes/1", token=secret).status_code == 401


def test_a_repeated_key_gives_the_first_answer_and_no_second_effect(world: World) -> None:
    first = world.ask("POST", "/notes", {"text": "once"}, Idempotency_Key="k1")
    again = world.ask("POST", "/notes", {"text": "once"}, Idempotency_Key="k1")
    assert (again.status_code, again.get_data(), again.headers["Location"]) == (201, first.get_data(), "/notes/1")
    assert world.count("once") == 1
    other = world.ask("POST", "/notes", {"text": "other"}, Idempotency_Key="k1")
    assert other.status_code == 422
    failed = world.ask("POST", "/notes", {"text": "later"}, Idempotency_Key="k2")
    assert failed.status_code == 503
    assert world.ask("POST", "/notes", {"text": "now"}, Idempotency_Key="k2").status_code == 201  # a failure keeps no key


def test_the_same_key_at_the_same_moment_has_one_effect(world: World) -> None:
    gate, answers = threading.Barrier(4), []

    def post() -> None:
        gate.wait()
        answers.append(world.ask("POST", "/notes", {"text": "race"}, Idempotency_Key="k3").status_code)

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [201] * 4
    assert world.count("race") == 1


def test_lists_have_cursors(world: World) -> None:
    for _ in range(5):
        world.scoped("audit:read")
    seen: list[str] = []
    cursor = ""
    while True:
        page = json.loads(world.ask("GET", f"/api/tokens?limit=2{cursor}").get_data())
        seen += [t["id"] for t in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert len(seen) == len(set(seen)) >= 5
    assert world.ask("GET", "/api/tokens?cursor=nonsense").status_code == 422
    assert world.ask("GET", "/api/tokens?limit=0").status_code == 422

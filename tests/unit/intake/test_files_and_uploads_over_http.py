"""Files and uploads through the real HTTP door: what a client with curl sees."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask, Request, Response
from werkzeug.test import EnvironBuilder

from auricle.access.actions import create_owner, create_token
from auricle.access.store import TokenStore
from auricle.adapters.blobs.filesystem import FilesystemBlobs
from auricle.ports.blobs import BlobStore
from auricle.runtime.bind import Bound
from auricle.runtime.local.identity import LocalIdentity
from auricle.runtime.settings import Settings
from auricle.schema import metadata
from builders.persons import session
from builders.sinks import RememberingSink

DATA = b"0123456789" * 3


class Server:
    """The functions of this test in one process."""

    def __init__(self, url: str, folder: Path) -> None:
        local = LocalIdentity(folder)
        local.prepare(datetime.now(UTC))
        chosen = Settings(
            auricle_function="files,intake,bucket_events",
            database_url=url,
            database_pool=3,
            event_key="11" * 32,
            ephemeral_key="33" * 32,
            data_dir=str(folder),
            blobs_key="22" * 32,
            blobs_public_url="http://blobs.test",
            bucket_token="bucket-secret",
            part_bytes=10,
            max_upload_bytes=1000,
            **local.settings,
        )
        self.bound = Bound(chosen)
        self.sink = RememberingSink()
        self.bound.wiring.__dict__["sink"] = self.sink
        metadata.create_all(self.bound.wiring.database.engine)
        with self.bound.wiring.database.work() as db:
            self.owner, self.token = create_owner(TokenStore(db))
            self.reader = create_token(TokenStore(db), self.owner, "reader", ("files:read",), None)[1]
        blobs = self.bound.wiring.provide(BlobStore)
        assert isinstance(blobs, FilesystemBlobs)
        self.blobs = blobs

    def raw(self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str) -> Response:
        """One request."""
        data = json.dumps(body).encode() if body is not None else None
        sent = {"Authorization": f"Bearer {token or self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        kind = {"content_type": "application/json"} if data is not None else {}
        builder = EnvironBuilder(method=method, path=path, data=data, headers=sent, **kind)  # type: ignore[arg-type]
        with Flask("test").app_context():
            return self.bound(Request(builder.get_environ()))

    def ask(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        """One request; its JSON."""
        answer = self.raw(method, path, body, **headers)
        assert answer.status_code == status, answer.get_data(as_text=True)
        return json.loads(answer.get_data()) if answer.get_data() else None

    def send(self, started: dict[str, Any], *numbers: int) -> None:
        """Send parts as the blob server would store them."""
        ((key, ref),) = [(k, r) for k, r in self.blobs._uploads.under(f"uploads/{self.owner.id}/{started['file_id']}/")]
        for n in numbers:
            self.blobs.put_part(key, ref, n, io.BytesIO(DATA[(n - 1) * 10 : n * 10]))

    def uploaded(self, **more: Any) -> dict[str, Any]:
        """A complete file."""
        started = self.ask("POST", "/api/uploads", {"name": "a.mp3", "size": 30, **more}, 201)
        self.send(started, 1, 2, 3)
        found: dict[str, Any] = self.ask("POST", f"/api/uploads/{started['id']}/complete")
        return found


@pytest.fixture(scope="module")
def server(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(database_url, tmp_path_factory.mktemp("data"))
    yield made
    made.bound.wiring.database.close()


def test_an_upload_from_its_beginning_to_its_end(server: Server) -> None:
    new = {"name": "Tälk.mp3", "size": 30, "options": {"language": "de", "vocabulary": ["Auricle"]}}
    answer = server.raw("POST", "/api/uploads", new, Idempotency_Key="one")
    started = json.loads(answer.get_data())
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/uploads/{started['id']}"
    assert {"id", "file_id", "part_size", "parts", "expires_at"} <= set(started)
    assert [set(part) for part in started["parts"]] == [{"number", "url"}] * 3
    assert server.ask("POST", "/api/uploads", new, 201, Idempotency_Key="one") == started
    server.send(started, 1, 3)
    assert server.ask("GET", f"/api/uploads/{started['id']}")["missing"] == [2]
    refused = server.ask("POST", f"/api/uploads/{started['id']}/complete", status=409)
    assert refused["missing"] == [2]
    more = server.ask("POST", f"/api/uploads/{started['id']}/parts", {"numbers": [2]})
    assert [part["number"] for part in more["parts"]] == [2]
    server.send(started, 2)
    file = server.ask("POST", f"/api/uploads/{started['id']}/complete")
    assert (file["id"], file["state"], file["options"]["vocabulary"]) == (started["file_id"], "received", ["Auricle"])
    assert server.ask("POST", f"/api/uploads/{started['id']}/complete") == file
    assert server.sink.types().count("auricle.files.received.v1") == 1
    assert "key" not in file


def test_refusals_are_sentences(server: Server) -> None:
    assert server.ask("POST", "/api/uploads", {"name": "a", "size": 0}, 422)["detail"].startswith("The file is empty")
    assert "1000 bytes at most" in server.ask("POST", "/api/uploads", {"name": "a", "size": 1001}, 413)["detail"]
    assert "options" in server.ask("POST", "/api/uploads", {"name": "a", "size": 1, "options": {"speed": 2}}, 422)["detail"]
    assert (
        server.ask("GET", "/api/uploads/0190b2f0-0000-7000-8000-000000000000", status=404)["detail"]
        == "There is no such thing, or it is not shared with you."
    )
    assert server.raw("POST", "/api/uploads", {"name": "a", "size": 1}, token=server.reader).status_code == 403


def test_files_are_listed_by_query(server: Server) -> None:
    mine = server.uploaded(name="Zählung.mp4")
    page = server.ask("GET", f"/api/files?q={quote('zÄHL')}&state=received&state=ready&type=video&sort=name&limit=1")
    assert [file["id"] for file in page["items"]] == [mine["id"]]
    assert server.ask("GET", "/api/files?created_after=2999-01-01T00:00:00Z") == {"items": [], "next": None}
    assert server.ask("GET", "/api/files?state=lost", status=422)
    assert server.ask("GET", "/api/files?created_after=2024-01-01T00:00:00", status=422)
    assert server.ask("GET", "/api/files?cursor=x", status=422)["detail"].startswith("That cursor")


def test_a_file_is_changed_trashed_restored_and_purged(server: Server) -> None:
    path = f"/api/files/{server.uploaded()['id']}"
    assert server.ask("PATCH", path, {"name": "b.mp3"})["name"] == "b.mp3"
    assert server.ask("PATCH", path, {"options": {"diarize": False}})["options"]["diarize"] is False
    assert server.ask("PATCH", path, {})["name"] == "b.mp3"
    assert server.ask("PATCH", path, {"name": None}, 422)
    server.ask("DELETE", path, status=204)
    assert server.ask("GET", path)["state"] == "trashed"
    assert server.ask("POST", f"{path}/restore")["state"] == "received"
    server.ask("POST", f"{path}/purge", status=403)  # no token deletes for good
    server.ask("POST", f"{path}/purge", status=204, Authorization=f"Bearer {session(server.bound.wiring, server.owner.id)}")
    assert server.ask("GET", path, status=404)
    assert server.sink.types()[-1] == "auricle.files.purged.v1"


def test_content_is_a_redirect_to_where_ranges_work(server: Server) -> None:
    path = f"/api/files/{server.uploaded()['id']}"
    answer = server.raw("GET", f"{path}/content", token=server.reader)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("http://blobs.test/")
    assert server.ask("GET", f"{path}/peaks", status=404)["detail"].startswith("This file is not prepared yet")


def test_a_drop_becomes_a_file_when_the_bucket_tells(server: Server) -> None:
    drop = server.ask("POST", "/api/drops", {"name": "memo 1.m4a"}, 201)
    server.blobs.put(drop["key"], b"sound", "audio/mp4")
    record = {"eventName": "s3:ObjectCreated:Put", "s3": {"object": {"key": quote(drop["key"], safe=""), "size": 5}}}
    notification = {"EventName": "s3:ObjectCreated:Put", "Records": [record]}
    assert server.raw("POST", "/api/bucket-events", notification).status_code == 403
    for _ in range(2):
        answer = server.raw("POST", "/api/bucket-events", notification, Authorization="Bearer bucket-secret")
        assert answer.status_code == 204
    found = server.ask("GET", "/api/files?q=memo")["items"]
    assert [(file["name"], file["content_type"]) for file in found] == [("memo 1.m4a", "audio/mp4")]

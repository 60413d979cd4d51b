"""The whole house in one process: every function behind its real door, a real database, real blobs over real HTTP.

Only the broker is replaced, by a queue that delivers by the catalogue's filters until nothing is left, so that tests can
look between any two steps. What the real broker adds is tested where it is (tests/contract/broker, tests/pipeline).
"""

from __future__ import annotations

import json
import random
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import flask
from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder

from auricle.access.actions import create_owner
from auricle.access.store import TokenStore
from auricle.contract.event import Envelope
from auricle.contract.function import registry
from auricle.errors import Retryable
from auricle.ports.blobs import BlobStore
from auricle.ports.mail import Mail
from auricle.runtime.bind import Bound
from auricle.runtime.clientheaders import Certificate, Client, ClientHeaders
from auricle.runtime.cloudevent import binary, envelope_of
from auricle.runtime.database import migrate
from auricle.runtime.local.blobserver import serve
from auricle.runtime.local.identity import LocalIdentity
from auricle.runtime.settings import Settings
from builders.mail import MemoryMail

MOST_DELIVERIES = 20_000
TRIES = 4
GATEWAY_KEY = "55" * 32


class Queue:
    """A broker's sink: keeps what is posted, in order (or not: `shuffle`)."""

    def __init__(self, chaos: random.Random | None = None) -> None:
        self.waiting: deque[Envelope] = deque()
        self.seen: list[Envelope] = []
        self.up = True
        self._chaos = chaos

    def post(self, event: Envelope) -> None:
        """Take an event; with chaos, now and then twice."""
        if not self.up:
            raise Retryable("The event broker is away.")
        self.seen.append(event)
        self.waiting.append(event)
        if self._chaos and self._chaos.random() < 0.1:
            self.waiting.append(event)

    def alive(self) -> str:
        """As the real one."""
        return "ok"

    def next(self) -> Envelope:
        """The first one, or with chaos any."""
        if self._chaos and self._chaos.random() < 0.2:
            self.waiting.rotate(self._chaos.randrange(len(self.waiting)))
        return self.waiting.popleft()


class House:
    """Everything, and a way to ask and to let time pass."""

    def __init__(self, bound: Bound, queue: Queue, token: str, url: str, mail: MemoryMail | None = None) -> None:
        self.bound = bound
        self.queue = queue
        self.token = token
        self.url = url
        self.mail = mail or MemoryMail()
        self.dropped: list[tuple[str, Envelope]] = []
        self.address, self.host = "", "127.0.0.1:8787"
        self.certificate: Certificate | None = None
        self._signs = ClientHeaders(GATEWAY_KEY)
        self._app = flask.Flask("house")

    def ask(self, method: str, path: str, body: Any = None, status: int | None = None, **headers: str) -> Any:
        """An API call as the owner; the JSON answer. `status` is asserted when given, else anything below 400."""
        answer = self.raw(method, path, body, **headers)
        text = answer.get_data(as_text=True)
        if status is None:
            assert answer.status_code < 400, text
        else:
            assert answer.status_code == status, text
        return json.loads(text) if text and "json" in (answer.content_type or "") else text

    def raw(self, method: str, path: str, body: Any = None, **headers: str) -> flask.Response:
        """An API call as the owner; the answer. `body` is sent as JSON, bytes as the form that they are."""
        form = isinstance(body, bytes)
        data = body if form else json.dumps(body).encode() if body is not None else None
        sent = {"Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        sent |= self._gateway(method, path)
        media = "application/x-www-form-urlencoded" if form else "application/json"
        kind = {"content_type": media} if data is not None else {}
        builder = EnvironBuilder(method=method, path=path, data=data, headers=sent, **kind)  # type: ignore[arg-type]
        return self._serve(builder)

    def _gateway(self, method: str, path: str) -> dict[str, str]:
        """What the gateway says of who asks; nothing while `address` is empty."""
        if not self.address:
            return {}
        client = Client(address=self.address, host=self.host, scheme="http", certificate=self.certificate)
        return self._signs.signed(client, method, unquote(path.partition("?")[0]).encode())

    @contextmanager
    def coming_from(self, address: str) -> Iterator[House]:
        """As somebody at `address` (the gateway vouches for it), until the block ends."""
        before, self.address = self.address, address
        try:
            yield self
        finally:
            self.address = before

    def settle(self, most: int = MOST_DELIVERIES) -> int:
        """Deliver until nothing is left (or `most` deliveries were made); returns how many were made."""
        made = 0
        while self.queue.waiting and made < most:
            self._deliver(self.queue.next())
            made += 1
        assert made < MOST_DELIVERIES, "the house never comes to rest"
        return made

    def _deliver(self, event: Envelope) -> None:
        for name, stage in registry.stages.items():
            if not stage.filter or any(event.attribute(k) != v for k, v in stage.filter.items()):
                continue
            for attempt in range(TRIES):
                answer = self.post_event(name, event)
                assert answer.status_code in (200, 204, 503, 500)
                if answer.status_code == 204:
                    break
                if answer.status_code == 200:
                    reply = envelope_of({k.lower(): v for k, v in answer.headers.items()}, answer.get_data())
                    self.queue.post(reply)
                    break
                if attempt == TRIES - 1:
                    self.dropped.append((name, event))

    def post_event(self, function: str, event: Envelope) -> flask.Response:
        """One delivery to one function."""
        headers, data = binary(event)
        return self._serve(EnvironBuilder(method="POST", path=f"/events/{function}", data=data, headers=headers))

    def tick(self, timer: str) -> None:
        """Fire a timer."""
        data = json.dumps({"timer": timer}).encode()
        headers = {"ce-id": "1", "ce-source": "/t", "ce-type": "dev.knative.sources.ping", "ce-specversion": "1.0"}
        builder = EnvironBuilder(
            method="POST", path="/events/timers", data=data, headers=headers, content_type="application/json"
        )
        assert self._serve(builder).status_code == 204

    def _serve(self, builder: EnvironBuilder) -> flask.Response:
        with self._app.app_context():
            answer = self.bound(flask.Request(builder.get_environ()))
        assert isinstance(answer, flask.Response)
        return answer

    def upload(self, path: Path, **options: Any) -> dict[str, Any]:
        """Put a file in, in parts over HTTP, and complete it; returns the file. Nothing is processed yet."""
        import urllib3

        data = path.read_bytes()
        new = self.ask("POST", "/api/uploads", {"name": path.name, "size": len(data), "options": options}, status=201)
        size = new["part_size"]
        for part in new["parts"]:
            begin = (part["number"] - 1) * size
            answer = urllib3.request("PUT", part["url"], body=data[begin : begin + size], retries=False, timeout=10)
            assert answer.status < 300, answer.data
        self.ask("POST", f"/api/uploads/{new['id']}/complete")
        found: dict[str, Any] = self.ask("GET", f"/api/files/{new['file_id']}")
        return found

    def runs(self, file_id: str) -> list[dict[str, Any]]:
        """The file's runs, newest first."""
        found: list[dict[str, Any]] = self.ask("GET", f"/api/runs?file_id={file_id}")["items"]
        return found


@contextmanager
def house(database_url: str, *, chaos: int | None = None, **settings: Any) -> Iterator[House]:
    """A house on `database_url` (which is migrated), with a folder and a blob server of its own.

    Its letters go to `mail`, unless it is told of a mail server.
    """
    migrate(database_url)
    with tempfile.TemporaryDirectory(prefix="auricle-house-") as folder:
        local = LocalIdentity(Path(folder))
        local.prepare(datetime.now(UTC) - timedelta(minutes=1))
        app = flask.Flask("blobs")
        server = make_server("127.0.0.1", 0, app, threaded=True)
        url = f"http://127.0.0.1:{server.port}"
        chosen = Settings(
            auricle_function="*api,*identity,*media,*speech",
            database_url=database_url,
            database_pool=6,
            broker_url="http://127.0.0.1:9/none",
            event_key="22" * 32,
            ephemeral_key="44" * 32,
            **local.settings,
            sealing_keys="66" * 32,
            gateway_key=GATEWAY_KEY,
            data_dir=folder,
            blobs_key="33" * 32,
            blobs_public_url=url,
            blobs_internal_url=url,
            object_origins=url,
            speech_threads=1,
            **settings,
        )
        bound = Bound(chosen)
        queue = Queue(random.Random(chaos) if chaos is not None else None)
        bound.wiring.__dict__["sink"] = queue
        mail = MemoryMail()
        if not chosen.smtp_host:
            bound.wiring.__dict__.setdefault("_ports", {})[Mail] = mail
        blobs = bound.wiring.provide(BlobStore)
        app.add_url_rule(
            "/blobs/<path:key>", view_func=lambda key: serve(flask.request, blobs), methods=["GET", "PUT", "HEAD", "OPTIONS"]
        )
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with bound.wiring.database.work() as db:
            _, token = create_owner(TokenStore(db))
        try:
            yield House(bound, queue, token, url, mail)
        finally:
            server.shutdown()
            thread.join()
            bound.wiring.database.close()

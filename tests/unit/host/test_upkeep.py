"""A host that never sleeps sends and delivers what a killed process left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from sqlalchemy import Engine, text

from auricle.contract.event import Envelope
from auricle.runtime.database import engine_for, migrate
from auricle.runtime.local.upkeep import Upkeep
from auricle.runtime.settings import Settings

EVENT = Envelope(
    id="1",
    source="/auricle",
    type="auricle.files.received.v1",
    time="2026-01-01T00:00:00Z",
    data=b"{}",
    extensions={"sig": "x"},
)


class Broker(BaseHTTPRequestHandler):
    """Takes events and remembers them."""

    def log_message(self, *arguments: object) -> None:
        """Tests are quiet."""

    def do_POST(self) -> None:
        """Accept one."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append(self.headers["ce-id"])  # type: ignore[attr-defined]
        self.send_response(202)
        self.end_headers()


@pytest.fixture
def broker() -> Iterator[ThreadingHTTPServer]:
    """A broker that only listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Broker) as server:
        server.taken = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def engine(database_url: str) -> Iterator[Engine]:
    """A migrated database."""
    migrate(database_url)
    made = engine_for(database_url, 1)
    yield made
    made.dispose()


def upkeep(database_url: str, broker: ThreadingHTTPServer) -> Upkeep:
    """Upkeep of that database."""
    return Upkeep(Settings(database_url=database_url, broker_url=f"http://127.0.0.1:{broker.server_port}", event_key="00" * 32))


def test_what_was_never_sent_is_sent_once(database_url: str, engine: Engine, broker: ThreadingHTTPServer) -> None:
    with engine.begin() as connection:
        for age in ("1 minute", "0 seconds"):
            connection.execute(
                text("insert into outbox (envelope, created_at) values (:event, now() - cast(:age as interval))"),
                {"event": msgspec.json.encode(EVENT), "age": age},
            )
    work = upkeep(database_url, broker)
    work.once()
    work.once()
    assert broker.taken == ["1"]  # type: ignore[attr-defined]
    with engine.begin() as connection:
        assert connection.execute(text("delete from outbox")).rowcount == 1  # the fresh one belongs to who wrote it


def test_what_a_dead_worker_held_is_delivered_again(database_url: str, engine: Engine, broker: ThreadingHTTPServer) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into inbox (function, source, id, envelope, lease_token, lease_until)"
                " values ('prepare', '/auricle', '2', :event, gen_random_uuid(), now() - interval '1 second')"
            ),
            {"event": msgspec.json.encode(msgspec.structs.replace(EVENT, id="2"))},
        )
    upkeep(database_url, broker).once()
    assert broker.taken == ["2"]  # type: ignore[attr-defined]

"""The ephemeral store for tests: in memory, and every real one behind a network that can fail."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from sqlalchemy import NullPool, create_engine

from auricle.adapters.ephemeral.postgres import PostgresEphemeral
from auricle.adapters.ephemeral.redis import RedisEphemeral
from auricle.errors import Retryable
from auricle.ports.ephemeral import MICROSECONDS, SKEW, Allowance, Changed, Ephemeral, Limit, Revocable, Standing
from builders import redis_server
from builders.redis_server import RedisServer
from builders.relay import Relay

T = TypeVar("T")
KEY = bytes(range(32))


class MemoryEphemeral:
    """The store in this process, with a clock that tests move."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.now = now
        self.away = False
        self.calls: list[str] = []
        """What was asked of it, in order: what an answer costs."""
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, ...], tuple[Any, datetime]] = {}
        self._epochs: dict[UUID, int] = {}

    def pass_time(self, seconds: float) -> None:
        """Let time go by."""
        self.now += timedelta(seconds=seconds)

    def hit(self, key: str, limit: Limit) -> Allowance:
        with self._asked("hit"):
            now = round(self.now.timestamp() * MICROSECONDS)
            full = max(self._get("rate", key) or 0, now)
            if full + limit.interval > now + limit.room:
                return limit.allowance(full - now, allowed=False)
            full += limit.interval
            self._put(full, (full - now) / MICROSECONDS, "rate", key)
            return limit.allowance(full - now, allowed=True)

    def once(self, key: str, seconds: float) -> bool:
        with self._asked("once"):
            first = self._get("once", key) is None
            if first:
                self._put(True, seconds, "once", key)
            return first

    def put(self, key: str, value: bytes, seconds: float) -> None:
        with self._asked("put"):
            self._put(value, seconds, "secret", key)

    def take(self, key: str) -> bytes | None:
        with self._asked("take"):
            value: bytes | None = self._get("secret", key)
            self._kept.pop(("secret", key), None)
            return value

    def revoke(self, kind: Revocable, id: str, until: datetime) -> None:
        with self._asked("revoke"):
            name = ("revoked", kind, id)
            kept = self._kept.get(name, (True, until))[1] - SKEW
            self._kept[name] = (True, max(until, kept) + SKEW)

    def revoked(self, kind: Revocable, id: str) -> bool:
        with self._asked("revoked"):
            return self._get("revoked", kind, id) is not None

    def bump(self, user: UUID) -> int:
        with self._asked("bump"):
            self._epochs[user] = max(self._epochs.get(user, 0) + 1, round(self.now.timestamp() * 1000))
            return self._epochs[user]

    def epoch(self, user: UUID) -> int:
        return self.standing(user, ()).epoch

    def standing(self, user: UUID, things: Sequence[tuple[Revocable, str]]) -> Standing:
        with self._asked("standing"):
            revoked = any(self._get("revoked", kind, id) is not None for kind, id in things)
            return Standing(epoch=self._epochs.get(user, 0), revoked=revoked)

    def change(self, key: str, rule: Callable[[datetime, bytes | None], Changed[T]]) -> T:
        with self._asked("change"):
            value = self._get("state", key)
            changed = rule(self.now, value)
            if changed.value is None:
                self._kept.pop(("state", key), None)
            elif changed.value != value:
                self._put(changed.value, changed.seconds, "state", key)
            return changed.answer

    def sweep(self) -> int:
        with self._asked("sweep"):
            gone = [name for name, (_, until) in self._kept.items() if until <= self.now]
            for name in gone:
                del self._kept[name]
            return len(gone)

    def _get(self, *name: str) -> Any:
        value, until = self._kept.get(name, (None, self.now))
        return value if until > self.now else None

    def _put(self, value: Any, seconds: float, *name: str) -> None:
        self._kept[name] = (value, self.now + timedelta(seconds=seconds))

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        with self._lock:
            self.calls.append(what)
            if self.away:
                raise Retryable("The store is away.")
            yield


@dataclass(frozen=True)
class Place:
    """A store under contract, and what may happen to it. `again` is another process's view of the same store."""

    store: Ephemeral
    again: Ephemeral
    wait: Callable[[float], None]
    lose: Callable[[], None]
    silence: Callable[[], None]
    regain: Callable[[], None]
    dump: Callable[[], bytes]
    """Everything the store holds at rest."""


@contextmanager
def in_memory(_: str) -> Iterator[Place]:
    """The fake."""
    store = MemoryEphemeral()

    def away(value: bool) -> Callable[[], None]:
        return lambda: setattr(store, "away", value)

    yield Place(store, store, store.pass_time, away(True), away(True), away(False), lambda: b"")


@contextmanager
def on_postgres(app_database_url: str) -> Iterator[Place]:
    """On a migrated database, as the functions' role."""
    relay = Relay(lambda: postgres_socket(app_database_url))
    store, again = (postgres_store(through(app_database_url, relay.port)) for _ in range(2))
    try:
        yield Place(store, again, time.sleep, relay.cut, relay.fall_silent, relay.mend, lambda: dumped(app_database_url))
    finally:
        relay.cut()
        store.close()
        again.close()


@contextmanager
def on_redis(_: str) -> Iterator[Place]:
    """On a real Redis."""
    with redis_server.running() as server:
        relay = Relay(lambda: socket.create_connection(("127.0.0.1", server.port)))
        url = f"redis://:{server.password}@127.0.0.1:{relay.port}/0"
        # 50 askers wait for 4 connections.
        store, again = (RedisEphemeral(url, KEY, connections=4, timeout=3.0) for _ in range(2))
        try:
            yield Place(store, again, time.sleep, relay.cut, relay.fall_silent, relay.mend, lambda: _dump_redis(server))
        finally:
            relay.cut()
            store.close()
            again.close()


PLACES: Mapping[str, Callable[[str], AbstractContextManager[Place]]] = {
    "memory": in_memory,
    "postgres": on_postgres,
    "redis": on_redis,
}


def postgres_store(url: str, *, key: bytes = KEY, timeout: float = 3.0) -> PostgresEphemeral:
    """As the wiring makes it, to a server on this machine."""
    return PostgresEphemeral(url, key, connect={"ssl_context": False, "timeout": timeout})


def through(url: str, port: int) -> str:
    """The same database and role at a port of this machine."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}"


def dumped(url: str) -> bytes:
    """All rows of the store's tables, as a backup would hold them."""
    engine = create_engine(url, connect_args={"ssl_context": False}, poolclass=NullPool)
    with engine.begin() as db:
        names = db.exec_driver_sql("select tablename from pg_tables where tablename like 'ephemeral%'").scalars().all()
        rows = [row for name in names for row in db.exec_driver_sql(f"select t.* from {name} t").all()]
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)


def _dump_redis(server: RedisServer) -> bytes:
    client = server.client()
    held = [item for key in client.scan_iter() for item in (key, client.get(key) or b"")]
    client.close()
    return b"\n".join(held)


def postgres_socket(url: str) -> socket.socket:
    """A connection to the server of an address, which listens on a Unix socket."""
    end = socket.socket(socket.AF_UNIX)
    end.connect(parse_qs(urlsplit(url).query)["unix_sock"][0])
    return end

"""An audit trail in a database of its own, a past for it, and a superuser who tampers with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from auricle.admin.audit.actions import record
from auricle.admin.audit.chain import Fault, digest, link
from auricle.admin.audit.kinds import ActorKind, EventKind, Outcome, SubjectKind
from auricle.admin.audit.model import AuditEvent, Details
from auricle.admin.audit.store import AuditStore
from auricle.admin.audit.verifying import Verdict
from auricle.contract.ids import uuid7
from auricle.runtime.database import Database, engine_for, migrate
from builders.postgres_server import Server

EMPTY = """
truncate audit_events, audit_links, audit_anchors;
update audit_head set seq = 0, hash = decode(repeat('00', 32), 'hex'), sealed_at = 'epoch'
"""


def event(kind: EventKind = EventKind.LOGIN, **more: Any) -> AuditEvent:
    """An entry that happens now, with a person who did it."""
    fields: dict[str, Any] = {
        "id": uuid7(),
        "at": datetime.now(UTC),
        "kind": kind,
        "outcome": Outcome.SUCCESS,
        "actor_kind": ActorKind.PERSON,
        "actor": uuid7(),
        "address": "192.0.2.7",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
        "function": "identity",
        "subject_kind": SubjectKind.USER,
        "subject_id": str(uuid7()),
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "details": Details(count=3, scopes=("files:read",)),
    }
    return AuditEvent(**fields | more)


def fault(verdict: Verdict) -> tuple[int, Fault] | None:
    """Where the first break is, and which."""
    return (verdict.broken.seq, verdict.broken.fault) if verdict.broken else None


@dataclass
class Trail:
    """The trail of one database. It is `contract.store.Units`, as the functions' role."""

    server: Server
    database: str
    app: Database = field(init=False)
    root: Database = field(init=False)

    def __post_init__(self) -> None:
        """Migrate the database and connect."""
        migrate(self.server.owner_url(self.database))
        self.app = Database(engine_for(self.server.app_url(self.database), 8))
        self.root = Database(engine_for(self.server.postgres.url("postgres", self.database), 1))

    def unit(self) -> AbstractContextManager[Connection]:
        """One transaction as a function has it."""
        return self.app.work()

    def add(self, count: int = 1, **more: Any) -> list[AuditEvent]:
        """Record entries, each in a transaction of its own."""
        made = [event(**more) for _ in range(count)]
        for each in made:
            with self.unit() as connection:
                record(connection, each)
        return made

    @contextmanager
    def tampering(self) -> Iterator[Connection]:
        """A superuser whose changes no trigger sees."""
        with self.root.work() as connection:
            connection.execute(text("set local session_replication_role = replica"))
            yield connection

    def tamper(self, statement: str, **values: Any) -> int:
        """Do one thing as that superuser; returns how many rows it touched."""
        with self.tampering() as connection:
            return int(connection.execute(text(statement), values).rowcount)

    def empty(self) -> None:
        """Begin anew."""
        with self.tampering() as connection:
            for statement in EMPTY.split(";"):
                connection.execute(text(statement))

    def live(self, day: date, count: int) -> None:
        """Append what a past day would have left, hashed here and not by the database."""
        with self.tampering() as connection:
            store = AuditStore(connection)
            head = store.head()
            before, at = bytes.fromhex(head.hash), datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
            for seq in range(head.seq + 1, head.seq + 1 + count):
                at += timedelta(seconds=1)
                made = event(at=at)
                store.append(made)
                before = link(before, seq, at, digest(made))
                values = {"seq": seq, "id": made.id, "at": at, "hash": before}
                connection.execute(text("insert into audit_links values (:seq, :id, :at, :hash)"), values)
                connection.execute(text("update audit_head set seq = :seq, hash = :hash, sealed_at = :at"), values)

    def close(self) -> None:
        """Give the connections back."""
        self.app.close()
        self.root.close()

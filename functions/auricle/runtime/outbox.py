"""The transactional outbox: facts leave if, and only if, the work that produced them is committed.

`OutboxBus` writes within the unit of work, `Outbox.flush` sends right after the commit, `Outbox.relay` sends what a
killed process left behind. A fact may leave twice, never not at all: receivers have an inbox.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import BigInteger, Column, Connection, DateTime, Identity, LargeBinary, Table, func, text

from auricle.contract.event import Envelope, Fact
from auricle.contract.ids import uuid7
from auricle.errors import Retryable
from auricle.runtime.database import Database
from auricle.runtime.signing import Signer
from auricle.runtime.sink import Sink
from auricle.runtime.telemetry import traceparent
from auricle.schema import metadata

if TYPE_CHECKING:
    from auricle.runtime.wiring import Wiring

log = logging.getLogger(__name__)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("envelope", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
LEFT_BEHIND = "5 seconds"
"""Younger rows belong to a process that is about to send them itself."""
BATCH = 100


class Publisher:
    """Turns facts into signed envelopes of this deployment."""

    def __init__(self, source: str, signer: Signer) -> None:
        """`source` is the CloudEvents source that all functions share."""
        self._source = source
        self._signer = signer

    def envelope(self, fact: Fact, id: str | None, subject: str | None) -> Envelope:
        """The signed envelope of `fact`."""
        event = Envelope(
            id=id or str(uuid7()),
            source=self._source,
            type=fact.TYPE,
            time=datetime.now(UTC),
            subject=subject,
            data=fact.encoded(),
            extensions={**fact.attributes(), "traceparent": traceparent()},
        )
        return self._signed(event)

    def again(self, event: Envelope) -> Envelope:
        """`event` under a new id; Knative's traces of the old delivery are left behind."""
        kept = {k: v for k, v in event.extensions.items() if not k.startswith("knative") and k != "sig"}
        new = msgspec.structs.replace(event, id=str(uuid7()), extensions={**kept, "causationid": event.id})
        return self._signed(new)

    def _signed(self, event: Envelope) -> Envelope:
        return msgspec.structs.replace(event, extensions={**event.extensions, "sig": self._signer.signature(event)})


class OutboxBus:
    """`ports.bus.Bus` within one unit of work. `sent` is what the door flushes after the commit."""

    def __init__(self, connection: Connection, publisher: Publisher) -> None:
        """`connection` is in the transaction that the facts depend on."""
        self._connection = connection
        self._publisher = publisher
        self.sent: list[tuple[int, Envelope]] = []

    def publish(self, fact: Fact, *, id: str | None = None, subject: str | None = None) -> None:
        """Record `fact` for sending."""
        self.publish_envelope(self._publisher.envelope(fact, id, subject))

    def republish(self, event: Envelope) -> None:
        """Send an old event's content again under a new id."""
        self.publish_envelope(self._publisher.again(event))

    def publish_envelope(self, event: Envelope) -> None:
        """Record an event that is signed already (the sweep's)."""
        statement = outbox.insert().values(envelope=msgspec.json.encode(event)).returning(outbox.c.id)
        self.sent.append((self._connection.execute(statement).scalar_one(), event))


class Outbox:
    """Sends what is recorded."""

    def __init__(self, database: Database, sink: Sink) -> None:
        """Both belong to this process."""
        self._database = database
        self._sink = sink

    def flush(self, recorded: Sequence[tuple[int, Envelope]]) -> bool:
        """Send what was just committed, in order. What cannot be sent stays (False): the work is done either way."""
        done: list[int] = []
        try:
            for row, event in recorded:
                self._sink.post(event)
                done.append(row)
        except Retryable as error:
            log.warning("outbox keeps %d events: %s", len(recorded) - len(done), error)
        if done:
            try:
                with self._database.work() as connection:
                    connection.execute(outbox.delete().where(outbox.c.id.in_(done)))
            except Retryable as error:
                log.warning("sent events will be sent once more: %s", error)
        return len(done) == len(recorded)

    def flush_all(self, recorded: Sequence[tuple[int, Envelope]]) -> None:
        """Send what was just committed, and what anybody left behind: where nothing runs when nothing is asked, that rides on
        whatever comes next, or on a timer. A broker that is away is asked once."""
        try:
            while self.flush(recorded) and self.relay() == BATCH:
                recorded = ()
        except Retryable as error:
            log.warning("the outbox keeps what was left behind: %s", error)

    def relay(self) -> int:
        """Send what was left behind; returns how many. Several relays share the work."""
        sent = 0
        with self._database.work() as connection:
            rows = connection.execute(
                text(
                    "delete from outbox where id in (select id from outbox where created_at < now() - cast(:age as interval)"
                    " order by id for update skip locked limit :n) returning id, envelope"
                ),
                {"age": LEFT_BEHIND, "n": BATCH},
            )
            for row in sorted(rows.all(), key=lambda r: r.id):
                self._sink.post(msgspec.json.decode(row.envelope, type=Envelope))  # a failure rolls the deletion back
                sent += 1
        return sent


class OutboxUnits:
    """`ports.bus.PublishingUnits` of one process."""

    def __init__(self, wiring: Wiring) -> None:
        """What is published leaves right after its unit's commit, whether this or a door opened the unit."""
        self._wiring = wiring

    @contextmanager
    def unit(self) -> Iterator[Connection]:
        """One transaction."""
        with self._wiring.database.work() as connection:
            bus = self._wiring.bus(connection)
            yield connection
        if bus.sent:
            self._wiring.outbox.flush(bus.sent)

    def publish(self, db: Connection, fact: Fact, *, id: str | None = None) -> None:
        """Record `fact`."""
        self._wiring.buses[db].publish(fact, id=id)

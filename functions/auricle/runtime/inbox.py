"""The inbox: each event has its effect once per function, however often it is delivered.

Quick stages claim, work and finish in one transaction: the unique row is the lock. Slow stages (`then=`) hold a lease
by the database's clock, fenced by a token: whoever lost the lease cannot commit.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum, auto
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import insert

from auricle.contract.event import Envelope
from auricle.errors import Retryable
from auricle.schema import metadata

inbox = Table(
    "inbox",
    metadata,
    Column("function", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("envelope", LargeBinary),  # kept while a lease is held, so that the sweep can deliver it again
    Column("lease_token", Uuid),
    Column("lease_until", DateTime(timezone=True)),
    Column("swept_at", DateTime(timezone=True)),
    Column("attempts", Integer, nullable=False, server_default="1"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("done_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("function", "source", "id"),
)
LEASE = timedelta(seconds=20)
"""Renewed every quarter of it while the work goes on; a killed process's work is free again this soon."""


class Claim(Enum):
    """What became of a claim."""

    MINE = auto()
    DONE = auto()
    HELD = auto()


def claim_whole(connection: Connection, function: str, event: Envelope) -> bool:
    """Mark the event done within this transaction; False when it was done before. A duplicate under way is waited for."""
    statement = insert(inbox).values(function=function, source=event.source, id=event.id, done_at=func.now())
    if connection.execute(statement.on_conflict_do_nothing().returning(inbox.c.id)).first() is not None:
        return True
    # Not done and held by nobody: an earlier try of a slow stage failed before it became a quick one. Take it.
    taken = connection.execute(
        inbox.update()
        .where(*_is(function, event), inbox.c.done_at.is_(None))
        .values(done_at=func.now(), envelope=None, lease_token=None)
        .returning(inbox.c.id)
    )
    return taken.first() is not None


def claim_lease(connection: Connection, function: str, event: Envelope) -> tuple[Claim, UUID]:
    """Take the lease on an event, if nobody holds it; the token fences everything that follows."""
    token = uuid4()
    until = func.now() + LEASE
    statement = insert(inbox).values(
        function=function,
        source=event.source,
        id=event.id,
        envelope=msgspec.json.encode(event),
        lease_token=token,
        lease_until=until,
    )
    statement = statement.on_conflict_do_update(
        index_elements=["function", "source", "id"],
        set_={
            "lease_token": token,
            "lease_until": until,
            "attempts": inbox.c.attempts + 1,
            "envelope": statement.excluded.envelope,
        },
        where=inbox.c.done_at.is_(None) & (inbox.c.lease_until < func.clock_timestamp()),
    )
    if connection.execute(statement.returning(inbox.c.id)).first() is not None:
        return Claim.MINE, token
    done = connection.execute(inbox.select().with_only_columns(inbox.c.done_at).where(*_is(function, event))).scalar()
    return (Claim.DONE if done else Claim.HELD), token


def renew(connection: Connection, function: str, event: Envelope, token: UUID) -> bool:
    """Hold on to the lease; False when it was lost."""
    statement = inbox.update().where(*_is(function, event), inbox.c.lease_token == token, inbox.c.done_at.is_(None))
    return connection.execute(statement.values(lease_until=func.now() + LEASE)).rowcount == 1


def release(connection: Connection, function: str, event: Envelope, token: UUID) -> None:
    """Give the lease up, so that the next delivery can take it at once. The broker owns the retry: the sweep looks away."""
    statement = inbox.update().where(*_is(function, event), inbox.c.lease_token == token, inbox.c.done_at.is_(None))
    connection.execute(statement.values(lease_until=func.now() - timedelta(seconds=1), envelope=None))


def finish(connection: Connection, function: str, event: Envelope, token: UUID) -> None:
    """Mark the event done: the fence. Whoever lost the lease raises here, and its transaction leaves nothing behind."""
    statement = inbox.update().where(*_is(function, event), inbox.c.lease_token == token, inbox.c.done_at.is_(None))
    if connection.execute(statement.values(done_at=func.now(), envelope=None, lease_token=None)).rowcount != 1:
        raise Retryable("Another worker has taken this piece of work over.")


def expired(connection: Connection, limit: int = 20) -> list[Envelope]:
    """Events whose holder has died, each handed out once a minute until somebody takes it."""
    rows = connection.execute(
        text(
            "update inbox set swept_at = now() where (function, source, id) in ("
            " select function, source, id from inbox where done_at is null and lease_until < now() and envelope is not null"
            " and (swept_at is null or swept_at < now() - interval '1 minute')"
            " order by lease_until for update skip locked limit :n) returning envelope"
        ),
        {"n": limit},
    )
    return [msgspec.json.decode(row.envelope, type=Envelope) for row in rows]


def trim(connection: Connection, days: int = 7) -> int:
    """Forget what was done long ago: no broker delivers a week late."""
    return connection.execute(inbox.delete().where(inbox.c.done_at < func.now() - timedelta(days=days))).rowcount


def _is(function: str, event: Envelope) -> tuple[ColumnElement[bool], ...]:
    return inbox.c.function == function, inbox.c.source == event.source, inbox.c.id == event.id

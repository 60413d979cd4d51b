"""Dead letters in the database."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Column, DateTime, LargeBinary, Table, Text, Uuid, func, select

from auricle.admin.model import DeadLetter, DeadLetterId
from auricle.contract.event import Envelope
from auricle.contract.store import Store
from auricle.schema import metadata

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("function", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="open"),
    Column("run_id", Uuid),
    Column("envelope", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("replayed_at", DateTime(timezone=True)),
)


class DeadLetterStore(Store):
    """What could not be worked on."""

    def keep(self, id: UUID, function: str, event: Envelope, reason: str, run_id: UUID | None) -> None:
        """Keep `event` whole."""
        self.db.execute(
            dead_letters.insert().values(
                id=id, function=function, type=event.type, reason=reason, run_id=run_id, envelope=msgspec.json.encode(event)
            )
        )

    def page(self, limit: int, before: UUID | None, state: str | None) -> list[DeadLetter]:
        """Newest first (ids are UUIDv7)."""
        query = select(dead_letters).order_by(dead_letters.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(dead_letters.c.id < before)
        if state is not None:
            query = query.where(dead_letters.c.state == state)
        return [_letter(row) for row in self.db.execute(query)]

    def get(self, id: DeadLetterId) -> DeadLetter | None:
        """One of them."""
        row = self.db.execute(select(dead_letters).where(dead_letters.c.id == id)).first()
        return _letter(row) if row else None

    def envelope(self, id: DeadLetterId) -> Envelope | None:
        """The event as it was, locked against a second replay."""
        found = self.db.execute(select(dead_letters.c.envelope).where(dead_letters.c.id == id).with_for_update()).scalar()
        return msgspec.json.decode(found, type=Envelope) if found else None

    def replayed(self, id: DeadLetterId) -> None:
        """It was sent into the pipeline again."""
        self.db.execute(dead_letters.update().where(dead_letters.c.id == id).values(state="replayed", replayed_at=func.now()))

    def open_count(self) -> int:
        """How many wait for a person."""
        count = select(func.count()).select_from(dead_letters).where(dead_letters.c.state == "open")
        return int(self.db.execute(count).scalar_one())


def _letter(row: Any) -> DeadLetter:
    event = msgspec.json.decode(row.envelope, type=Envelope)
    return DeadLetter(
        id=row.id,
        function=row.function,
        type=event.type,
        reason=row.reason,
        state=row.state,
        created_at=row.created_at,
        run_id=row.run_id,
        replayed_at=row.replayed_at,
        event={"id": event.id, "source": event.source, "subject": event.subject, "extensions": event.extensions}
        | {"data": _readable(event.data)},
    )


def _readable(data: bytes) -> object:
    """The data for people: JSON where it is JSON, with the keys of signed URLs left out."""
    try:
        return _masked(msgspec.json.decode(data))
    except msgspec.DecodeError:
        return repr(data[:1000])


def _masked(value: object) -> object:
    if isinstance(value, dict):
        return {k: _masked(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked(v) for v in value]
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return value.partition("?")[0]
    return value

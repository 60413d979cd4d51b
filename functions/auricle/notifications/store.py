"""The event log: what people may watch, per owner, in the order of commits."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Table, Text, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import UserDefinedType

from auricle.contract.store import Store
from auricle.schema import metadata


class Xid8(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id: never reused, comparable."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The type's name."""
        return "xid8"


event_log = Table(
    "event_log",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("owner", Uuid, nullable=False),
    Column("file_id", Uuid),  # what it is about: also those with whom the file is shared see it
    Column("type", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("data", JSONB, nullable=False),
    Index("event_log_order", "xid", "seq"),
)


class EventLogStore(Store):
    """Appends; `ports.feed` reads."""

    def append(self, owner: UUID, file_id: UUID, type: str, data: msgspec.Struct | dict[str, object]) -> None:
        """Tell the listeners of who owns a file or has a grant on it, once this transaction commits."""
        self.db.execute(event_log.insert().values(owner=owner, file_id=file_id, type=type, data=msgspec.to_builtins(data)))

    def trim(self, days: int) -> int:
        """Forget what no listener will ask for."""
        return int(self.db.execute(event_log.delete().where(event_log.c.at < func.now() - timedelta(days=days))).rowcount)

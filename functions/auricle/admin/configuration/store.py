"""The one table of what administrators set."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Column, DateTime, Integer, LargeBinary, Table, Text, Uuid, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from auricle.admin.configuration.model import Row
from auricle.contract.store import Store
from auricle.errors import Conflict
from auricle.schema import metadata

configuration = Table(
    "configuration",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", JSONB, nullable=False),
    Column("sealed", LargeBinary),
    Column("version", Integer, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("changed_by", Uuid),  # a principal, who may be gone since
)


class ConfigurationStore(Store):
    """Sections, by name."""

    def all(self) -> dict[str, Row]:
        """Everything: there are some dozens at most."""
        return {row.name: _row(row) for row in self.db.execute(select(configuration))}

    def get(self, name: str) -> Row | None:
        """One, held until the unit of work ends: changes come one after another."""
        row = self.db.execute(select(configuration).where(configuration.c.name == name).with_for_update()).first()
        return None if row is None else _row(row)

    def put(self, name: str, value: bytes, sealed: bytes | None, by: UUID | None, expected: int | None) -> Row:
        """Set a section whose version is `expected` (0: not there yet; None: whatever it is); `Conflict` when it is not."""
        known = self.get(name)
        version = known.version if known else 0
        if expected is not None and expected != version:
            raise Conflict("Somebody else has changed these settings. Load them again, and make your change anew.")
        kept = {"value": msgspec.json.decode(value), "sealed": sealed, "version": version + 1, "changed_by": by}
        changed = {**kept, "changed_at": func.now()}
        new = insert(configuration).values(name=name, **changed)
        statement = new.on_conflict_do_update(index_elements=["name"], set_=changed) if known else new.on_conflict_do_nothing()
        row = self.db.execute(statement.returning(configuration)).first()
        if row is None:
            raise Conflict("Somebody else has just set these settings. Load them again.")
        return _row(row)

    def drop(self, name: str) -> bool:
        """Forget a section: the environment's settings hold again. False when there is none."""
        return bool(self.db.execute(configuration.delete().where(configuration.c.name == name)).rowcount)


def _row(row: Any) -> Row:
    return Row(
        name=row.name,
        value=msgspec.json.encode(row.value),
        sealed=bytes(row.sealed) if row.sealed is not None else None,
        version=row.version,
        changed_at=row.changed_at,
        changed_by=row.changed_by,
    )

"""Cold starts of runs: written once by whoever was woken, read with the run."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Table,
    Text,
    Uuid,
    column,
    func,
    literal,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from auricle.contract.store import Store
from auricle.runs.model import ColdStart
from auricle.schema import metadata

cold_starts = Table(
    "cold_starts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", Uuid, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("step", Text),  # none: the conductor's
    Column("at", DateTime(timezone=True), nullable=False),
    Column("told", JSONB, nullable=False),
    Index("cold_starts_by_run", "run_id", "step"),
)
_runs = table("runs", column("id", Uuid))  # described in `runs.tables`, which not every function that is woken loads
MOST = 20
"""Kept per step: a pool that grows by more tells nothing new."""


class ColdStartStore(Store):
    """Cold starts of runs."""

    def keep(self, run_id: UUID, step: str | None, told: ColdStart) -> None:
        """Note one, if the run is there and has not many."""
        same = cold_starts.c.step == step if step is not None else cold_starts.c.step.is_(None)
        many = select(func.count()).select_from(cold_starts).where(cold_starts.c.run_id == run_id, same).scalar_subquery()
        row = select(
            literal(run_id, Uuid), literal(step, Text), literal(told.at, DateTime(timezone=True)), literal(_kept(told), JSONB)
        ).where(select(_runs.c.id).where(_runs.c.id == run_id).exists(), many < MOST)
        self.db.execute(cold_starts.insert().from_select(["run_id", "step", "at", "told"], row))


def told_of(run_id: Any, step: Any) -> Any:
    """A column for queries on runs or steps: the cold starts of a step (None: of the conductor) as one list, oldest first."""
    same = cold_starts.c.step == step if step is not None else cold_starts.c.step.is_(None)
    listed = func.jsonb_agg(aggregate_order_by(cold_starts.c.told, cold_starts.c.at))
    return select(listed).where(cold_starts.c.run_id == run_id, same).scalar_subquery().label("cold")


def read(listed: Any) -> tuple[ColdStart, ...]:
    """What `told_of` found."""
    return msgspec.convert(listed or (), tuple[ColdStart, ...])


def _kept(told: ColdStart) -> dict[str, Any]:
    """Without what is not known."""
    return {name: value for name, value in msgspec.to_builtins(told).items() if value is not None}

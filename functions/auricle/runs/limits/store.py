"""Whose turn it is, and how many minutes of recordings were given to be transcribed.

A run is under way from its first released piece until it is over. Whoever wants to begin asks here under a lock that all who
ask wait for; whoever sees a run end calls the next ones, by an event, so that nobody holds two runs at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from sqlalchemy import Column, DateTime, Float, Index, Table, Uuid, func, select, text
from sqlalchemy.dialects.postgresql import insert

from auricle.contract.store import Store
from auricle.files.model import FileId
from auricle.runs.conducted import PieceState
from auricle.runs.limits.model import Month
from auricle.runs.model import RunId, RunState
from auricle.runs.tables import pieces, runs
from auricle.schema import metadata

transcriptions = Table(
    "transcriptions",
    metadata,
    Column("run_id", Uuid, primary_key=True),
    Column("seconds", Float, nullable=False),
    Column("began_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("transcriptions_by_time", "began_at"),
)
"""Each run whose transcription began, once, with its recording's length; what is counted stays when its run is purged."""

TURNS = 7020
"""The lock of whoever counts turns; taken after the row of a run, never before."""
COUNTING = 7021
"""The lock of whoever counts minutes against a limit; taken after that of turns."""
_FIRST = text(
    """
with under_way as (select owner, count(*) as n from runs where state = 'running' group by owner),
line as (
  select id, file_id, owner, queued_at, row_number() over (partition by owner order by queued_at, id) as nth
  from runs where state = 'queued')
select line.id, line.file_id from line left join under_way on under_way.owner = line.owner
order by coalesce(under_way.n, 0) + line.nth, line.queued_at, line.id
limit greatest(0, :most - (select coalesce(sum(n), 0) from under_way))
"""
)
"""Those who may begin now: first who would have the fewest under way with it, then who came first."""

_MONTH = text(
    """
with this as (select date_trunc('month', now() at time zone 'UTC') as month)
select (month + interval '1 month') at time zone 'UTC' as renews_at,
  (select coalesce(sum(seconds), 0) from transcriptions where began_at >= month at time zone 'UTC') as seconds
from this
"""
)
"""By the database's clock, whatever its time zone."""


class TurnStore(Store):
    """The line of runs that are not begun."""

    def takes(self, id: RunId, most: int) -> bool:
        """Whether it is the run's turn. Until this unit of work ends nobody else is told so, unless there is room for both."""
        self._alone()
        again = runs.update().where(runs.c.id == id, runs.c.state.notin_((RunState.QUEUED, RunState.RUNNING)))
        self.db.execute(again.values(state=RunState.QUEUED, queued_at=func.clock_timestamp(), finished_at=None))
        return any(first == id for first, _ in self._first(most))

    def called(self, most: int) -> list[tuple[RunId, FileId]]:
        """The runs whose turn it is, with their files; whoever is about to join the line has done so."""
        self._alone()
        return self._first(most)

    def idle(self, limit: int, states: Sequence[RunState]) -> list[tuple[RunId, FileId]]:
        """Runs in one of these states of which nothing is out: the deployment was suspended when something was to go out."""
        out = select(pieces.c.run_id).where(pieces.c.run_id == runs.c.id, pieces.c.state == PieceState.RELEASED).exists()
        query = select(runs.c.id, runs.c.file_id).where(runs.c.state.in_(states), ~out).order_by(runs.c.queued_at)
        return [(RunId(row.id), FileId(row.file_id)) for row in self.db.execute(query.limit(limit))]

    def _first(self, most: int) -> list[tuple[RunId, FileId]]:
        return [(RunId(row.id), FileId(row.file_id)) for row in self.db.execute(_FIRST, {"most": most})]

    def _alone(self) -> None:
        self.db.execute(select(func.pg_advisory_xact_lock(TURNS)))


class MinutesStore(Store):
    """Minutes as they are counted."""

    def month(self) -> Month:
        """What was begun in this month."""
        row = self.db.execute(_MONTH).one()
        return Month(seconds=float(row.seconds), renews_at=row.renews_at.astimezone(UTC))

    def counted(self, id: RunId) -> bool:
        """Whether this run's minutes are counted already: what is retried is not counted again."""
        return self.db.execute(select(transcriptions.c.run_id).where(transcriptions.c.run_id == id)).first() is not None

    def count(self, id: RunId, seconds: float) -> None:
        """Its transcription begins now."""
        self.db.execute(insert(transcriptions).values(run_id=id, seconds=seconds).on_conflict_do_nothing())

    def alone(self) -> None:
        """Nobody else counts before this unit of work ends."""
        self.db.execute(select(func.pg_advisory_xact_lock(COUNTING)))

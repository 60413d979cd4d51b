"""Runs, steps and pieces of work. Only `runs.actions` writes here; the run's row is its lock. Time is the database's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    bindparam,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from auricle.contract.store import Store
from auricle.files.model import FileId, Options
from auricle.runs.conducting import Conducted, Piece, PieceState, StepRecord, patience
from auricle.runs.model import Run, RunId, RunState, Step, StepName, StepState
from auricle.schema import metadata

runs = Table(
    "runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("file_id", Uuid, nullable=False),
    Column("owner", Uuid, nullable=False),
    Column("state", Text, nullable=False),
    Column("options", JSONB, nullable=False),
    Column("notes", JSONB, nullable=False, server_default="[]"),
    Column("warnings", JSONB, nullable=False, server_default="[]"),
    Column("error", Text),
    Column("speech", Boolean),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Index("runs_by_owner", "owner", "created_at"),
    Index("runs_by_file", "file_id", "created_at"),
    Index("runs_one_active", "file_id", unique=True, postgresql_where=text("state in ('queued', 'running')")),
)
steps = Table(
    "steps",
    metadata,
    Column("run_id", Uuid, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("progress", Float, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("run_id", "name"),
)
pieces = Table(
    "pieces",
    metadata,
    Column("run_id", Uuid, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("step", Text, nullable=False),
    Column("index", Integer, nullable=False),
    Column("start", Float, nullable=False),
    Column("end", Float, nullable=False),
    Column("weight", Float, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("releases", Integer, nullable=False),
    Column("fraction", Float, nullable=False),
    Column("error", Text),
    Column("sha256", Text),
    Column("size", Integer),
    Column("deadline", DateTime(timezone=True)),
    PrimaryKeyConstraint("run_id", "step", "index"),
    Index("pieces_due", "deadline", postgresql_where=text("state = 'released'")),
)
_PIECE_FIELDS = ("start", "end", "weight", "state", "attempt", "releases", "fraction", "error", "sha256", "size")
_OVER = ("succeeded", "failed", "skipped", "cancelled")


class Held(msgspec.Struct, kw_only=True):
    """A run in the conductor's hand: locked, with what it looked like when it was taken."""

    id: RunId
    file_id: FileId
    owner: UUID
    run: Conducted
    was: Run
    pieces_were: dict[tuple[StepName, int], tuple[Any, ...]]


class RunStore(Store):
    """Runs of files. Reads for people are restricted by owner."""

    def create(self, id: RunId, file_id: FileId, owner: UUID, run: Conducted) -> bool:
        """A new run, queued; False when it is there already. The index refuses a second active one of the file."""
        statement = insert(runs).values(
            id=id, file_id=file_id, owner=owner, state=run.state, options=msgspec.to_builtins(run.options)
        )
        if self.db.execute(statement.on_conflict_do_nothing(index_elements=["id"]).returning(runs.c.id)).first() is None:
            return False
        rows = [{"run_id": id, "name": s.name, "position": i, "state": s.state} for i, s in enumerate(run.steps.values())]
        self.db.execute(steps.insert(), rows)
        self._write_pieces(id, list(run.pieces.values()), set())
        return True

    def hold(self, id: RunId) -> Held | None:
        """Take a run to change it; everybody else waits."""
        return self._loaded(id, select(runs).where(runs.c.id == id).with_for_update())

    def peek(self, id: RunId) -> Held | None:
        """A run to read, not to change; nobody waits."""
        return self._loaded(id, select(runs).where(runs.c.id == id))

    def _loaded(self, id: RunId, query: Any) -> Held | None:
        row = self.db.execute(query).first()
        if row is None:
            return None
        records = self.db.execute(select(steps).where(steps.c.run_id == id).order_by(steps.c.position)).all()
        kept = [_piece(p) for p in self.db.execute(select(pieces).where(pieces.c.run_id == id).order_by(pieces.c.index))]
        conducted = Conducted(
            options=msgspec.convert(row.options, Options),
            steps={StepName(r.name): _record(r) for r in records},
            pieces={(p.step, p.index): p for p in kept},
            state=RunState(row.state),
            error=row.error,
            notes=list(row.notes),
            speech=row.speech,
        )
        were = {key: _values(piece) for key, piece in conducted.pieces.items()}
        return Held(id=id, file_id=row.file_id, owner=row.owner, run=conducted, was=_run(row, records), pieces_were=were)

    def save(self, held: Held, warnings: Sequence[str], released: Sequence[Piece], seconds: dict[StepName, int]) -> Run:
        """Write what changed, and nothing else. `seconds` is each step's time until a released piece is due."""
        run, was = held.run, held.was
        changed = [p for key, p in run.pieces.items() if held.pieces_were.get(key) != _values(p)]
        gone = [key for key in held.pieces_were if key not in run.pieces]
        for step, index in gone:
            self.db.execute(pieces.delete().where(pieces.c.run_id == held.id, pieces.c.step == step, pieces.c.index == index))
        self._write_pieces(held.id, changed, set(held.pieces_were))
        alive = [p for p in run.pieces.values() if p.renewed and p.state is PieceState.RELEASED and p not in released]
        for piece in [*released, *alive]:
            due = func.now() + timedelta(seconds=seconds[piece.step] * patience(piece))
            where = (pieces.c.run_id == held.id, pieces.c.step == piece.step, pieces.c.index == piece.index)
            self.db.execute(pieces.update().where(*where).values(deadline=due))
        before = {step.name: step for step in was.steps}
        for record in run.steps.values():
            self._write_step(held.id, record, before[record.name])
        self._write_run(held, warnings)
        return self.get(held.owner, held.id) or was

    def _write_pieces(self, id: RunId, changed: Sequence[Piece], known: set[tuple[StepName, int]]) -> None:
        rows = [
            {"run_id": id, "step": p.step, "index": p.index, **dict(zip(_PIECE_FIELDS, _values(p), strict=True))}
            for p in changed
        ]
        new = [r for r in rows if (r["step"], r["index"]) not in known]
        if new:
            self.db.execute(pieces.insert(), new)
        old = [{**r, "_run": r.pop("run_id"), "_step": r.pop("step"), "_index": r.pop("index")} for r in rows if r not in new]
        if old:
            where = (
                pieces.c.run_id == bindparam("_run"),
                pieces.c.step == bindparam("_step"),
                pieces.c.index == bindparam("_index"),
            )
            self.db.execute(pieces.update().where(*where), old)

    def _write_step(self, id: RunId, record: StepRecord, before: Step) -> None:
        if (record.state, record.progress, record.attempts, record.error) == (
            before.state,
            before.progress,
            before.attempts,
            before.error,
        ):
            return
        values: dict[str, Any] = {
            "state": record.state,
            "progress": record.progress,
            "attempts": record.attempts,
            "error": record.error,
        }
        if record.state is not StepState.WAITING and before.started_at is None and record.attempts:
            values["started_at"] = func.clock_timestamp()
        if record.state in _OVER and before.state not in _OVER:
            values["finished_at"] = func.clock_timestamp()
        elif record.state not in _OVER:
            values["finished_at"] = None
        self.db.execute(steps.update().where(steps.c.run_id == id, steps.c.name == record.name).values(**values))

    def _write_run(self, held: Held, warnings: Sequence[str]) -> None:
        run, was = held.run, held.was
        values: dict[str, Any] = {
            "state": run.state,
            "error": run.error,
            "notes": run.notes,
            "warnings": list(warnings),
            "speech": run.speech,
        }
        if run.state is not RunState.QUEUED and was.started_at is None:
            values["started_at"] = func.clock_timestamp()
        if run.state.over and not was.state.over:
            values["finished_at"] = func.clock_timestamp()
        elif not run.state.over:
            values["finished_at"] = None
        self.db.execute(runs.update().where(runs.c.id == held.id).values(**values))

    def get(self, owner: UUID, id: RunId) -> Run | None:
        """One run, for its owner."""
        row = self.db.execute(select(runs).where(runs.c.id == id, runs.c.owner == owner)).first()
        if row is None:
            return None
        return _run(row, self.db.execute(select(steps).where(steps.c.run_id == id).order_by(steps.c.position)).all())

    def page(self, owner: UUID, limit: int, before: RunId | None, file_id: FileId | None, state: RunState | None) -> list[Run]:
        """Newest first."""
        query = select(runs).where(runs.c.owner == owner).order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit)
        if file_id is not None:
            query = query.where(runs.c.file_id == file_id)
        if state is not None:
            query = query.where(runs.c.state == state)
        if before is not None:
            last = select(runs.c.created_at, runs.c.id).where(runs.c.id == before).subquery()
            older = func.row(runs.c.created_at, runs.c.id) < func.row(last.c.created_at, last.c.id)
            query = query.where(select(older).select_from(last).scalar_subquery())
        rows = self.db.execute(query).all()
        of: dict[UUID, list[Any]] = {row.id: [] for row in rows}
        found = select(steps).where(steps.c.run_id.in_(list(of))).order_by(steps.c.position)
        for record in self.db.execute(found):
            of[record.run_id].append(record)
        return [_run(row, of[row.id]) for row in rows]

    def active(self, file_id: FileId) -> RunId | None:
        """The run that is queued or running on a file."""
        query = select(runs.c.id).where(runs.c.file_id == file_id, runs.c.state.in_(("queued", "running")))
        return self.db.execute(query).scalar()  # type: ignore[no-any-return]

    def due(self, limit: int, run_id: RunId | None = None) -> list[tuple[RunId, StepName, int]]:
        """Released pieces whose deadline has passed, of one run or of all."""
        query = select(pieces.c.run_id, pieces.c.step, pieces.c.index).where(
            pieces.c.state == PieceState.RELEASED, pieces.c.deadline < func.now()
        )
        if run_id is not None:
            query = query.where(pieces.c.run_id == run_id)
        rows = self.db.execute(query.order_by(pieces.c.deadline).limit(limit))
        return [(row.run_id, StepName(row.step), row.index) for row in rows]

    def newest_with(self, file_id: FileId, step: StepName) -> RunId | None:
        """The newest run of the file in which `step` succeeded: one that was stopped half-way has only half a result."""
        done = select(steps.c.run_id).where(steps.c.name == step, steps.c.state == StepState.SUCCEEDED)
        query = select(runs.c.id).where(runs.c.file_id == file_id, runs.c.id.in_(done))
        return self.db.execute(query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(1)).scalar()  # type: ignore[no-any-return]

    def options(self, id: RunId) -> Options:
        """What a run was asked to do; the defaults when it is gone."""
        found = self.db.execute(select(runs.c.options).where(runs.c.id == id)).scalar()
        return msgspec.convert(found or {}, Options)

    def is_over(self, id: RunId) -> bool:
        """Whether nothing is to come of a run any more; nobody changes that before this transaction ends."""
        state = self.db.execute(select(runs.c.state).where(runs.c.id == id).with_for_update()).scalar()
        return state is None or RunState(state).over

    def forget(self, file_id: FileId) -> None:
        """Every run of a purged file."""
        self.db.execute(runs.delete().where(runs.c.file_id == file_id))


def _values(piece: Piece) -> tuple[Any, ...]:
    return tuple(getattr(piece, name) for name in _PIECE_FIELDS)


def _piece(row: Any) -> Piece:
    kept = {name: getattr(row, name) for name in _PIECE_FIELDS}
    return Piece(StepName(row.step), row.index, **{**kept, "state": PieceState(row.state)})


def _record(row: Any) -> StepRecord:
    return StepRecord(StepName(row.name), StepState(row.state), row.progress, row.attempts, row.error)


def _run(row: Any, records: Sequence[Any]) -> Run:
    return Run(
        id=row.id,
        file_id=row.file_id,
        state=RunState(row.state),
        warnings=tuple(row.warnings),
        error=row.error,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        steps=tuple(
            Step(
                name=StepName(r.name),
                state=StepState(r.state),
                progress=round(r.progress, 4),
                attempts=r.attempts,
                error=r.error,
                started_at=r.started_at,
                finished_at=r.finished_at,
            )
            for r in records
        ),
    )

"""Runs, steps and pieces of work. Only `runs.actions` writes here; the run's row is its lock. Time is the database's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert

from auricle.access.relations import shared_files
from auricle.contract.store import Store
from auricle.files.model import ChunkRow, FileId, Options
from auricle.files.store import chunks as file_chunks
from auricle.runs.coldstarts import store as coldstarts
from auricle.runs.conducted import Conducted, Piece, PieceState, Rest, StepRecord
from auricle.runs.conducting import patience, unattended
from auricle.runs.model import Awaited, ColdStart, Run, RunId, RunState, Step, StepName, StepState
from auricle.runs.tables import pieces, runs, steps

WAIT = timedelta(seconds=20)
"""So long nobody begins any of a step's pieces before it is said to wait: a warm pool is faster, a cold one is waited for."""
_PIECE_FIELDS = ("start", "end", "weight", "state", "attempt", "releases", "fraction", "error", "sha256", "size", "begun")
FORSAKEN = timedelta(days=7)
"""After so long without anybody who begins, a step's work is given up; a weekend without a GPU must not cost a run."""
_IN_HAND = """
with mine as (
  select p.*, p.step not in ('transcribe', 'diarize') or p.state in ('released', 'failed')
    or (p.step = :step and p.index = :index)
    or (p.state = 'waiting' and row_number() over (partition by p.step, p.state order by p.index) <= :window) as seen
  from pieces p where p.run_id = :id)
select"""
"""`conducting.in_hand`, where the pieces are: a day's recording has thousands, and a decision depends on a few."""
_SEEN = text(f"{_IN_HAND} * from mine where seen order by index")
_REST = text(
    f"{_IN_HAND} step, count(*) filter (where state = 'done') as done, count(*) filter (where state = 'waiting') as waiting,"
    " sum(weight) as weight, sum(case when state = 'done' then weight else weight * fraction end) as worked,"
    " coalesce(max(attempt) filter (where releases > 0 or state = 'done'), 0) as attempts"
    " from mine where not seen group by step"
)
_OVER = ("succeeded", "failed", "skipped", "cancelled")


class Held(msgspec.Struct, kw_only=True):
    """A run in the conductor's hand: locked, with what it looked like when it was taken."""

    id: RunId
    file_id: FileId
    owner: UUID
    run: Conducted
    was: Run
    pieces_were: dict[tuple[StepName, int], tuple[Any, ...]]
    unattended_were: frozenset[StepName] = frozenset()


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

    def hold(self, id: RunId, about: tuple[StepName, int] | None = None, window: int | None = None) -> Held | None:
        """Take a run to change it; everybody else waits. With `window`, only what decisions about that piece depend on."""
        return self._loaded(id, _runs.where(runs.c.id == id).with_for_update(of=runs), about, window)

    def peek(self, id: RunId) -> Held | None:
        """A run to read, not to change; nobody waits."""
        return self._loaded(id, _runs.where(runs.c.id == id))

    def _loaded(
        self, id: RunId, query: Any, about: tuple[StepName, int] | None = None, window: int | None = None
    ) -> Held | None:
        row = self.db.execute(query).first()
        if row is None:
            return None
        records = self.db.execute(_records.where(steps.c.run_id == id)).all()
        rest: dict[StepName, Rest] = {}
        if window is None:
            found = self.db.execute(select(pieces).where(pieces.c.run_id == id).order_by(pieces.c.index))
        else:
            step, index = about or ("", -1)
            chosen = {"id": id, "step": str(step), "index": index, "window": window}
            rest = {StepName(row.step): _rest(row) for row in self.db.execute(_REST, chosen)}
            found = self.db.execute(_SEEN, chosen)
        kept = [_piece(row) for row in found]
        conducted = Conducted(
            options=msgspec.convert(row.options, Options),
            steps={StepName(r.name): _record(r) for r in records},
            pieces={(p.step, p.index): p for p in kept},
            state=RunState(row.state),
            error=row.error,
            notes=list(row.notes),
            speech=row.speech,
            rest=rest,
            in_line=row.in_line,
        )
        return Held(
            id=id,
            file_id=row.file_id,
            owner=row.owner,
            run=conducted,
            was=_run(row, records),
            pieces_were={key: _values(piece) for key, piece in conducted.pieces.items()},
            unattended_were=frozenset(StepName(r.name) for r in records if r.unattended_since is not None),
        )

    def done(self, id: RunId, step: StepName) -> set[int]:
        """Indexes of a step's pieces that are done."""
        query = select(pieces.c.index).where(pieces.c.run_id == id, pieces.c.step == step, pieces.c.state == PieceState.DONE)
        return set(self.db.execute(query).scalars())

    def chunks(self, file_id: FileId, indexes: Collection[int]) -> list[ChunkRow]:
        """Some of a file's chunks: those that are to be released now."""
        names = ChunkRow.__struct_fields__
        query = select(*(file_chunks.c[name] for name in names)).where(file_chunks.c.file_id == file_id)
        query = query.where(file_chunks.c.index.in_(indexes))
        return [msgspec.convert(dict(zip(names, row, strict=True)), ChunkRow) for row in self.db.execute(query)]

    def save(
        self,
        held: Held,
        warnings: Sequence[str],
        released: Sequence[Piece],
        seconds: dict[StepName, int],
        awaited: Awaited = Awaited.SPEECH_WORKER,
    ) -> Run:
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
            self._write_wait(held, record.name, awaited)
        self._write_run(held, warnings)
        return self.get(held.id) or was

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

    def _write_wait(self, held: Held, name: StepName, awaited: Awaited) -> None:
        """Since when nobody works on what is out. Whoever was heard of it just now has only just left."""
        now, before = unattended(held.run, name), name in held.unattended_were
        if now and (not before or name in held.run.stirred):
            values: dict[str, Any] = {"unattended_since": func.clock_timestamp(), "awaited": awaited, "wait_told": False}
        elif before and not now:
            values = {"unattended_since": None, "wait_told": False}
        else:
            return
        self.db.execute(steps.update().where(steps.c.run_id == held.id, steps.c.name == name).values(**values))

    def newly_waiting(self, limit: int) -> list[tuple[UUID, Run]]:
        """Runs (with their owners) that have begun to wait and of which nobody was told; each is given out once."""
        since = select(steps.c.run_id, steps.c.name).where(steps.c.unattended_since < func.now() - WAIT, ~steps.c.wait_told)
        some = since.order_by(steps.c.unattended_since).limit(limit).with_for_update(skip_locked=True).subquery()
        statement = steps.update().where(steps.c.run_id == some.c.run_id, steps.c.name == some.c.name).values(wait_told=True)
        ids = set(self.db.execute(statement.returning(steps.c.run_id)).scalars())
        rows = self.db.execute(select(runs.c.id, runs.c.owner).where(runs.c.id.in_(ids))).all() if ids else []
        found = [(row.owner, self.get(RunId(row.id))) for row in rows]
        return [(owner, run) for owner, run in found if run is not None]

    def _write_run(self, held: Held, warnings: Sequence[str]) -> None:
        run, was = held.run, held.was
        values: dict[str, Any] = {
            "state": run.state,
            "error": run.error,
            "notes": run.notes,
            "warnings": list(warnings),
            "speech": run.speech,
            "in_line": run.in_line,
        }
        if run.state is not RunState.QUEUED and was.started_at is None:
            values["started_at"] = func.clock_timestamp()
        if run.state.over and not was.state.over:
            values["finished_at"] = func.clock_timestamp()
        elif not run.state.over:
            values["finished_at"] = None
            if was.state.over:
                values["queued_at"] = func.clock_timestamp()
        self.db.execute(runs.update().where(runs.c.id == held.id).values(**values))

    def get(self, id: RunId) -> Run | None:
        """One run."""
        row = self.db.execute(_runs.where(runs.c.id == id)).first()
        if row is None:
            return None
        return _run(row, self.db.execute(_records.where(steps.c.run_id == id)).all())

    def page(self, who: UUID, limit: int, before: RunId | None, file_id: FileId | None, state: RunState | None) -> list[Run]:
        """Runs on files that are theirs or shared with them, newest first."""
        newest = (runs.c.created_at.desc(), runs.c.id.desc())
        query = select(runs.c.id).order_by(*newest).limit(limit)
        if file_id is not None:
            query = query.where(runs.c.file_id == file_id)
        if state is not None:
            query = query.where(runs.c.state == state)
        if before is not None:
            last = select(runs.c.created_at, runs.c.id).where(runs.c.id == before).subquery()
            older = func.row(runs.c.created_at, runs.c.id) < func.row(last.c.created_at, last.c.id)
            query = query.where(select(older).select_from(last).scalar_subquery())
        own = query.where(runs.c.owner == who)
        shared = query.where(runs.c.owner != who, runs.c.file_id.in_(shared_files(who)))
        seen = union_all(own, shared).subquery()  # two short lists, each from its own index, made one
        rows = self.db.execute(_runs.where(runs.c.id.in_(select(seen.c.id))).order_by(*newest).limit(limit)).all()
        of: dict[UUID, list[Any]] = {row.id: [] for row in rows}
        for record in self.db.execute(_records.where(steps.c.run_id.in_(list(of)))):
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

    def note_cold_start(self, id: RunId, step: StepName, told: ColdStart) -> None:
        """What one of a step's pieces waited for because its function was asleep."""
        coldstarts.ColdStartStore(self.db).keep(id, step, told)

    def is_over(self, id: RunId) -> bool:
        """Whether nothing is to come of a run any more; nobody changes that before this transaction ends."""
        state = self.db.execute(select(runs.c.state).where(runs.c.id == id).with_for_update()).scalar()
        return state is None or RunState(state).over

    def give(self, file_id: FileId, owner: UUID) -> None:
        """A file's runs are `owner`'s from now on, as the file is."""
        self.db.execute(runs.update().where(runs.c.file_id == file_id).values(owner=owner))

    def forget(self, file_id: FileId) -> None:
        """Every run of a purged file."""
        self.db.execute(runs.delete().where(runs.c.file_id == file_id))


_records = select(
    steps,
    (steps.c.unattended_since < func.now() - WAIT).label("waits"),
    func.coalesce(steps.c.unattended_since < func.now() - FORSAKEN, False).label("forsaken"),
    coldstarts.told_of(steps.c.run_id, steps.c.name),
).order_by(steps.c.position)
"""Steps, whether each waits, whether it does so for too long, and what it waited for because nobody was awake."""
_other = runs.alias("other")
_others = select(func.count()).where(
    or_(_other.c.state == RunState.RUNNING, and_(_other.c.state == RunState.QUEUED, _other.c.queued_at < runs.c.queued_at))
)
_runs = select(
    runs, coldstarts.told_of(runs.c.id, None), case((runs.c.in_line, _others.scalar_subquery()), else_=None).label("others")
)


def _rest(row: Any) -> Rest:
    return Rest(done=row.done, waiting=row.waiting, weight=row.weight, worked=row.worked, attempts=row.attempts)


def _values(piece: Piece) -> tuple[Any, ...]:
    return tuple(getattr(piece, name) for name in _PIECE_FIELDS)


def _piece(row: Any) -> Piece:
    kept = {name: getattr(row, name) for name in _PIECE_FIELDS}
    return Piece(StepName(row.step), row.index, **{**kept, "state": PieceState(row.state)})


def _record(row: Any) -> StepRecord:
    return StepRecord(StepName(row.name), StepState(row.state), row.progress, row.attempts, row.error, row.forsaken)


def _run(row: Any, records: Sequence[Any]) -> Run:
    waiting = [Awaited.TURN] if row.in_line else [Awaited(r.awaited) for r in records if r.waits and r.awaited]
    return Run(
        id=row.id,
        file_id=row.file_id,
        state=RunState(row.state),
        warnings=tuple(row.warnings),
        error=row.error,
        waiting_for=next(iter(waiting), None),
        waits_for_others=row.others,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        cold_starts=coldstarts.read(row.cold),
        steps=tuple(
            Step(
                name=StepName(r.name),
                state=StepState(r.state),
                progress=round(r.progress, 4),
                attempts=r.attempts,
                error=r.error,
                waiting_for=Awaited(r.awaited) if r.waits and r.awaited else None,
                started_at=r.started_at,
                finished_at=r.finished_at,
                cold_starts=coldstarts.read(r.cold),
            )
            for r in records
        ),
    )

"""How much of a run may go out now, and who is called when there is room again."""

from __future__ import annotations

from auricle.files.model import FileId
from auricle.files.store import FileStore
from auricle.ports.bus import Bus
from auricle.runs import conducting
from auricle.runs.events import RunRequested
from auricle.runs.limits.model import refusal
from auricle.runs.limits.store import MinutesStore, TurnStore
from auricle.runs.model import Pace, RunState
from auricle.runs.store import Held, RunStore

MOST = 50
"""Runs that are called at once: whoever calls stays short, the next one goes on."""


def room(held: Held, runs: RunStore, files: FileStore, pace: Pace) -> int:
    """How many pieces of a step may be out: the window; none while all is suspended, or while it is others' turn.

    A run that may not transcribe what it is to transcribe has failed when this returns.
    """
    if pace.suspended or not _has_turn(held, runs, pace):
        return 0
    _count(held, MinutesStore(runs.db), files, pace.minutes_per_month)
    return pace.window


def call_next(runs: RunStore, bus: Bus, pace: Pace) -> None:
    """A run has ended: tell those whose turn it is."""
    if pace.max_runs and not pace.suspended:
        for id, file_id in TurnStore(runs.db).called(pace.max_runs)[:MOST]:
            bus.publish(RunRequested(run_id=id, file_id=file_id))


def resume(runs: RunStore, bus: Bus, pace: Pace) -> None:
    """Tell runs of which nothing is out although it may be: limits were other ones when they came."""
    turns = TurnStore(runs.db)
    states = (RunState.RUNNING,) if pace.max_runs else (RunState.RUNNING, RunState.QUEUED)
    for id, file_id in turns.idle(MOST, states):
        bus.publish(RunRequested(run_id=id, file_id=file_id))
    call_next(runs, bus, pace)


def _has_turn(held: Held, runs: RunStore, pace: Pace) -> bool:
    run = held.run
    if run.state is not RunState.QUEUED:
        return True
    run.in_line = bool(pace.max_runs) and not TurnStore(runs.db).takes(held.id, pace.max_runs)
    return not run.in_line


def _count(held: Held, minutes: MinutesStore, files: FileStore, limit: int | None) -> None:
    """Count the recording's minutes when they begin to be transcribed. Those that are known are asked about before."""
    run = held.run
    begins = conducting.transcription_begins(run)
    early = limit is not None and run.state is RunState.QUEUED and conducting.transcribes(run)
    if not (begins or early) or minutes.counted(held.id):
        return
    seconds = _length(held.file_id, files)
    if limit is not None and seconds is not None:
        minutes.alone()
        reason = refusal(minutes.month(), limit, seconds)
        if reason is not None:
            conducting.refuse(run, reason)
            return
    if begins:
        minutes.count(held.id, seconds or 0.0)


def _length(id: FileId, files: FileStore) -> float | None:
    """Seconds of a recording, once it is prepared."""
    file = files.find(id)
    return file.duration if file is not None else None

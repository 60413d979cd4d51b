"""What is done with runs. `advance` is the conductor: the only writer of run and step state, one event at a time per run."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from auricle.contract.event import Fact
from auricle.contract.ids import uuid7
from auricle.errors import Conflict, Invalid, NotFound
from auricle.files.events import FileReceived
from auricle.files.model import ChunkRow, FileId, FileState, Options
from auricle.files.store import ChunkStore, FileStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import Audience, BlobStore
from auricle.ports.bus import Bus
from auricle.ports.keyring import Receipts
from auricle.runs import conducting
from auricle.runs.conducted import ChunkOutline, Piece, PieceState
from auricle.runs.events import CancelRequested, RetryRequested, RunFinished, RunRequested, StepReleased
from auricle.runs.limits import admission
from auricle.runs.model import (
    Awaited,
    Outputs,
    Pace,
    Run,
    RunId,
    StepName,
    check,
    first_run_id,
    manifest_key,
    plan_of,
    result_key,
)
from auricle.runs.store import Held, RunStore
from auricle.speech.events import ChunkReleased, VoicesReleased

log = logging.getLogger(__name__)
URL_SECONDS_LONGER = 900
"""Signed URLs outlive the deadline by this much, so that a late worker can still store what it did."""
SLOW_FACTOR = 24
"""Steps with a database hold leases that the house sweeps; their deadline is only for what was lost altogether."""
SMALLEST_NEWS = 0.01
"""Progress is told in steps of 1 %."""


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """What the conductor works with."""

    runs: RunStore
    files: FileStore
    chunks: ChunkStore
    log: EventLogStore
    blobs: BlobStore
    bus: Bus
    receipts: Receipts
    pace: Pace


def request(
    runs: RunStore,
    files: FileStore,
    events: EventLogStore,
    bus: Bus,
    file_id: FileId,
    steps: Sequence[StepName],
    options: Options | None,
    supersede: bool,
) -> Run:
    """A new run, queued. `Conflict` names the one that is active, unless `supersede` cancels it."""
    file = files.lock(file_id)
    if file is None:
        raise NotFound("There is no such file.")
    if file.life is FileState.UPLOADING or file.key is None:
        raise Conflict("This file is not here yet. Complete its upload first: POST /api/uploads/{id}/complete.")
    chosen = options if options is not None else file.options
    check(chosen)
    plan = plan_of(steps, chosen)
    if StepName.PREPARE not in plan and file.life is not FileState.READY:
        raise Conflict("This file was never prepared. Run all steps: leave `steps` out.")
    if StepName.PREPARE not in plan and chosen.audio_track != file.options.audio_track:
        raise Invalid("Another audio track means preparing the file again: leave `steps` out.", field="options.audio_track")
    _check_results(runs, file_id, plan, file.has_transcript)
    active = runs.active(file_id)
    if active is not None:
        if not supersede:
            raise Conflict("This file is being worked on. Wait, cancel that run, or say supersede=true.", run_id=active)
        cancel(runs, events, bus, active)
    id = RunId(uuid7())
    runs.create(id, file_id, file.owner, conducting.begun(chosen, plan))
    bus.publish(RunRequested(run_id=id, file_id=file_id), id=f"{id}/requested")
    run = runs.get(id)
    assert run is not None
    events.append(file.owner, file_id, "run", run)
    return run


def _check_results(runs: RunStore, file_id: FileId, plan: Sequence[StepName], has_transcript: bool) -> None:
    """Refuse steps whose input no run has made yet: they would write an empty transcript over nothing."""
    lacks_words = runs.newest_with(file_id, StepName.TRANSCRIBE) is None and not has_transcript
    if StepName.TRANSCRIBE not in plan and StepName.ASSEMBLE in plan and lacks_words:
        raise Conflict("This file has no words yet. Run all steps: leave `steps` out.")
    if StepName.ASSEMBLE not in plan and not has_transcript:
        raise Conflict("This file has no transcript to export yet. Run all steps: leave `steps` out.")
    if StepName.CLUSTER in plan and StepName.DIARIZE not in plan and runs.newest_with(file_id, StepName.DIARIZE) is None:
        raise Conflict("No voices of this file were heard yet. Ask for diarize instead of cluster.")


def cancel(runs: RunStore, events: EventLogStore, bus: Bus, id: RunId) -> None:
    """Stop a run now: nothing more is released, what comes back is dropped."""
    held = runs.hold(id, None, 0)
    if held is not None and conducting.cancel(held.run):
        _save(runs, events, bus, held, [], {})


def cancel_file(runs: RunStore, events: EventLogStore, bus: Bus, file_id: FileId) -> None:
    """Stop whatever runs on a file."""
    active = runs.active(file_id)
    if active is not None:
        cancel(runs, events, bus, active)


def check_retry(runs: RunStore, chunks: ChunkStore, id: RunId) -> None:
    """`Conflict` when a retry would do nothing: the recording was cut anew since, and the run's pieces are of the old cut."""
    held = runs.peek(id)
    if held is None or not conducting.retry(held.run):
        return
    if not conducting.fits(held.run, [_outline(chunk) for chunk in chunks.of(held.file_id)]):
        raise Conflict(
            "The file was prepared anew since this run. Start a new run instead: POST /api/files/{id}/runs.",
            file_id=held.file_id,
        )


def advance(fact: Fact, desk: Desk) -> None:
    """Take in one fact, and release what follows from it."""
    if isinstance(fact, RunFinished):
        admission.call_next(desk.runs, desk.bus, desk.pace)
        return
    id = _opened(fact, desk) if isinstance(fact, FileReceived) else _run_of(fact)
    held = _taken(id, fact, desk) if id is not None else None
    if held is None or not _genuine(fact, desk.receipts):
        return
    match fact:
        case CancelRequested():
            conducting.cancel(held.run)
        case RetryRequested():
            if desk.runs.active(held.file_id) not in (None, held.id) or not conducting.retry(held.run):
                return
            if not conducting.fits(held.run, [_outline(chunk) for chunk in desk.chunks.of(held.file_id)]):
                log.warning("run %s is not retried: its recording was cut anew since", held.id)
                return
        case FileReceived() | RunRequested():
            pass
        case _:
            if not conducting.hear(held.run, fact, desk.pace.task_attempts):
                return
            _note_cold_start(held, fact, desk)
    _go_on(held, desk)


def _taken(id: RunId, fact: Fact, desk: Desk) -> Held | None:
    """The run with what the decision depends on: everything when it is tried again, else what is near the piece."""
    if isinstance(fact, RetryRequested):
        return desk.runs.hold(id)
    work = getattr(fact, "work", None)
    return desk.runs.hold(id, (work, getattr(fact, "index", 0)) if work else None, desk.pace.window)


def sweep(desk: Desk, limit: int = 50) -> int:
    """Release again what was never answered in time, and what waited for a limit; returns how many pieces of the former."""
    swept = 0
    if desk.pace.suspended:
        return swept
    for run_id in sorted({run_id for run_id, _, _ in desk.runs.due(limit)}):  # in one order: two sweeps never deadlock
        held = desk.runs.hold(run_id, None, desk.pace.window)
        still_due = desk.runs.due(limit, run_id)  # asked again under the lock: another sweep or an answer may have come first
        if held is None or not still_due:
            continue
        for _, step, index in still_due:
            swept += conducting.expire(held.run, step, index, desk.pace.task_attempts)
        _go_on(held, desk)
    admission.resume(desk.runs, desk.bus, desk.pace)
    return swept


def outputs(runs: RunStore, chunks: ChunkStore, run_id: RunId) -> Outputs:
    """Where the words and voices are from which this run's transcript is made: its own, or the newest earlier ones."""
    held = runs.peek(run_id)
    if held is None:
        raise NotFound("There is no such run.")
    spoken = held if StepName.TRANSCRIBE in held.run.steps else _held(runs, held.file_id, StepName.TRANSCRIBE)
    voiced: Held | None = held
    lost = spoken is not held and not any(p.state is PieceState.DONE for p in held.run.of(StepName.CLUSTER))
    if StepName.CLUSTER not in held.run.steps or lost:  # speakers that failed to be told apart anew are those of before
        voiced = _held(runs, held.file_id, StepName.CLUSTER) if held.run.options.diarize else None
    words: list[tuple[int, str]] = []
    gaps: list[tuple[float, float, str]] = []
    for piece in spoken.run.of(StepName.TRANSCRIBE) if spoken else []:
        if piece.state is PieceState.DONE:
            assert spoken is not None
            words.append((piece.index, result_key(held.file_id, spoken.id, StepName.TRANSCRIBE, piece.index)))
        elif piece.state is PieceState.FAILED:
            gaps.append((piece.start, piece.end, piece.error or "It failed."))
    voices = None
    if voiced is not None and any(p.state is PieceState.DONE for p in voiced.run.of(StepName.CLUSTER)):
        voices = result_key(held.file_id, voiced.id, StepName.CLUSTER, 0)
    silent = not any(chunk.clips for chunk in chunks.of(held.file_id))
    return Outputs(words=tuple(sorted(words)), voices=voices, gaps=tuple(sorted(gaps)), silent=silent)


def _held(runs: RunStore, file_id: FileId, step: StepName) -> Held | None:
    found = runs.newest_with(file_id, step)
    return runs.peek(found) if found else None


def _opened(fact: FileReceived, desk: Desk) -> RunId | None:
    """The first run of a file that arrived, made if it is not there."""
    file = desk.files.find(fact.file_id)
    if file is None or file.life in (FileState.PURGED, FileState.TRASHED):
        return None
    id = first_run_id(fact.file_id)
    if desk.runs.active(fact.file_id) not in (None, id):
        return None
    run = conducting.begun(file.options, plan_of((), file.options))
    return id if desk.runs.create(id, fact.file_id, file.owner, run) else None


def _run_of(fact: Fact) -> RunId | None:
    found: RunId | None = getattr(fact, "run_id", None)
    return found


def _genuine(fact: Fact, receipts: Receipts) -> bool:
    """Whether an answer without signature carries the receipt of a question that was asked."""
    if not fact.SECRETLESS:
        return True
    parts = (getattr(fact, name) for name in ("run_id", "work", "index", "attempt"))
    expected = receipts.receipt(*parts)
    if hmac.compare_digest(expected, fact.receipt):  # type: ignore[attr-defined]
        return True
    log.warning("an answer with a wrong receipt was dropped: %s", fact.TYPE)
    return False


def _note_cold_start(held: Held, fact: Fact, desk: Desk) -> None:
    """What a speech function says it took to be there; its receipt was looked at."""
    told = getattr(fact, "cold_start", None)
    if told is not None and told.believable:
        desk.runs.note_cold_start(held.id, fact.work, told)  # type: ignore[attr-defined]


def _go_on(held: Held, desk: Desk) -> None:
    """Release what can be released, save, and tell."""
    chunks: dict[int, ChunkRow] | None = None
    if conducting.wants_outline(held.run):
        chunks = {chunk.index: chunk for chunk in desk.chunks.of(held.file_id)}
        conducting.outline(held.run, [_outline(chunk) for chunk in chunks.values()])
    released = conducting.release(held.run, admission.room(held, desk.runs, desk.files, desk.pace))
    wanted = {piece.index for piece in released if piece.step in conducting.CHUNKED}
    if chunks is None and wanted:
        chunks = {chunk.index: chunk for chunk in desk.runs.chunks(held.file_id, wanted)}
    for piece in released:
        fact = _released(held, piece, chunks or {}, desk)
        desk.bus.publish(fact, id=f"{held.id}/{piece.step}/{piece.index}/{piece.attempt}/{piece.releases}")
    _save(desk.runs, desk.log, desk.bus, held, released, _seconds(desk.pace), desk.pace.awaited)


def _save(
    runs: RunStore,
    events: EventLogStore,
    bus: Bus,
    held: Held,
    released: list[Piece],
    seconds: dict[StepName, int],
    awaited: Awaited = Awaited.SPEECH_WORKER,
) -> None:
    run = runs.save(held, conducting.warnings_of(held.run), released, seconds, awaited)
    if _news(held.was, run):
        events.append(held.owner, held.file_id, "run", run)
    if run.state.over and not held.was.state.over:
        fact = RunFinished(run_id=held.id, file_id=held.file_id, state=run.state, error=run.error)
        bus.publish(fact)


def _news(was: Run, now: Run) -> bool:
    """Whether somebody who watches would see a difference."""
    if (was.state, was.warnings, was.error, was.waiting_for) != (now.state, now.warnings, now.error, now.waiting_for):
        return True
    for a, b in zip(was.steps, now.steps, strict=True):
        if (a.state, a.error, a.attempts, a.waiting_for) != (b.state, b.error, b.attempts, b.waiting_for):
            return True
        if int(a.progress / SMALLEST_NEWS) != int(b.progress / SMALLEST_NEWS):
            return True
    return False


def _seconds(pace: Pace) -> dict[StepName, int]:
    """How long a released piece of each step may take."""
    speech = (StepName.TRANSCRIBE, StepName.DIARIZE, StepName.CLUSTER)
    return {step: pace.task_seconds * (1 if step in speech else SLOW_FACTOR) for step in StepName}


def _outline(chunk: ChunkRow) -> ChunkOutline:
    return ChunkOutline(chunk.index, chunk.start, chunk.end, sum(end - start for start, end in chunk.clips))


def _released(held: Held, piece: Piece, chunks: dict[int, ChunkRow], desk: Desk) -> Fact:
    """The event that sends a piece out, with fresh URLs."""
    receipt = desk.receipts.receipt(held.id, piece.step, piece.index, piece.attempt)
    common: dict[str, Any] = {
        "run_id": held.id,
        "file_id": held.file_id,
        "work": piece.step,
        "attempt": piece.attempt,
        "receipt": receipt,
    }
    if piece.step in conducting.CHUNKED:
        return _chunk_released(held, piece, chunks[piece.index], desk, common)
    if piece.step is StepName.CLUSTER:
        return _voices_released(held, piece, desk, common)
    return StepReleased(**common)


def _chunk_released(held: Held, piece: Piece, chunk: ChunkRow, desk: Desk, common: dict[str, Any]) -> ChunkReleased:
    options = held.run.options
    transcribing = piece.step is StepName.TRANSCRIBE
    get, put = _result_urls(held, piece, desk)
    return ChunkReleased(
        **common,
        index=piece.index,
        model=(options.model or desk.pace.transcribe_model) if transcribing else desk.pace.diarize_model,
        start=chunk.start,
        end=chunk.end,
        audio_end=chunk.audio_end,
        clips=chunk.clips,
        release=piece.releases,
        audio_url=desk.blobs.sign_get(chunk.key, _life(desk.pace, piece), Audience.POD),
        result_get_url=get,
        result_put_url=put,
        language=options.language if transcribing else None,
        hotwords=(", ".join(options.vocabulary) or None) if transcribing else None,
        initial_prompt=options.initial_prompt if transcribing else None,
    )


def _voices_released(held: Held, piece: Piece, desk: Desk, common: dict[str, Any]) -> VoicesReleased:
    """`cluster` gets a list of URLs in an object of its own: hundreds of them would not fit into an event."""
    blobs, life = desk.blobs, _life(desk.pace, piece)
    source = held if StepName.DIARIZE in held.run.steps else _held(desk.runs, held.file_id, StepName.DIARIZE)
    heard = desk.runs.done(source.id, StepName.DIARIZE) if source else set()
    heard |= {p.index for p in (source.run.of(StepName.DIARIZE) if source else ()) if p.state is PieceState.DONE}
    urls = [
        blobs.sign_get(result_key(held.file_id, source.id, StepName.DIARIZE, index), life, Audience.POD)
        for index in sorted(heard)
        if source is not None
    ]
    key = manifest_key(held.file_id, held.id, piece.attempt, piece.releases)
    blobs.put(key, msgspec.json.encode(urls), "application/json")
    get, put = _result_urls(held, piece, desk)
    options = held.run.options
    return VoicesReleased(
        **common,
        release=piece.releases,
        model=desk.pace.diarize_model,
        manifest_url=blobs.sign_get(key, life, Audience.POD),
        result_get_url=get,
        result_put_url=put,
        num_speakers=options.num_speakers,
        min_speakers=options.min_speakers,
        max_speakers=options.max_speakers,
    )


def _result_urls(held: Held, piece: Piece, desk: Desk) -> tuple[str, str]:
    key = result_key(held.file_id, held.id, piece.step, piece.index)
    life = _life(desk.pace, piece)
    return desk.blobs.sign_get(key, life, Audience.POD), desk.blobs.sign_put(key, life, Audience.POD)


def _life(pace: Pace, piece: Piece) -> int:
    return pace.task_seconds * conducting.patience(piece) + URL_SECONDS_LONGER

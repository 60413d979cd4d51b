"""The conductor's mind: what a fact means for a run, and what is to be released next. No database, no clock, no I/O.

A run has steps; a step has pieces (one per chunk, or a single one). Facts about a piece count only while that very attempt
is out: late, duplicate and foreign ones change nothing. `hear` takes a fact in, `release` says what goes out, `settle`
closes what is finished; all three may be called in any order and any number of times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from auricle.contract.event import Fact
from auricle.files.model import Options
from auricle.runs.conducted import ChunkOutline, Conducted, Piece, PieceState, StepRecord
from auricle.runs.events import StepFailed, StepFinished, StepProgressed
from auricle.runs.model import RunState, StepName, StepState
from auricle.speech.events import WorkFailed, WorkHeard

MOST_RELEASES = 5
"""How often one attempt is released when its deadline passes although somebody began it; then it counts as failed."""
UNTAKEN = (
    "Nobody took this work for days: no GPU (or speech worker) was free, or none gets ready. `auricle status` may say why."
)
NO_SPEECH = "No speech was found."
CHUNKED = (StepName.TRANSCRIBE, StepName.DIARIZE)
SPEECH = (*CHUNKED, StepName.CLUSTER)
NEEDS: dict[StepName, tuple[StepName, ...]] = {
    StepName.PREPARE: (),
    StepName.TRANSCRIBE: (StepName.PREPARE,),
    StepName.DIARIZE: (StepName.PREPARE,),
    StepName.CLUSTER: (StepName.DIARIZE,),
    StepName.ASSEMBLE: (StepName.PREPARE, StepName.TRANSCRIBE, StepName.CLUSTER),
    StepName.EXPORT: (StepName.ASSEMBLE,),
}
"""Which steps must be over before one begins, where they are in the plan."""
FATAL = (StepName.PREPARE, StepName.ASSEMBLE)
"""Without these there is no transcript; every other failure costs less than the run."""


def in_hand(piece: Piece, turn: int, about: tuple[StepName, int] | None, window: int) -> bool:
    """Whether a decision about the piece `about` can depend on this one; `turn` counts a step's waiting pieces from 0.

    `runs.store` says the same in SQL.
    """
    waits_its_turn = piece.state is PieceState.WAITING and turn < window
    outstanding = piece.state in (PieceState.RELEASED, PieceState.FAILED)
    return piece.step not in CHUNKED or outstanding or waits_its_turn or (piece.step, piece.index) == about


def begun(options: Options, plan: Sequence[StepName]) -> Conducted:
    """A run that nothing has happened to yet."""
    run = Conducted(options, {name: StepRecord(name) for name in plan})
    for name in plan:
        if name not in CHUNKED:
            run.pieces[name, 0] = Piece(name, 0)
    return run


def outline(run: Conducted, chunks: Iterable[ChunkOutline]) -> None:
    """The recording is prepared: its chunks with speech become pieces. Told twice, it changes nothing."""
    if run.speech is not None:
        return
    spoken = [chunk for chunk in chunks if chunk.speech > 0]
    run.speech = bool(spoken)
    for step in CHUNKED:
        if step in run.steps:
            for chunk in spoken:
                run.pieces[step, chunk.index] = Piece(step, chunk.index, chunk.start, chunk.end, chunk.speech)


def wants_outline(run: Conducted) -> bool:
    """Whether the chunks must be told now."""
    prepared = StepName.PREPARE not in run.steps or run.pieces[StepName.PREPARE, 0].state is PieceState.DONE
    return run.speech is None and prepared and not run.state.over


def hear(run: Conducted, fact: Fact, attempts: int) -> bool:
    """Take in a fact about a piece (receipts are checked already); False when it means nothing (any more)."""
    if run.state.over or not isinstance(fact, StepFinished | StepFailed | StepProgressed | WorkHeard | WorkFailed):
        return False
    piece = run.pieces.get((fact.work, getattr(fact, "index", 0)))
    if piece is None or piece.state is not PieceState.RELEASED or piece.attempt != fact.attempt:
        return False
    if isinstance(fact, StepFailed) and fact.release and fact.release < piece.releases:
        return False  # a newer release is out
    if _untaken(piece, fact):
        _wait_on(run, piece)
        return True
    run.stirred.add(piece.step)
    if isinstance(fact, StepProgressed):
        piece.renewed = piece.begun = True
        piece.fraction = max(piece.fraction, min(1.0, fact.fraction))
        return True
    if isinstance(fact, StepFinished):
        run.notes += [w for w in fact.warnings if w not in run.notes]
        _done(piece)
    elif isinstance(fact, WorkHeard):
        piece.sha256, piece.size = fact.sha256, fact.size
        _done(piece)
    else:
        if isinstance(fact, WorkFailed) and fact.release < piece.releases:
            return False  # its links had expired while it was queued: a newer release with fresh ones is still out
        permanent = isinstance(fact, WorkFailed) or fact.permanent
        fail(piece, fact.error, attempts=0 if permanent else attempts)
    return True


def _untaken(piece: Piece, fact: Fact | None) -> bool:
    """Whether a release came back that nobody had begun: it waited for a GPU for longer than the broker does."""
    came_back = fact is None or (isinstance(fact, StepFailed) and not fact.permanent)
    return came_back and piece.step in SPEECH and not piece.begun


def _wait_on(run: Conducted, piece: Piece) -> None:
    """Release it again, with fresh links: every GPU was busy, which is not the work's fault and costs no attempt."""
    if run.steps[piece.step].forsaken:
        fail(piece, UNTAKEN, attempts=0)
    else:
        piece.state = PieceState.WAITING


def unattended(run: Conducted, step: StepName) -> bool:
    """Whether a speech step's pieces are out and nobody has begun any."""
    out = [piece for piece in run.pieces.values() if piece.step is step and piece.state is PieceState.RELEASED]
    return step in SPEECH and bool(out) and not any(piece.begun for piece in out)


def fail(piece: Piece, error: str, attempts: int) -> None:
    """This attempt is lost: another one waits, unless it was the last of `attempts`."""
    piece.error = error
    piece.fraction = 0.0
    piece.begun = False
    if piece.attempt >= attempts:
        piece.state = PieceState.FAILED
    else:
        piece.state = PieceState.WAITING
        piece.attempt += 1
        piece.releases = 0


def expire(run: Conducted, step: StepName, index: int, attempts: int) -> bool:
    """The deadline of a released piece has passed: it waits to be released again, a bounded number of times."""
    piece = run.pieces.get((step, index))
    if run.state.over or piece is None or piece.state is not PieceState.RELEASED:
        return False
    if _untaken(piece, None):
        _wait_on(run, piece)
    elif piece.releases >= MOST_RELEASES:
        fail(piece, "It was tried several times and never answered.", attempts)
    else:
        piece.state = PieceState.WAITING
    return True


def patience(piece: Piece) -> int:
    """How many times the usual deadline this release gets: doubling, so that a long queue is not taken for a loss."""
    return int(2 ** min(max(0, piece.releases - 1), MOST_RELEASES - 1))


def fits(run: Conducted, chunks: Iterable[ChunkOutline]) -> bool:
    """Whether what is still to be heard are stretches of these chunks; they may have been cut anew by a later run."""
    there = {(chunk.index, chunk.start, chunk.end) for chunk in chunks}
    open_pieces = (p for p in run.pieces.values() if p.step in CHUNKED and p.state is not PieceState.DONE)
    return all((p.index, p.start, p.end) in there for p in open_pieces)


def transcribes(run: Conducted) -> bool:
    """Whether the run is to transcribe and has not begun to; what is retried begins anew."""
    step, rest = run.steps.get(StepName.TRANSCRIBE), run.beyond(StepName.TRANSCRIBE)
    begun = rest.done or rest.attempts or any(p.releases or p.state.over for p in run.of(StepName.TRANSCRIBE))
    return step is not None and not (run.state.over or _over(step.state) or _pointless(run, StepName.TRANSCRIBE) or begun)


def transcription_begins(run: Conducted) -> bool:
    """Whether the next `release` is the first that lets anything be transcribed."""
    settle(run)
    return transcribes(run) and _ready(run, StepName.TRANSCRIBE)


def refuse(run: Conducted, reason: str) -> None:
    """It may not be transcribed: the run fails with this reason. What is prepared stays, and it can be tried again."""
    step = run.steps[StepName.TRANSCRIBE]
    step.state, step.error = StepState.FAILED, reason
    settle(run)


def release(run: Conducted, window: int) -> list[Piece]:
    """What goes out now, at most `window` pieces of a step at once; 0: nothing may."""
    settle(run)
    if run.state.over:
        return []
    released: list[Piece] = []
    for name in run.steps:
        if not _ready(run, name):
            continue
        pieces = run.of(name)
        free = window - sum(piece.state is PieceState.RELEASED for piece in pieces)
        for piece in [p for p in pieces if p.state is PieceState.WAITING][: max(0, free)]:
            piece.state = PieceState.RELEASED
            piece.releases += 1
            piece.begun = False
            released.append(piece)
    if released:
        run.state, run.in_line = RunState.RUNNING, False
        settle(run)
    return released


def settle(run: Conducted) -> None:
    """Bring steps and run up to what the pieces say."""
    if run.state.over:
        return
    for name, step in run.steps.items():
        _settle_step(run, name, step)
    lost = next((run.steps[s] for s in FATAL if s in run.steps and run.steps[s].state is StepState.FAILED), None)
    words = run.steps.get(StepName.TRANSCRIBE)
    if lost is None and words is not None and words.state is StepState.FAILED:
        lost = words
    if lost is not None:
        _close(run, RunState.FAILED, lost.error)
    elif all(_over(step.state) for step in run.steps.values()):
        _close(run, RunState.SUCCEEDED, None)


def cancel(run: Conducted) -> bool:
    """Release nothing more; False when it was over already."""
    if run.state.over:
        return False
    for step in run.steps.values():
        if not _over(step.state):
            step.state = StepState.CANCELLED
    run.state = RunState.CANCELLED
    _recall(run)
    return True


def retry(run: Conducted) -> bool:
    """Do again what failed or was not done, and what follows from it; False when there is nothing to do again."""
    again = [p for p in run.pieces.values() if p.state is not PieceState.DONE]
    if not run.state.over or (not again and run.state is RunState.SUCCEEDED):
        return False
    redone = {piece.step for piece in again}
    for name in run.steps:  # in order: what a redone step feeds is done again too
        if redone & set(NEEDS[name]) and name not in CHUNKED:
            redone.add(name)
    if StepName.PREPARE in redone:
        run.speech = None
        redone |= set(run.steps)
        run.pieces = {key: piece for key, piece in run.pieces.items() if piece.step not in CHUNKED}
    for piece in run.pieces.values():
        if piece.state is not PieceState.DONE or (piece.step in redone and piece.step not in CHUNKED):
            if piece.releases:
                piece.attempt += 1
            piece.state, piece.releases, piece.fraction, piece.error = PieceState.WAITING, 0, 0.0, None
            piece.begun = False
    for name, step in run.steps.items():
        if name in redone or not _over(step.state) or step.state in (StepState.CANCELLED, StepState.SKIPPED):
            step.state, step.error = StepState.WAITING, None
    run.state, run.error = RunState.QUEUED, None
    return True


def warnings_of(run: Conducted) -> list[str]:
    """What the reader of the run should know, as sentences."""
    found = list(run.notes)
    if run.speech is False:
        found.append(NO_SPEECH)
    for piece in sorted(run.of(StepName.TRANSCRIBE), key=lambda p: p.index):
        if piece.state is PieceState.FAILED:
            found.append(f"{_minutes(piece)} could not be transcribed: {piece.error}")
    heard = run.of(StepName.DIARIZE)
    lost = [p for p in heard if p.state is PieceState.FAILED]
    if lost and len(lost) < len(heard) + run.beyond(StepName.DIARIZE).done + run.beyond(StepName.DIARIZE).waiting:
        found += [f"The voices of {_minutes(p).lower()} could not be heard: {p.error}" for p in lost]
    for name in (StepName.DIARIZE, StepName.CLUSTER):
        step = run.steps.get(name)
        if step is not None and step.state is StepState.FAILED:
            found.append(f"Speakers could not be told apart: {step.error} You can run that step again.")
            break
    export = run.steps.get(StepName.EXPORT)
    if export is not None and export.state is StepState.FAILED:
        found.append(f"The documents could not be written: {export.error}")
    return found


def _done(piece: Piece) -> None:
    piece.state, piece.fraction, piece.error = PieceState.DONE, 1.0, None


def _ready(run: Conducted, name: StepName) -> bool:
    """Whether a step may begin (or goes on)."""
    step = run.steps[name]
    if _over(step.state):
        return False
    if name in CHUNKED and run.speech is None:
        return False
    return all(_over(run.steps[need].state) for need in NEEDS[name] if need in run.steps)


def _settle_step(run: Conducted, name: StepName, step: StepRecord) -> None:
    pieces, rest = run.of(name), run.beyond(name)
    step.attempts = max((*(p.attempt for p in pieces if p.releases or p.state.over), rest.attempts)) or step.attempts
    if _over(step.state):
        return
    if _pointless(run, name):
        step.state, step.progress = StepState.SKIPPED, 1.0
        return
    if rest.attempts or any(p.releases for p in pieces):
        step.state = StepState.RUNNING
    total = sum(p.weight for p in pieces) + rest.weight
    worth = sum(p.weight * (1.0 if p.state.over else p.fraction) for p in pieces) + rest.worked
    step.progress = min(1.0, worth / total) if total else 0.0
    if (pieces or rest.done) and not rest.waiting and all(p.state.over for p in pieces):
        failed = [p for p in pieces if p.state is PieceState.FAILED]
        worked = len(failed) < len(pieces) + rest.done
        step.state = StepState.SUCCEEDED if worked else StepState.FAILED
        step.error = None if worked else failed[0].error


def _pointless(run: Conducted, name: StepName) -> bool:
    """Whether there is nothing for a step to do."""
    if name in (*CHUNKED, StepName.CLUSTER) and run.speech is False:
        return True
    diarize = run.steps.get(StepName.DIARIZE)
    return name is StepName.CLUSTER and diarize is not None and diarize.state is StepState.FAILED


def _close(run: Conducted, state: RunState, error: str | None) -> None:
    run.state, run.error = state, error
    for step in run.steps.values():
        if not _over(step.state):
            step.state = StepState.CANCELLED
    _recall(run)


def _recall(run: Conducted) -> None:
    """Nobody waits for what is out any more: it is never due, and its answers are those of another attempt."""
    run.in_line = False
    for piece in run.pieces.values():
        if piece.state is PieceState.RELEASED:
            piece.state, piece.attempt, piece.releases, piece.fraction = PieceState.WAITING, piece.attempt + 1, 0, 0.0
            piece.begun = False


def _over(state: StepState) -> bool:
    return state not in (StepState.WAITING, StepState.RUNNING)


def _minutes(piece: Piece) -> str:
    """`Minutes 05:00–10:00`."""
    begin, end = (f"{int(t) // 60:02d}:{int(t) % 60:02d}" for t in (piece.start, piece.end))
    return f"Minutes {begin}–{end}"

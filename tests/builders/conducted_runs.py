"""A run in the conductor's mind alone, without a database: what is out of it, and what workers answer."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from auricle.contract.event import Fact
from auricle.files.model import Options
from auricle.runs import conducting
from auricle.runs.conducted import ChunkOutline, Conducted, Piece, PieceState
from auricle.runs.events import StepFailed, StepFinished, StepProgressed
from auricle.runs.model import RunId, StepName, StepState, plan_of
from auricle.speech.events import WorkFailed, WorkHeard

RUN = RunId(UUID(int=1))
ATTEMPTS = 3
WINDOW = 4
SPEECH = (StepName.TRANSCRIBE, StepName.DIARIZE, StepName.CLUSTER)


def chunks(*speech: float) -> list[ChunkOutline]:
    """One for each `speech`, seconds, of five minutes each."""
    return [ChunkOutline(i, i * 300.0, (i + 1) * 300.0, seconds) for i, seconds in enumerate(speech)]


def begun(*asked: StepName, **options: object) -> Conducted:
    """A run that was asked for just now, of which nothing is out."""
    chosen = Options(**options)  # type: ignore[arg-type]
    return conducting.begun(chosen, plan_of(asked, chosen))


def go(run: Conducted, of: Sequence[ChunkOutline] = (), window: int = WINDOW) -> list[Piece]:
    """What the conductor does after every fact."""
    if conducting.wants_outline(run):
        conducting.outline(run, of)
    return conducting.release(run, window)


def tell(run: Conducted, fact: Fact) -> bool:
    """The conductor hears a fact; whether it counted."""
    return conducting.hear(run, fact, ATTEMPTS)


def finished(piece: Piece, *warnings: str) -> Fact:
    """The answer of a worker who did it."""
    if piece.step in SPEECH:
        return WorkHeard(run_id=RUN, work=piece.step, index=piece.index, attempt=piece.attempt, receipt="r", sha256="0", size=1)
    return StepFinished(run_id=RUN, work=piece.step, attempt=piece.attempt, warnings=warnings)


def refused(piece: Piece, error: str = "It cannot be heard.") -> Fact:
    """It can never work."""
    if piece.step in SPEECH:
        return WorkFailed(run_id=RUN, work=piece.step, index=piece.index, attempt=piece.attempt, receipt="r", error=error)
    return StepFailed(run_id=RUN, work=piece.step, attempt=piece.attempt, error=error)


def lost(piece: Piece, error: str = "Nobody managed it.") -> Fact:
    """This attempt went wrong; another may not."""
    return StepFailed(run_id=RUN, work=piece.step, index=piece.index, attempt=piece.attempt, error=error, permanent=False)


def taken(run: Conducted, piece: Piece) -> Piece:
    """Somebody has begun it."""
    of = {"run_id": RUN, "work": piece.step, "index": piece.index, "attempt": piece.attempt}
    assert tell(run, StepProgressed(**of, fraction=0.0, receipt="r"))
    return piece


def out(run: Conducted, step: StepName) -> list[Piece]:
    """Released and not answered."""
    return [p for p in run.of(step) if p.state is PieceState.RELEASED]


def work_off(run: Conducted, *, refusing: StepName | None = None, of: Sequence[ChunkOutline] = ()) -> list[Piece]:
    """Do whatever is released, in order, until nothing is; what `refusing` names is refused. Returns what was released."""
    released: list[Piece] = go(run, of)
    for piece in released:
        tell(run, refused(piece) if piece.step is refusing else finished(piece))
        released += go(run, of)
    return released


def prepared(*speech: float, **options: object) -> Conducted:
    """A run whose recording is prepared and whose first pieces are out."""
    run = begun(**options)
    (prepare,) = go(run)
    tell(run, finished(prepare))
    go(run, chunks(*speech))
    return run


def names(pieces: Sequence[Piece]) -> list[tuple[StepName, int]]:
    """What they are, without how they are."""
    return [(p.step, p.index) for p in pieces]


def states(run: Conducted) -> dict[StepName, StepState]:
    """Of its steps."""
    return {name: step.state for name, step in run.steps.items()}

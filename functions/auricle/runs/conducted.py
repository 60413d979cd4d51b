"""A run as the conductor holds it: steps, and pieces of work."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from auricle.files.model import Options
from auricle.runs.model import RunState, StepName, StepState


class PieceState(StrEnum):
    """Where a piece of work is."""

    WAITING = "waiting"
    RELEASED = "released"
    DONE = "done"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self in (PieceState.DONE, PieceState.FAILED)


@dataclass(slots=True)
class Piece:
    """One piece of a step's work. `weight` is its seconds of speech; `attempt` counts from 1."""

    step: StepName
    index: int
    start: float = 0.0
    end: float = 0.0
    weight: float = 1.0
    state: PieceState = PieceState.WAITING
    attempt: int = 1
    releases: int = 0
    fraction: float = 0.0
    error: str | None = None
    sha256: str | None = None
    size: int | None = None
    begun: bool = False
    """Somebody has begun this release."""
    renewed: bool = False
    """A sign of life came: its deadline moves."""


@dataclass(slots=True)
class StepRecord:
    """One step, as it is kept."""

    name: StepName
    state: StepState = StepState.WAITING
    progress: float = 0.0
    attempts: int = 0
    error: str | None = None
    forsaken: bool = False
    """Nobody has begun anything of it for days."""


@dataclass(frozen=True, slots=True)
class Rest:
    """The pieces of a step that the conductor need not look at one by one: those done, and those far from their turn."""

    done: int = 0
    waiting: int = 0
    weight: float = 0.0
    worked: float = 0.0
    """Weight that is done, parts of pieces included."""
    attempts: int = 0
    """Highest attempt of those that were ever released."""


NOTHING = Rest()


@dataclass(slots=True)
class Conducted:
    """A run as the conductor holds it: whole, or its pieces in hand and the `rest` in numbers (see `in_hand`).

    `notes` are warnings that steps reported; the others follow from the pieces.
    """

    options: Options
    steps: dict[StepName, StepRecord]
    pieces: dict[tuple[StepName, int], Piece] = field(default_factory=dict)
    state: RunState = RunState.QUEUED
    error: str | None = None
    notes: list[str] = field(default_factory=list)
    speech: bool | None = None
    """Whether the recording has speech; None until it is prepared."""
    rest: dict[StepName, Rest] = field(default_factory=dict)
    in_line: bool = False
    """It waits for its turn: as many others are under way as may be."""
    stirred: set[StepName] = field(default_factory=set)
    """Steps of which somebody was heard just now."""

    def of(self, step: StepName) -> list[Piece]:
        """A step's pieces in hand, by index."""
        return sorted((piece for piece in self.pieces.values() if piece.step is step), key=lambda piece: piece.index)

    def beyond(self, step: StepName) -> Rest:
        """A step's other pieces."""
        return self.rest.get(step, NOTHING)


@dataclass(frozen=True, slots=True)
class ChunkOutline:
    """What the conductor has to know of a chunk."""

    index: int
    start: float
    end: float
    speech: float

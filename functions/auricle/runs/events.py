"""What happens to runs. Everything that `advance` hears carries `concerns=run`."""

from __future__ import annotations

from typing import ClassVar

from auricle.contract.event import Fact
from auricle.files.model import FileId
from auricle.runs.model import RunId, RunState, StepName


class RunRequested(Fact, frozen=True, kw_only=True):
    """Somebody asked for a run; its row is there, queued."""

    TYPE: ClassVar[str] = "auricle.runs.requested.v1"
    CONCERNS: ClassVar[str] = "run"

    run_id: RunId
    file_id: FileId


class CancelRequested(Fact, frozen=True, kw_only=True):
    """Somebody wants a run to stop. What is under way may finish; nothing more is released."""

    TYPE: ClassVar[str] = "auricle.runs.cancel-requested.v1"
    CONCERNS: ClassVar[str] = "run"

    run_id: RunId


class RetryRequested(Fact, frozen=True, kw_only=True):
    """Somebody wants what failed in a run to be tried again; what succeeded is kept."""

    TYPE: ClassVar[str] = "auricle.runs.retry-requested.v1"
    CONCERNS: ClassVar[str] = "run"

    run_id: RunId


class StepReleased(Fact, frozen=True, kw_only=True):
    """Work for a stage that holds a database: `work` is prepare, assemble or export."""

    TYPE: ClassVar[str] = "auricle.runs.step-released.v1"
    ATTRIBUTES: ClassVar[tuple[str, ...]] = ("work",)

    run_id: RunId
    file_id: FileId
    work: StepName
    attempt: int
    receipt: str


class StepFinished(Fact, frozen=True, kw_only=True):
    """A released step was done. Warnings are sentences for the run's reader."""

    TYPE: ClassVar[str] = "auricle.runs.step-finished.v1"
    CONCERNS: ClassVar[str] = "run"

    run_id: RunId
    work: StepName
    attempt: int
    warnings: tuple[str, ...] = ()


class StepFailed(Fact, frozen=True, kw_only=True):
    """A released step can never work, or was tried for the last time. The event door publishes it, not the stages."""

    TYPE: ClassVar[str] = "auricle.runs.step-failed.v1"
    CONCERNS: ClassVar[str] = "run"

    run_id: RunId
    work: StepName
    attempt: int
    index: int = 0
    error: str
    permanent: bool = True
    release: int = 0  # of the event that nobody managed; 0: not known


class StepProgressed(Fact, frozen=True, kw_only=True):
    """How far a piece of work is, 0..1. Lossy: late or lost ones do no harm."""

    TYPE: ClassVar[str] = "auricle.runs.step-progressed.v1"
    CONCERNS: ClassVar[str] = "run"
    SECRETLESS: ClassVar[bool] = True

    run_id: RunId
    work: StepName
    index: int = 0
    attempt: int
    fraction: float
    receipt: str


class RunFinished(Fact, frozen=True, kw_only=True):
    """A run is over. The conductor hears it too: another one may have its turn."""

    TYPE: ClassVar[str] = "auricle.runs.finished.v1"
    CONCERNS: ClassVar[str] = "run"

    run_id: RunId
    file_id: FileId
    state: RunState
    error: str | None = None

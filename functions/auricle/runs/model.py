"""What a run is, as its readers see it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

import msgspec

from auricle.files.model import FileId

RunId = NewType("RunId", UUID)


class StepName(StrEnum):
    """The stages of the pipeline, in the order in which people read them."""

    PREPARE = "prepare"
    TRANSCRIBE = "transcribe"
    DIARIZE = "diarize"
    CLUSTER = "cluster"
    ASSEMBLE = "assemble"
    EXPORT = "export"


class RunState(StrEnum):
    """A run's state."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


class StepState(StrEnum):
    """A step's state. `skipped`: there was nothing to do (no speech, or an earlier step made it pointless)."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One stage in a run. `progress` 0..1; `attempts` counts tries beyond the pieces' first ones too."""

    name: StepName
    state: StepState
    progress: float
    attempts: int
    error: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of the pipeline on one file."""

    id: RunId
    file_id: FileId
    state: RunState
    warnings: tuple[str, ...]
    steps: tuple[Step, ...]
    created_at: datetime
    error: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

"""The conductor's ear."""

from __future__ import annotations

from auricle.contract.choices import Scale
from auricle.contract.function import stage
from auricle.files.events import FileReceived
from auricle.files.store import ChunkStore, FileStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import BlobStore
from auricle.ports.bus import Bus
from auricle.ports.keyring import Receipts
from auricle.runs import actions
from auricle.runs.events import (
    CancelRequested,
    RetryRequested,
    RunFinished,
    RunRequested,
    StepFailed,
    StepFinished,
    StepProgressed,
)
from auricle.runs.model import Pace
from auricle.runs.store import RunStore
from auricle.speech.events import WorkFailed, WorkHeard

HEARD = (
    FileReceived,
    RunRequested,
    CancelRequested,
    RetryRequested,
    RunFinished,
    StepFinished,
    StepFailed,
    StepProgressed,
    WorkHeard,
    WorkFailed,
)
About = (
    FileReceived
    | RunRequested
    | CancelRequested
    | RetryRequested
    | RunFinished
    | StepFinished
    | StepFailed
    | StepProgressed
    | WorkHeard
    | WorkFailed
)


@stage(on=HEARD, concerns="run", scale=Scale.BURST)
def advance(
    event: About,
    runs: RunStore,
    files: FileStore,
    chunks: ChunkStore,
    log: EventLogStore,
    blobs: BlobStore,
    bus: Bus,
    receipts: Receipts,
    pace: Pace,
) -> None:
    """Conduct: take in what happened to a run and release what comes next."""
    desk = actions.Desk(runs=runs, files=files, chunks=chunks, log=log, blobs=blobs, bus=bus, receipts=receipts, pace=pace)
    actions.advance(event, desk)

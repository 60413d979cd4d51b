"""What the conductor does on a schedule."""

from __future__ import annotations

from auricle.contract.function import timer
from auricle.files.store import ChunkStore, FileStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import BlobStore
from auricle.ports.bus import Bus
from auricle.ports.keyring import Receipts
from auricle.runs import actions
from auricle.runs.model import Pace
from auricle.runs.store import RunStore


@timer(minutes=15)
def sweep_runs(
    runs: RunStore,
    files: FileStore,
    chunks: ChunkStore,
    log: EventLogStore,
    blobs: BlobStore,
    bus: Bus,
    receipts: Receipts,
    pace: Pace,
) -> None:
    """Release again what was never answered in time. One indexed query when there is nothing."""
    desk = actions.Desk(runs=runs, files=files, chunks=chunks, log=log, blobs=blobs, bus=bus, receipts=receipts, pace=pace)
    actions.sweep(desk)

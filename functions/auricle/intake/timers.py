"""Intake's sweep."""

from __future__ import annotations

from auricle.contract.function import timer
from auricle.files.store import FileStore
from auricle.intake import actions
from auricle.intake.store import IntakeStore
from auricle.ports.blobs import BlobStore
from auricle.ports.bus import Bus


@timer(minutes=30)
def sweep_uploads(intake: IntakeStore, files: FileStore, blobs: BlobStore, bus: Bus) -> None:
    """Forget uploads that were not finished in time, and objects that were pinned elsewhere."""
    actions.sweep(intake, files, blobs, bus)

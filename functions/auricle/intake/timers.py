"""Intake's sweep."""

from __future__ import annotations

from auricle.admin.audit.trail import Trail
from auricle.contract.function import timer
from auricle.files.store import FileStore
from auricle.intake import actions
from auricle.intake.lost import take_lost
from auricle.intake.model import UploadLimits
from auricle.intake.store import IntakeStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import BlobStore
from auricle.ports.bus import Bus


@timer(minutes=30)
def sweep_uploads(
    intake: IntakeStore, files: FileStore, log: EventLogStore, blobs: BlobStore, bus: Bus, limits: UploadLimits, trail: Trail
) -> None:
    """Forget uploads that were not finished in time, and objects that were pinned elsewhere; take drops nobody told of."""
    desk = actions.Desk(intake=intake, files=files, log=log, blobs=blobs, bus=bus, limits=limits, trail=trail)
    actions.sweep(desk)
    take_lost(desk)

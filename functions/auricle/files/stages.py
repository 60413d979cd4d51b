"""What becomes of files that their owners purged."""

from __future__ import annotations

import msgspec

from auricle.contract.choices import Scale
from auricle.contract.function import stage
from auricle.contract.store import Units
from auricle.files import actions
from auricle.files.events import FilePurged
from auricle.files.store import FileStore
from auricle.ports.blobs import BlobStore


class Erasure(msgspec.Struct, frozen=True):
    """How many objects went."""

    objects: int


def record_erasure(event: FilePurged, erasure: Erasure, files: FileStore) -> None:
    """The bytes are gone; once more, when the last URL that might write some has ended."""
    files.erased(event.file_id)


@stage(on=FilePurged, scale=Scale.BURST, then=record_erasure)
def erase(event: FilePurged, units: Units, blobs: BlobStore) -> Erasure:
    """Delete everything that is stored for a purged file."""
    with units.unit() as db:
        uploader = FileStore(db).uploader_of_purged(event.file_id)
    return Erasure(actions.erase(event.file_id, uploader, blobs) if uploader else 0)

"""The trash's end, and the second erasing of what was purged."""

from __future__ import annotations

from auricle.access.sharing.store import GrantStore
from auricle.admin.audit.trail import Trail
from auricle.contract.function import timer
from auricle.files import actions
from auricle.files.store import FileStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import BlobStore
from auricle.ports.bus import Bus
from auricle.runs.store import RunStore
from auricle.transcripts.store import TranscriptStore


@timer(minutes=60)
def purge_old_trash(
    files: FileStore,
    runs: RunStore,
    transcripts: TranscriptStore,
    grants: GrantStore,
    log: EventLogStore,
    bus: Bus,
    trail: Trail,
) -> None:
    """Purge what was in the trash for 30 days."""
    shredder = actions.Shredder(files=files, runs=runs, transcripts=transcripts, grants=grants, log=log, bus=bus)
    actions.purge_old_trash(shredder, trail)


@timer(minutes=60)
def erase_purged(files: FileStore, blobs: BlobStore) -> None:
    """Delete the bytes of purged files that are due: URLs that were given out before may have written some since."""
    actions.erase_due(files, blobs)

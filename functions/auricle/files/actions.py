"""What people do with files that the door let them have, and what becomes of what they throw away."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import msgspec

from auricle.access.permissions import WORKERS
from auricle.access.sharing.actions import somebody
from auricle.access.sharing.store import GrantStore
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.trail import Trail
from auricle.errors import Conflict, NotFound
from auricle.files.events import FilePurged
from auricle.files.model import File, FileId, FileState, Options, Peaks, StoredFile, clean_name, prefixes
from auricle.files.store import FileStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import Audience, BlobStore
from auricle.ports.bus import Bus
from auricle.runs.actions import cancel_file
from auricle.runs.model import check
from auricle.runs.store import RunStore
from auricle.transcripts.store import TranscriptStore

TRASH_DAYS = 30
"""How long the trash keeps a file."""
URL_SECONDS = 6 * 3600
"""How long a playback URL lives: longer than most people listen without asking anew."""
AT_ONCE = 20
"""Files of one round of the timers: their unit of work stays short, the next round goes on."""
NO_FILE = "There is no such file, or it is purged."


class Shredder(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever keeps something of a file in the database."""

    files: FileStore
    runs: RunStore
    transcripts: TranscriptStore
    grants: GrantStore
    log: EventLogStore
    bus: Bus


def change(
    id: FileId,
    files: FileStore,
    log: EventLogStore,
    name: str | None,
    options: Callable[[Options], Options] | None,
    trail: Trail,
) -> File:
    """Rename a file, or wish something else of its runs to come; None leaves it."""
    file = held(id, files)
    if name is not None:
        files.rename(id, clean_name(name))
    if options is not None:
        wished = options(file.options)
        check(wished)
        files.set_options(id, wished)
    trail.record(EventKind.FILE_CHANGED, (SubjectKind.FILE, id))
    return tell(id, file.owner, files, log)


def trash(id: FileId, files: FileStore, log: EventLogStore, trail: Trail) -> None:
    """Into the trash; what is under way goes on beneath it."""
    file = held(id, files)
    if file.trashed_at is None:
        files.trash(id)
        trail.record(EventKind.FILE_TRASHED, (SubjectKind.FILE, id))
        tell(id, file.owner, files, log)


def restore(id: FileId, files: FileStore, log: EventLogStore, trail: Trail) -> File:
    """Out of the trash, as it was."""
    file = held(id, files)
    files.restore(id)
    if file.trashed_at is not None:
        trail.record(EventKind.FILE_RESTORED, (SubjectKind.FILE, id))
    return tell(id, file.owner, files, log)


def give(id: FileId, to: str, files: FileStore, runs: RunStore, grants: GrantStore, log: EventLogStore, trail: Trail) -> File:
    """Another's from now on: somebody here who may bring files in. Whoever gave it away keeps nothing."""
    file = held(id, files)
    if file.life is FileState.UPLOADING:
        raise Conflict("This file is still being uploaded. Give it away when it is complete.")
    heir = somebody(to, grants, WORKERS)
    if heir == file.owner:
        raise Conflict("It is theirs already.")
    grants.give_up(id, heir)  # what they were given before is less than what they have now
    files.give(id, heir)
    runs.give(id, heir)
    trail.record(EventKind.OWNER_CHANGED, (SubjectKind.FILE, id), behalf_of=heir)
    return tell(id, heir, files, log)


def purge(id: FileId, shredder: Shredder, trail: Trail) -> None:
    """Gone for good, with all that was made of it."""
    purge_file(held(id, shredder.files), shredder)
    trail.record(EventKind.FILE_PURGED, (SubjectKind.FILE, id))


def purge_file(file: StoredFile, shredder: Shredder) -> None:
    """Stop its run, empty its row, forget texts, runs and grants, and let those who keep bytes know."""
    cancel_file(shredder.runs, shredder.log, shredder.bus, file.id)
    shredder.log.append(file.owner, file.id, "file-purged", {"id": file.id})
    shredder.files.purge(file.id)
    shredder.transcripts.forget(file.id)
    shredder.runs.forget(file.id)
    shredder.grants.forget(file.id)
    shredder.bus.publish(FilePurged(file_id=file.id), id=f"{file.id}/purged", subject=str(file.id))


def tell(id: FileId, owner: UUID, files: FileStore, log: EventLogStore) -> File:
    """Show the file as it is now to those who watch; gives it back."""
    file = read(id, files)
    log.append(owner, id, "file", file)
    return file


def read(id: FileId, files: FileStore) -> File:
    """The file."""
    file = files.get(id)
    if file is None:
        raise NotFound(NO_FILE)
    return file


def held(id: FileId, files: FileStore) -> StoredFile:
    """The file, locked."""
    file = files.lock(id)
    if file is None:
        raise NotFound(NO_FILE)
    return file


def content_url(id: FileId, files: FileStore, blobs: BlobStore, download: bool) -> str:
    """Where the original is. What is no recording is only ever saved, never shown: a browser might run it."""
    file = _playable(id, files)
    if file.key is None:
        raise Conflict("This file is still being uploaded. Try again when it is complete.")
    harmless = file.content_type.startswith(("audio/", "video/"))
    return blobs.sign_get(file.key, URL_SECONDS, Audience.BROWSER, file.name if download or not harmless else None)


def peaks(id: FileId, files: FileStore, blobs: BlobStore) -> tuple[Peaks, str]:
    """The recording's shape, and a tag that changes when it does."""
    file = _playable(id, files)
    if file.peaks_key is None:
        raise NotFound(_unprepared(file))
    with blobs.open(file.peaks_key) as reader:
        return msgspec.json.decode(reader.read(), type=Peaks), file.peaks_key.rpartition("/")[2].removesuffix(".json")


def poster_url(id: FileId, files: FileStore, blobs: BlobStore) -> str:
    """Where a frame of the video is."""
    file = _playable(id, files)
    if file.poster_key is None:
        raise NotFound("This recording has no picture." if file.peaks_key else _unprepared(file))
    return blobs.sign_get(file.poster_key, URL_SECONDS, Audience.BROWSER)


def purge_old_trash(shredder: Shredder, trail: Trail) -> int:
    """Purge what was in the trash for long; returns how many."""
    old = shredder.files.long_in_trash(TRASH_DAYS, AT_ONCE)
    for file in old:
        purge_file(file, shredder)
        trail.record(EventKind.FILE_PURGED, (SubjectKind.FILE, file.id), behalf_of=file.owner)
    return len(old)


def erase(id: FileId, uploader: UUID, blobs: BlobStore) -> int:
    """Delete everything that is stored for a purged file; returns how many objects."""
    return sum(blobs.delete_prefix(prefix) for prefix in prefixes(uploader, id))


def erase_due(files: FileStore, blobs: BlobStore) -> int:
    """Delete the bytes of purged files that are due, for the second time mostly; returns how many files."""
    due = files.to_erase(AT_ONCE)
    for id, uploader in due:
        erase(id, uploader, blobs)
        files.erased(id)
    return len(due)


def _playable(id: FileId, files: FileStore) -> StoredFile:
    file = files.find(id)
    if file is None:
        raise NotFound(NO_FILE)
    if file.state is FileState.TRASHED:
        raise Conflict(f"This file is in the trash. Restore it first: POST /api/files/{id}/restore.")
    return file


def _unprepared(file: StoredFile) -> str:
    if file.error:
        return f"This file could not be prepared: {file.error}"
    return "This file is not prepared yet. Try again in a moment; its runs say how far it is."

"""What owners do with their files, and what becomes of what they throw away."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import msgspec

from auricle.access.model import Principal
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
    log: EventLogStore
    bus: Bus


def change(
    id: FileId,
    who: Principal,
    files: FileStore,
    log: EventLogStore,
    name: str | None,
    options: Callable[[Options], Options] | None,
) -> File:
    """Rename a file, or wish something else of its runs to come; None leaves it."""
    file = held(id, who, files)
    if name is not None:
        files.rename(id, clean_name(name))
    if options is not None:
        wished = options(file.options)
        check(wished)
        files.set_options(id, wished)
    return tell(id, who.id, files, log)


def trash(id: FileId, who: Principal, files: FileStore, log: EventLogStore) -> None:
    """Into the trash; what is under way goes on beneath it."""
    if held(id, who, files).trashed_at is None:
        files.trash(id)
        tell(id, who.id, files, log)


def restore(id: FileId, who: Principal, files: FileStore, log: EventLogStore) -> File:
    """Out of the trash, as it was."""
    held(id, who, files)
    files.restore(id)
    return tell(id, who.id, files, log)


def purge(id: FileId, who: Principal, shredder: Shredder) -> None:
    """Gone for good, with all that was made of it."""
    purge_file(held(id, who, shredder.files), shredder)


def purge_file(file: StoredFile, shredder: Shredder) -> None:
    """Stop its run, empty its row, forget texts and runs, and let those who keep bytes know."""
    cancel_file(shredder.runs, shredder.log, shredder.bus, file.id)
    shredder.files.purge(file.id)
    shredder.transcripts.forget(file.id)
    shredder.runs.forget(file.id)
    shredder.log.append(file.owner, "file-purged", {"id": file.id})
    shredder.bus.publish(FilePurged(file_id=file.id), id=f"{file.id}/purged", subject=str(file.id))


def tell(id: FileId, owner: UUID, files: FileStore, log: EventLogStore) -> File:
    """Show the file as it is now to those who watch; gives it back."""
    file = _found(files.get(owner, id))
    log.append(owner, "file", file)
    return file


def read(id: FileId, who: Principal, files: FileStore) -> File:
    """The caller's file."""
    return _found(files.get(who.id, id))


def held(id: FileId, who: Principal, files: FileStore) -> StoredFile:
    """The caller's file, locked."""
    file = files.held(who.id, id)
    if file is None:
        raise NotFound(NO_FILE)
    return file


def content_url(id: FileId, who: Principal, files: FileStore, blobs: BlobStore, download: bool) -> str:
    """Where the original is. What is no recording is only ever saved, never shown: a browser might run it."""
    file = _playable(id, who, files)
    if file.key is None:
        raise Conflict("This file is still being uploaded. Try again when it is complete.")
    harmless = file.content_type.startswith(("audio/", "video/"))
    return blobs.sign_get(file.key, URL_SECONDS, Audience.BROWSER, file.name if download or not harmless else None)


def peaks(id: FileId, who: Principal, files: FileStore, blobs: BlobStore) -> tuple[Peaks, str]:
    """The recording's shape, and a tag that changes when it does."""
    file = _playable(id, who, files)
    if file.peaks_key is None:
        raise NotFound(_unprepared(file))
    with blobs.open(file.peaks_key) as reader:
        return msgspec.json.decode(reader.read(), type=Peaks), file.peaks_key.rpartition("/")[2].removesuffix(".json")


def poster_url(id: FileId, who: Principal, files: FileStore, blobs: BlobStore) -> str:
    """Where a frame of the video is."""
    file = _playable(id, who, files)
    if file.poster_key is None:
        raise NotFound("This recording has no picture." if file.peaks_key else _unprepared(file))
    return blobs.sign_get(file.poster_key, URL_SECONDS, Audience.BROWSER)


def purge_old_trash(shredder: Shredder) -> int:
    """Purge what was in the trash for long; returns how many."""
    old = shredder.files.long_in_trash(TRASH_DAYS, AT_ONCE)
    for file in old:
        purge_file(file, shredder)
    return len(old)


def erase(id: FileId, owner: UUID, blobs: BlobStore) -> int:
    """Delete everything that is stored for a purged file; returns how many objects."""
    return sum(blobs.delete_prefix(prefix) for prefix in prefixes(owner, id))


def erase_due(files: FileStore, blobs: BlobStore) -> int:
    """Delete the bytes of purged files that are due, for the second time mostly; returns how many files."""
    due = files.to_erase(AT_ONCE)
    for id, owner in due:
        erase(id, owner, blobs)
        files.erased(id)
    return len(due)


def _playable(id: FileId, who: Principal, files: FileStore) -> StoredFile:
    file = files.owned(who.id, id)
    if file is None:
        raise NotFound(NO_FILE)
    if file.state is FileState.TRASHED:
        raise Conflict(f"This file is in the trash. Restore it first: POST /api/files/{id}/restore.")
    return file


def _unprepared(file: StoredFile) -> str:
    if file.error:
        return f"This file could not be prepared: {file.error}"
    return "This file is not prepared yet. Try again in a moment; its runs say how far it is."


def _found(file: File | None) -> File:
    if file is None:
        raise NotFound(NO_FILE)
    return file

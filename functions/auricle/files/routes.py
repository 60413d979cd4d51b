"""Files over HTTP: lists, names and wishes, trash and purge, playback."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from auricle.access.model import Principal
from auricle.contract.choices import Permission
from auricle.contract.function import route
from auricle.contract.http import Body, Page, Query, Redirect, Reply
from auricle.files import actions
from auricle.files.listing import FileList, FileQuery
from auricle.files.model import File, FileId, OptionsChange, Peaks
from auricle.files.store import FileStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import BlobStore
from auricle.ports.bus import Bus
from auricle.runs.store import RunStore
from auricle.transcripts.store import TranscriptStore


class FileChange(Body, frozen=True, kw_only=True):
    """What to change; options count for runs that are started afterwards."""

    name: str | UnsetType = UNSET
    options: OptionsChange | UnsetType = UNSET


class Removal(Query, frozen=True, kw_only=True):
    """`purge=true`: for good, without the trash."""

    purge: bool = False


class ContentQuery(Query, frozen=True, kw_only=True):
    """`download=true`: browsers save it under the file's name."""

    download: bool = False


@route("GET /api/files", permission=Permission.READ)
def list_files(query: FileQuery, who: Principal, files: FileList) -> Page[File]:
    """The caller's files; those in the trash only with `state=trashed`."""
    return files.page(who.id, query)


@route("GET /api/files/{file_id}", permission=Permission.READ)
def get_file(file_id: FileId, who: Principal, files: FileStore) -> File:
    """One file."""
    return actions.read(file_id, who, files)


@route("PATCH /api/files/{file_id}", permission=Permission.WRITE)
def change_file(file_id: FileId, change: FileChange, who: Principal, files: FileStore, log: EventLogStore) -> File:
    """Rename a file, or change what its next runs are asked for."""
    name = None if change.name is UNSET else change.name
    options = None if change.options is UNSET else change.options.applied_to
    return actions.change(file_id, who, files, log, name, options)


@route("DELETE /api/files/{file_id}", permission=Permission.WRITE)
def delete_file(
    file_id: FileId,
    query: Removal,
    who: Principal,
    files: FileStore,
    runs: RunStore,
    transcripts: TranscriptStore,
    log: EventLogStore,
    bus: Bus,
) -> None:
    """Put a file into the trash, where it stays for 30 days; or purge it with all that was made of it."""
    if query.purge:
        shredder = actions.Shredder(files=files, runs=runs, transcripts=transcripts, log=log, bus=bus)
        actions.purge(file_id, who, shredder)
    else:
        actions.trash(file_id, who, files, log)


@route("POST /api/files/{file_id}/restore", permission=Permission.WRITE)
def restore_file(file_id: FileId, who: Principal, files: FileStore, log: EventLogStore) -> File:
    """Take a file out of the trash."""
    return actions.restore(file_id, who, files, log)


@route("GET /api/files/{file_id}/content", permission=Permission.READ)
def get_content(file_id: FileId, query: ContentQuery, who: Principal, files: FileStore, blobs: BlobStore) -> Redirect:
    """The original, from where it is stored; ranges work there. The URL lives for six hours."""
    return Redirect(actions.content_url(file_id, who, files, blobs, query.download))


@route("GET /api/files/{file_id}/peaks", permission=Permission.READ)
def get_peaks(file_id: FileId, who: Principal, files: FileStore, blobs: BlobStore) -> Reply[Peaks]:
    """The recording's shape, for drawing."""
    peaks, tag = actions.peaks(file_id, who, files, blobs)
    return Reply(peaks, etag=tag)


@route("GET /api/files/{file_id}/poster", permission=Permission.READ)
def get_poster(file_id: FileId, who: Principal, files: FileStore, blobs: BlobStore) -> Redirect:
    """A frame of a video, as JPEG."""
    return Redirect(actions.poster_url(file_id, who, files, blobs))

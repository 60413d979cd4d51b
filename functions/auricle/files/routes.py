"""Files over HTTP: lists, names and wishes, trash and purge, another owner, playback."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from auricle.access.model import Principal
from auricle.access.sharing.store import GrantStore
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import Trail
from auricle.contract.choices import Guarded, Permission
from auricle.contract.function import route
from auricle.contract.http import Body, Page, Query, Redirect, Reply
from auricle.files import actions
from auricle.files.listing import FileList, FileQuery
from auricle.files.model import File, FileId, OptionsChange, Peaks
from auricle.files.store import FileStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import BlobStore
from auricle.ports.bus import Bus
from auricle.ports.ephemeral import Ephemeral
from auricle.runs.store import RunStore
from auricle.transcripts.store import TranscriptStore


class FileChange(Body, frozen=True, kw_only=True):
    """What to change; options count for runs that are started afterwards."""

    name: str | UnsetType = UNSET
    options: OptionsChange | UnsetType = UNSET


class NewOwner(Body, frozen=True, kw_only=True):
    """Whose a file shall be: the id or the e-mail address of somebody here."""

    person: str


class ContentQuery(Query, frozen=True, kw_only=True):
    """`download=true`: browsers save it under the file's name."""

    download: bool = False


@route("GET /api/files", permission=Permission.READ)
def list_files(query: FileQuery, who: Principal, files: FileList) -> Page[File]:
    """The caller's files and those that others shared with them; files in the trash only with `state=trashed`."""
    return files.page(who.id, query)


@route("GET /api/files/{file_id}", permission=Permission.READ)
def get_file(file_id: FileId, files: FileStore) -> File:
    """One file."""
    return actions.read(file_id, files)


@route("PATCH /api/files/{file_id}", permission=Permission.WRITE)
def change_file(file_id: FileId, change: FileChange, files: FileStore, log: EventLogStore, trail: Trail) -> File:
    """Rename a file, or change what its next runs are asked for."""
    name = None if change.name is UNSET else change.name
    options = None if change.options is UNSET else change.options.applied_to
    return actions.change(file_id, files, log, name, options, trail)


@route("DELETE /api/files/{file_id}", permission=Permission.WRITE)
def delete_file(file_id: FileId, files: FileStore, log: EventLogStore, trail: Trail) -> None:
    """Put a file into the trash, where it stays for 30 days."""
    actions.trash(file_id, files, log, trail)


@route("POST /api/files/{file_id}/restore", permission=Permission.WRITE)
def restore_file(file_id: FileId, files: FileStore, log: EventLogStore, trail: Trail) -> File:
    """Take a file out of the trash."""
    return actions.restore(file_id, files, log, trail)


@route("POST /api/files/{file_id}/purge", permission=Permission.PURGE, status=204)
def purge_file(
    file_id: FileId,
    files: FileStore,
    runs: RunStore,
    transcripts: TranscriptStore,
    grants: GrantStore,
    log: EventLogStore,
    bus: Bus,
    trail: Trail,
) -> None:
    """Delete a file for good, with all that was made of it, whether or not it is in the trash."""
    shredder = actions.Shredder(files=files, runs=runs, transcripts=transcripts, grants=grants, log=log, bus=bus)
    actions.purge(file_id, shredder, trail)


@route("PUT /api/files/{file_id}/owner", permission=Permission.PURGE, guarded=Guarded.SHARE)
def give_file(
    file_id: FileId, to: NewOwner, files: FileStore, runs: RunStore, grants: GrantStore, log: EventLogStore, trail: Trail
) -> File:
    """Give a file away: it is another's from now on, and the caller keeps nothing of it. What was shared stays shared."""
    return actions.give(file_id, to.person, files, runs, grants, log, trail)


@route("GET /api/files/{file_id}/content", permission=Permission.READ)
def get_content(
    file_id: FileId, query: ContentQuery, files: FileStore, blobs: BlobStore, trail: Trail, ephemeral: Ephemeral
) -> Redirect:
    """The original, from where it is stored; ranges work there. The URL lives for six hours."""
    url = actions.content_url(file_id, files, blobs, query.download)
    if query.download:
        trail.record(EventKind.FILE_EXPORTED, (SubjectKind.FILE, file_id), Details(format="original"))
    else:
        trail.record_hourly(ephemeral, EventKind.FILE_READ, (SubjectKind.FILE, file_id))
    return Redirect(url)


@route("GET /api/files/{file_id}/peaks", permission=Permission.READ)
def get_peaks(file_id: FileId, files: FileStore, blobs: BlobStore) -> Reply[Peaks]:
    """The recording's shape, for drawing."""
    peaks, tag = actions.peaks(file_id, files, blobs)
    return Reply(peaks, etag=tag)


@route("GET /api/files/{file_id}/poster", permission=Permission.READ)
def get_poster(file_id: FileId, files: FileStore, blobs: BlobStore) -> Redirect:
    """A frame of a video, as JPEG."""
    return Redirect(actions.poster_url(file_id, files, blobs))

"""Uploads over HTTP: signed URLs for the parts, no bytes through here."""

from __future__ import annotations

import msgspec

from auricle.access.model import Principal
from auricle.admin.audit.trail import Trail
from auricle.contract.choices import Permission
from auricle.contract.function import route
from auricle.contract.http import Body, Reply
from auricle.files.model import File, MediaKind, Options
from auricle.files.store import FileStore
from auricle.intake import actions
from auricle.intake.model import (
    Drop,
    SignedParts,
    StartedUpload,
    UploadId,
    UploadLimits,
    UploadStatus,
    kind_of,
    media_type,
)
from auricle.intake.store import IntakeStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import BlobStore
from auricle.ports.bus import Bus
from auricle.runs.expectations.store import ExpectationStore
from auricle.runs.model import Pace, check_model
from auricle.runs.warming import expect


class NewUpload(Body, frozen=True, kw_only=True):
    """A file to upload: `size` in bytes, `sha256` in hex (checked once all is there), `options` for its first run."""

    name: str
    size: int
    sha256: str | None = None
    content_type: str | None = None
    options: Options = msgspec.field(default_factory=Options)


class PartNumbers(Body, frozen=True, kw_only=True):
    """Which parts to sign, from 1."""

    numbers: tuple[int, ...]


class NewDrop(Body, frozen=True, kw_only=True):
    """A file to PUT whole."""

    name: str


@route("POST /api/uploads", permission=Permission.WRITE, status=201)
def start_upload(
    new: NewUpload,
    who: Principal,
    intake: IntakeStore,
    files: FileStore,
    blobs: BlobStore,
    limits: UploadLimits,
    expected: ExpectationStore,
    bus: Bus,
    pace: Pace,
) -> Reply[StartedUpload]:
    """Begin an upload in parts.

    Each part is one PUT of its bytes to its URL: no other header is needed. Parts may be sent in any order, several at
    once, and again. Ask for the URLs of later parts as you come to them.
    """
    check_model(new.options, pace)
    started = actions.begin(
        who,
        intake,
        files,
        blobs,
        limits,
        name=new.name,
        size=new.size,
        sha256=new.sha256,
        content_type=new.content_type,
        options=new.options,
    )
    if kind_of(media_type(new.content_type, new.name)) is not MediaKind.OTHER:
        expect(new.options, expected, bus, pace)  # last: the row it may wait for is held until this commits
    return Reply(started, status=201, location=f"/api/uploads/{started.id}")


@route("POST /api/uploads/{upload_id}/parts", permission=Permission.WRITE)
def sign_upload_parts(
    upload_id: UploadId, wanted: PartNumbers, who: Principal, intake: IntakeStore, blobs: BlobStore
) -> SignedParts:
    """URLs for more parts, at most 100 at a time."""
    return SignedParts(actions.sign_parts(upload_id, who, intake, blobs, wanted.numbers))


@route("GET /api/uploads/{upload_id}", permission=Permission.WRITE)
def get_upload(upload_id: UploadId, who: Principal, intake: IntakeStore, blobs: BlobStore) -> UploadStatus:
    """Which parts are there and which are missing: how an interrupted upload goes on."""
    return actions.status(upload_id, who, intake, blobs)


@route("POST /api/uploads/{upload_id}/complete", permission=Permission.WRITE)
def complete_upload(
    upload_id: UploadId,
    who: Principal,
    intake: IntakeStore,
    files: FileStore,
    log: EventLogStore,
    blobs: BlobStore,
    bus: Bus,
    limits: UploadLimits,
    trail: Trail,
) -> File:
    """Make the file out of its parts and start working on it. Saying it again is harmless."""
    desk = actions.Desk(intake=intake, files=files, log=log, blobs=blobs, bus=bus, limits=limits, trail=trail)
    return actions.complete(upload_id, who, desk)


@route("DELETE /api/uploads/{upload_id}", permission=Permission.WRITE)
def abort_upload(upload_id: UploadId, who: Principal, intake: IntakeStore, files: FileStore, blobs: BlobStore) -> None:
    """Give an upload up and forget its parts."""
    actions.abort(upload_id, who, intake, files, blobs)


@route("POST /api/drops", permission=Permission.WRITE, status=201)
def start_drop(new: NewDrop, who: Principal, intake: IntakeStore, blobs: BlobStore, limits: UploadLimits) -> Reply[Drop]:
    """A URL for one whole file: PUT it there, and it becomes a file by itself."""
    actions.check_left(intake, limits)
    return Reply(actions.drop(who, blobs, new.name), status=201)

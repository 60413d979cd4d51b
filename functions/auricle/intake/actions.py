"""How files come in: uploads in parts, objects that arrive by themselves, and what is left of those that never came."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec

from auricle.access.model import Principal
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.trail import SYSTEM, Trail
from auricle.contract.ids import uuid7
from auricle.errors import Conflict, Invalid, NotFound
from auricle.files.actions import tell
from auricle.files.events import FileReceived
from auricle.files.model import File, FileId, Options, clean_name
from auricle.files.store import ChunkStore, FileStore
from auricle.intake.model import (
    DROP_SECONDS,
    DROPS,
    FIRST_PARTS,
    MAX_SIGNED,
    PART_SECONDS,
    UPLOADS,
    Arrival,
    Drop,
    Preparation,
    ReceivedPart,
    SignedPart,
    StartedUpload,
    Upload,
    UploadId,
    UploadLimits,
    UploadState,
    UploadStatus,
    arrived_type,
    base_name,
    check_room,
    check_sha256,
    check_size,
    drop_prefix,
    dropped_by,
    dropped_name,
    kind_of,
    media_type,
    no_room,
    part_size,
    too_large,
    upload_key,
)
from auricle.intake.store import IntakeStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import Audience, Blob, BlobStore, Part
from auricle.ports.bus import Bus
from auricle.runs.events import StepFinished, StepReleased
from auricle.runs.model import check
from auricle.runs.store import RunStore

log = logging.getLogger(__name__)
NO_UPLOAD = "There is no such upload."
GONE = "The parts of this upload are gone from the store. Begin a new one: POST /api/uploads."
SWEPT = 100
"""Uploads (and twice as many leftovers) of one sweep: its unit of work stays short, the next one goes on."""
REMEMBERED_DAYS = 30
MAX_DROP_NAME = 255
"""Bytes of a dropped file's name in UTF-8: it becomes part of a key, and keys have 1,024 bytes at most."""


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """What the arrival of bytes is recorded with."""

    intake: IntakeStore
    files: FileStore
    log: EventLogStore
    blobs: BlobStore
    bus: Bus
    limits: UploadLimits
    trail: Trail


def begin(
    who: Principal,
    intake: IntakeStore,
    files: FileStore,
    blobs: BlobStore,
    limits: UploadLimits,
    *,
    name: str,
    size: int,
    sha256: str | None,
    content_type: str | None,
    options: Options,
) -> StartedUpload:
    """Make room for a file's bytes: its row, the store's part upload, the first URLs."""
    check_size(size, limits)
    check(options)
    if limits.storage_bytes is not None:
        check_room(size, intake.taken(alone=True), limits)
    name, sha256 = clean_name(base_name(name)), check_sha256(sha256)
    kept_as = media_type(content_type, name)
    file_id = FileId(uuid7())
    key = upload_key(who.id, file_id, uuid4(), name)
    files.add(
        file_id, who.id, name=name, size=size, content_type=kept_as, kind=kind_of(kept_as), sha256=sha256, options=options
    )
    upload = intake.add(
        UploadId(uuid7()),
        file_id,
        who.id,
        key=key,
        ref=blobs.begin_parts(key, kept_as),
        size=size,
        part_size=part_size(size, limits),
        hours=limits.hours,
    )
    first = range(1, min(FIRST_PARTS, upload.part_count) + 1)
    return StartedUpload(
        id=upload.id,
        file_id=file_id,
        part_size=upload.part_size,
        part_count=upload.part_count,
        parts=_signed(upload, first, blobs),
        expires_at=upload.expires_at,
    )


def sign_parts(
    id: UploadId, who: Principal, intake: IntakeStore, blobs: BlobStore, numbers: Sequence[int]
) -> tuple[SignedPart, ...]:
    """URLs for more parts of an open upload, or for the same ones again."""
    upload = _open(intake.get(who.id, id))
    if upload.seconds_left < 1:
        raise Conflict("This upload has expired. Begin a new one: POST /api/uploads.", state=UploadState.EXPIRED)
    wanted = sorted(set(numbers))
    if not wanted or len(wanted) > MAX_SIGNED:
        raise Invalid(f"Ask for 1 to {MAX_SIGNED} part numbers at a time.", field="numbers")
    if wanted[0] < 1 or wanted[-1] > upload.part_count:
        raise Invalid(f"This upload's parts are numbered 1 to {upload.part_count}.", field="numbers")
    return _signed(upload, wanted, blobs)


def status(id: UploadId, who: Principal, intake: IntakeStore, blobs: BlobStore) -> UploadStatus:
    """Which parts are there: what a client that lost its way asks before it goes on."""
    upload = _found(intake.get(who.id, id))
    there = _parts_of(upload, blobs) if upload.state is UploadState.OPEN else []
    return UploadStatus(
        id=upload.id,
        file_id=upload.file_id,
        state=upload.state,
        size=upload.size,
        part_size=upload.part_size,
        part_count=upload.part_count,
        parts=tuple(ReceivedPart(part.number, part.size) for part in there),
        missing=_missing(upload, there) if upload.state is UploadState.OPEN else (),
        expires_at=upload.expires_at,
    )


def complete(id: UploadId, who: Principal, desk: Desk) -> File:
    """Make the file out of its parts. Said twice, it answers the same; with parts missing, nothing is lost."""
    upload = _found(desk.intake.held(who.id, id))
    if upload.state is not UploadState.COMPLETED:
        upload = _open(upload)
        _received(upload, _whole(upload, desk.blobs), desk)
    file = desk.files.get(upload.file_id)
    if file is None:
        raise Conflict("The file of this upload was purged. Begin a new upload: POST /api/uploads.")
    return file


def abort(id: UploadId, who: Principal, intake: IntakeStore, files: FileStore, blobs: BlobStore) -> None:
    """Give an upload up: its parts and its file's row go."""
    upload = _found(intake.held(who.id, id))
    if upload.state is UploadState.COMPLETED:
        raise Conflict(f"This upload is complete. Delete its file instead: DELETE /api/files/{upload.file_id}.")
    if upload.state is UploadState.OPEN:
        _discard(upload, UploadState.ABORTED, intake, files, blobs)


def check_left(intake: IntakeStore, limits: UploadLimits) -> None:
    """`NoRoom` where nothing is left at all: of what size a drop is, only its arrival tells."""
    if limits.storage_bytes is not None:
        check_room(1, intake.taken(), limits)


def drop(who: Principal, blobs: BlobStore, name: str) -> Drop:
    """A URL that takes a whole file in one PUT."""
    name = clean_name(base_name(name))
    if len(name.encode()) > MAX_DROP_NAME:
        raise Invalid("This name is too long for a drop. Shorten it, or upload in parts: POST /api/uploads.", field="name")
    prefix = drop_prefix(who.id)
    key = f"{prefix}{uuid4()}/{name}"
    ends = datetime.now(UTC) + timedelta(seconds=DROP_SECONDS)
    return Drop(url=blobs.sign_put(key, DROP_SECONDS, Audience.BROWSER), key=key, prefix=prefix, expires_at=ends)


def arrived(arrival: Arrival, desk: Desk) -> FileId | None:
    """Somebody says an object is there: a new file, the end of an upload, or old news (None).

    Notifications come late, twice and out of order, so what they tell is only a hint: the store is asked what is there now.
    """
    if arrival.key.startswith(UPLOADS):
        upload = desk.intake.held_by_key(arrival.key)
        return _finished_by_arrival(upload, desk) if upload else None
    owner = dropped_by(arrival.key) if arrival.key.startswith(DROPS) else None
    if owner is None:
        return None
    if not desk.intake.has_principal(owner):
        log.warning("an object was dropped for %s, who does not exist; it stays where it is", owner)
        return None
    blob = desk.blobs.stat(arrival.key)
    file_id = FileId(uuid7())
    if blob is None or not desk.intake.arrive(blob.key, blob.etag, file_id):
        return None
    name = dropped_name(blob.key)
    kept_as = arrived_type(blob.content_type, name)
    desk.files.add(file_id, owner, name=name, size=blob.size, content_type=kept_as, kind=kind_of(kept_as))
    desk.files.received(file_id, blob.key)
    _told(file_id, owner, desk)
    reason = _unwanted(blob.size, desk)
    if reason is not None:
        desk.files.unreadable(file_id, reason)
        tell(file_id, owner, desk.files, desk.log)
    else:
        _publish(file_id, owner, desk)
    return file_id


def _unwanted(size: int, desk: Desk) -> str | None:
    """Why a file that came by itself, and is here now, is not worked on."""
    limits = desk.limits
    if size > limits.max_bytes:
        return too_large(size, limits)
    taken = desk.intake.taken() if limits.storage_bytes is not None else 0
    return no_room(size, taken - size, limits) if limits.storage_bytes is not None and taken > limits.storage_bytes else None


def record_preparation(
    event: StepReleased,
    preparation: Preparation,
    files: FileStore,
    chunks: ChunkStore,
    runs: RunStore,
    events: EventLogStore,
    bus: Bus,
) -> None:
    """Write down what preparing a file gave; a file that was purged, or a run that was cancelled, keeps nothing."""
    file = files.lock(event.file_id)
    if runs.is_over(event.run_id):
        return
    if file is not None:
        files.prepared(file.id, preparation.findings)
        chunks.replace(file.id, preparation.chunks)
        tell(file.id, file.owner, files, events)
    finished = StepFinished(run_id=event.run_id, work=event.work, attempt=event.attempt, warnings=preparation.findings.warnings)
    bus.publish(finished, id=f"{event.run_id}/{event.work}/{event.attempt}/finished")


def sweep(desk: Desk) -> None:
    """Let go of uploads that nobody finished, and of objects that were pinned elsewhere."""
    for upload in desk.intake.expired(SWEPT):
        if _finished_by_arrival(upload, desk) is None:
            _discard(upload, UploadState.EXPIRED, desk.intake, desk.files, desk.blobs)
    for key, etag in desk.intake.leftovers(2 * SWEPT):
        blob = desk.blobs.stat(key)
        if blob is not None and blob.etag == etag:
            desk.blobs.delete(key)
        desk.intake.consumed(key, etag)
    desk.intake.trim(REMEMBERED_DAYS)


def _finished_by_arrival(upload: Upload, desk: Desk) -> FileId | None:
    """The object of an open upload is there: its client died before `complete` was answered, or before it was asked."""
    if upload.state is not UploadState.OPEN:
        return None
    blob = desk.blobs.stat(upload.key)
    if blob is None or blob.size != upload.size:
        return None
    try:
        _received(upload, blob, desk)
    except Conflict:
        return None
    return upload.file_id


def _received(upload: Upload, blob: Blob, desk: Desk) -> None:
    """Exactly once per object: the arrival's row, the file's state and the fact are one unit of work."""
    if not desk.files.received(upload.file_id, upload.key):
        raise Conflict("The file of this upload was purged. Begin a new upload: POST /api/uploads.")
    desk.intake.arrive(upload.key, blob.etag, upload.file_id)
    desk.intake.close(upload.id, UploadState.COMPLETED)
    _told(upload.file_id, upload.owner, desk)
    _publish(upload.file_id, upload.owner, desk)


def _told(file_id: FileId, owner: UUID, desk: Desk) -> None:
    """For the trail: who brought it in, or that the store told of it, and whose it is."""
    actor = desk.trail.actor if desk.trail.actor.id is not None else SYSTEM
    behalf_of = owner if actor.id != owner else None
    desk.trail.record(EventKind.FILE_UPLOADED, (SubjectKind.FILE, file_id), actor=actor, behalf_of=behalf_of)


def _publish(file_id: FileId, owner: UUID, desk: Desk) -> None:
    desk.bus.publish(FileReceived(file_id=file_id), id=f"{file_id}/received", subject=str(file_id))
    tell(file_id, owner, desk.files, desk.log)


def _whole(upload: Upload, blobs: BlobStore) -> Blob:
    """The object out of its parts; made already, when an earlier `complete` was killed before it was recorded."""
    try:
        parts = blobs.parts(upload.key, upload.ref)
    except NotFound:
        blob = blobs.stat(upload.key)
        if blob is None or blob.size != upload.size:
            raise Conflict(GONE) from None
        return blob
    missing = _missing(upload, parts)
    if missing:
        some = ", ".join(map(str, missing[:20])) + (" …" if len(missing) > 20 else "")
        raise Conflict(
            f"{len(missing)} of {upload.part_count} parts are missing: {some}. Send them, then complete again; "
            "what is there is kept.",
            missing=list(missing[:1000]),
        )
    return blobs.finish_parts(upload.key, upload.ref, parts)


def _parts_of(upload: Upload, blobs: BlobStore) -> list[Part]:
    try:
        return blobs.parts(upload.key, upload.ref)
    except NotFound:
        return []


def _missing(upload: Upload, there: Sequence[Part]) -> tuple[int, ...]:
    """Numbers of parts that are not there with exactly their size."""
    whole = {part.number for part in there if part.size == upload.part_bytes(part.number)}
    return tuple(number for number in range(1, upload.part_count + 1) if number not in whole)


def _signed(upload: Upload, numbers: Sequence[int], blobs: BlobStore) -> tuple[SignedPart, ...]:
    seconds = int(min(upload.seconds_left, PART_SECONDS))
    return tuple(
        SignedPart(number, blobs.sign_part(upload.key, upload.ref, number, upload.part_bytes(number), seconds))
        for number in numbers
    )


def _discard(upload: Upload, state: UploadState, intake: IntakeStore, files: FileStore, blobs: BlobStore) -> None:
    blobs.abort_parts(upload.key, upload.ref)
    blobs.delete(upload.key)
    files.forget_upload(upload.file_id)
    intake.close(upload.id, state)


def _found(upload: Upload | None) -> Upload:
    if upload is None:
        raise NotFound(NO_UPLOAD)
    return upload


def _open(upload: Upload | None) -> Upload:
    found = _found(upload)
    if found.state is not UploadState.OPEN:
        raise Conflict(f"This upload is {found.state}. Begin a new one: POST /api/uploads.", state=found.state)
    return found

"""Preparing a file: pin its bytes, check them, decode them once into chunks, peaks and a poster. Slow, outside transactions."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self
from uuid import NAMESPACE_OID, uuid5

import msgspec

from auricle.contract.store import Units
from auricle.errors import AuricleError, Conflict, NotFound, Permanent
from auricle.files.actions import tell
from auricle.files.model import (
    ChunkRow,
    FileId,
    Findings,
    MediaKind,
    Peaks,
    StoredFile,
    chunk_key,
    original_key,
    peaks_key,
    poster_key,
    preparation_prefixes,
)
from auricle.files.store import ChunkStore, FileStore
from auricle.intake.model import DROPS, Preparation, extension
from auricle.intake.store import IntakeStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import BlobStore
from auricle.ports.bus import Progress
from auricle.ports.media import Chunk, MediaReader, Recording
from auricle.runs.model import RunId

log = logging.getLogger(__name__)
BLOCK = 2**20
PURGED = "The file was purged before it was prepared."
REPLACED = (
    "The dropped object was replaced before it could be kept. What replaced it is a file of its own; this one can be deleted."
)
LOST = "The bytes of this file are gone from the store. Upload it again."


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """How a run wants its recording prepared. `audio_track` from 0; None: the container's default."""

    chunk_seconds: float
    audio_track: int | None = None


def prepare(
    file: StoredFile,
    run_id: RunId,
    wishes: Wishes,
    units: Units,
    blobs: BlobStore,
    media: MediaReader,
    progress: Progress,
) -> Preparation:
    """All of it. What can never be heard is `Permanent`; the file's row says why then, and its bytes are kept."""
    try:
        forget_leftovers(file, run_id, units, blobs)
        return decoded(file, pinned(file, units, blobs), run_id, wishes, blobs, media, progress)
    except Permanent as error:
        with units.unit() as db:
            files = FileStore(db)
            if files.unreadable(file.id, str(error)):
                tell(file.id, file.owner, files, EventLogStore(db))
        raise


def pinned(file: StoredFile, units: Units, blobs: BlobStore) -> str:
    """The immutable key of the file's bytes: copied there on their version now, if they are still where they arrived."""
    source = file.key
    if source is None:
        raise Permanent(LOST)
    with units.unit() as db:
        etag = IntakeStore(db).etag_of(source, file.id)
    if etag is None:
        return source  # pinned by an earlier preparation: no arrival has this key
    target = original_key(file.id, uuid5(NAMESPACE_OID, etag), extension(source))
    try:
        if blobs.stat(target) is None:  # an attempt that was killed may have copied it already
            blobs.copy(source, target, etag)
    except Conflict:
        raise Permanent(REPLACED) from None
    except NotFound:
        raise Permanent(LOST) from None
    with units.unit() as db:
        if not FileStore(db).pinned(file.id, source, target):
            raise Permanent(PURGED)
    if not source.startswith(DROPS):  # a dropped object may be replaced at any moment: the sweep takes it later
        with suppress(AuricleError):
            blobs.delete(source)
    return target


def decoded(
    file: StoredFile,
    key: str,
    run_id: RunId,
    wishes: Wishes,
    blobs: BlobStore,
    media: MediaReader,
    progress: Progress,
) -> Preparation:
    """Decode the bytes at `key` once. `Permanent` says why they cannot be heard, or that they are not what was sent."""
    delivery = _Delivery(file.id, run_id, blobs)
    outcome: Recording | Permanent
    with Checksum(blobs, key) as checksum:
        try:
            with blobs.open(key) as source:
                outcome = media.read(
                    source,
                    chunk_seconds=wishes.chunk_seconds,
                    audio_track=wishes.audio_track,
                    deliver=delivery,
                    progress=progress,
                )
        except NotFound:
            raise Permanent(LOST) from None
        except Permanent as error:
            if file.sha256 is None:
                raise
            outcome = error
        size, sha256 = checksum.result()
    if file.sha256 not in (None, sha256):
        raise Permanent(mismatch(file.sha256, sha256))  # a damaged upload explains whatever else is wrong with it
    if isinstance(outcome, Permanent):
        raise outcome
    return Preparation(findings=_findings(file.id, run_id, outcome, size, sha256, blobs), chunks=tuple(delivery.rows))


def mismatch(declared: str | None, found: str) -> str:
    """Why an upload is not believed to be what was sent."""
    return f"The upload does not match its checksum (announced {str(declared)[:12]}…, arrived {found[:12]}…). Upload it again."


def forget_leftovers(file: StoredFile, run_id: RunId, units: Units, blobs: BlobStore) -> None:
    """Delete what earlier preparations left behind and no row speaks of: this run's and the present one's stay."""
    with units.unit() as db:
        present = {row.key for row in ChunkStore(db).of(file.id)} | {file.peaks_key, file.poster_key}
    mine = str(run_id)
    for prefix in preparation_prefixes(file.id):
        for blob in list(blobs.list(prefix)):
            if blob.key not in present and not blob.key.removeprefix(prefix).startswith(mine):
                blobs.delete(blob.key)


class Checksum:
    """The SHA-256 of an object, computed beside other work: hashing gives the interpreter's lock away."""

    def __init__(self, blobs: BlobStore, key: str) -> None:
        """The bytes are read a second time; decoders jump about, so they cannot be hashed as they are decoded."""
        self._blobs = blobs
        self._key = key
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._digest = hashlib.sha256()
        self._size = 0
        self._thread = threading.Thread(target=self._run, name="checksum", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def result(self) -> tuple[int, str]:
        """Bytes and hex digest, once all is read."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._size, self._digest.hexdigest()

    def _run(self) -> None:
        try:
            with self._blobs.open(self._key) as source:
                while not self._stop.is_set() and (block := source.read(BLOCK)):
                    self._digest.update(block)
                    self._size += len(block)
        except NotFound:
            self._failure = Permanent(LOST)
        except BaseException as error:
            self._failure = error


class _Delivery:
    """Stores each chunk as it is cut: memory holds one at a time, whatever the recording's length."""

    def __init__(self, file_id: FileId, run_id: RunId, blobs: BlobStore) -> None:
        self._name: Callable[[int], str] = lambda index: chunk_key(file_id, run_id, index)
        self._blobs = blobs
        self.rows: list[ChunkRow] = []

    def __call__(self, chunk: Chunk) -> None:
        key = self._name(chunk.index)
        self._blobs.put(key, chunk.flac, "audio/flac")
        clips = tuple((clip.start, clip.end) for clip in chunk.clips)
        row = ChunkRow(index=chunk.index, start=chunk.start, end=chunk.end, audio_end=chunk.audio_end, clips=clips, key=key)
        self.rows.append(row)


def _findings(file_id: FileId, run_id: RunId, recording: Recording, size: int, sha256: str, blobs: BlobStore) -> Findings:
    """What is kept of a recording beside its chunks; stores peaks and poster."""
    drawn = peaks_key(file_id, run_id)
    blobs.put(drawn, msgspec.json.encode(Peaks(recording.peaks, recording.peaks_per_second)), "application/json")
    poster = poster_key(file_id, run_id) if recording.poster else None
    if poster and recording.poster:
        blobs.put(poster, recording.poster, "image/jpeg")
    has_picture = any(track.kind == "video" for track in recording.tracks)
    media = {
        "container": recording.container,
        "tracks": msgspec.to_builtins(recording.tracks),
        "audio_track": recording.audio_track,
        "speech_seconds": recording.speech_seconds,
    }
    return Findings(
        size=size,
        sha256=sha256,
        duration=recording.duration,
        kind=MediaKind.VIDEO if has_picture else MediaKind.AUDIO,
        media=media,
        warnings=recording.warnings,
        peaks_key=drawn,
        poster_key=poster,
    )

"""A file in the vault, and what was found inside it."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from auricle.contract.http import Body
from auricle.errors import Invalid

FileId = NewType("FileId", UUID)
MAX_NAME = 255
"""Characters of a name: what file systems allow, so that a download can always be saved under it."""

_OVERRIDES = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
"""They change the direction of what follows: `gpj.exe` can be made to look like `exe.jpg`."""


class FileState(StrEnum):
    """Where a file is in its life. `trashed` can be restored; `purged` keeps nothing but the row."""

    UPLOADING = "uploading"
    RECEIVED = "received"
    READY = "ready"  # prepared: playable, its parts are known
    UNREADABLE = "unreadable"  # kept and downloadable, but not a recording that can be heard
    TRASHED = "trashed"
    PURGED = "purged"


class MediaKind(StrEnum):
    """What a file is for those who look for it; a guess by its type until it is prepared."""

    AUDIO = "audio"
    VIDEO = "video"
    OTHER = "other"


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the uploader wishes of the pipeline. Absent: the deployment's default."""

    language: str | None = None  # BCP-47 primary tag; None: detect
    model: str | None = None
    diarize: bool = True
    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    vocabulary: tuple[str, ...] = ()  # names and words the model should expect
    initial_prompt: str | None = None
    chunk_seconds: float | None = None
    audio_track: int | None = None  # counted from 0 among the audio tracks


class OptionsChange(Body, frozen=True, kw_only=True):
    """Options to set; null takes the deployment's default again, what is left out stays."""

    language: str | UnsetType | None = UNSET
    model: str | UnsetType | None = UNSET
    diarize: bool | UnsetType = UNSET
    num_speakers: int | UnsetType | None = UNSET
    min_speakers: int | UnsetType | None = UNSET
    max_speakers: int | UnsetType | None = UNSET
    vocabulary: tuple[str, ...] | UnsetType = UNSET
    initial_prompt: str | UnsetType | None = UNSET
    chunk_seconds: float | UnsetType | None = UNSET
    audio_track: int | UnsetType | None = UNSET

    def applied_to(self, options: Options) -> Options:
        """The options after this change."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        return msgspec.structs.replace(options, **{name: value for name, value in given.items() if value is not UNSET})


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file as the API gives it. `duration` in seconds, once prepared; `warnings` are sentences of the preparation."""

    id: FileId
    name: str
    size: int
    state: FileState
    content_type: str
    created_at: datetime
    updated_at: datetime
    sha256: str | None = None
    duration: float | None = None
    language: str | None = None
    has_video: bool = False
    has_transcript: bool = False
    options: Options = Options()
    warnings: tuple[str, ...] = ()
    error: str | None = None
    trashed_at: datetime | None = None


class StoredFile(File, frozen=True, kw_only=True):
    """A file as the house knows it: whose it is and where its bytes are. Never an answer to a person.

    `life` is the state without the trash: what the file is again once it is restored.
    """

    owner: UUID
    life: FileState
    key: str | None
    peaks_key: str | None
    poster_key: str | None
    transcript_version: int | None


class ChunkRow(msgspec.Struct, frozen=True, kw_only=True):
    """One prepared stretch of a recording and where its audio (FLAC) is. Times in seconds of the recording."""

    index: int
    start: float
    end: float
    audio_end: float
    clips: tuple[tuple[float, float], ...]
    key: str


class Peaks(msgspec.Struct, frozen=True):
    """A recording's shape for drawing: loudest absolute sample per slice, 0..255."""

    peaks: tuple[int, ...]
    peaks_per_second: float


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What preparing a file told. `media` is kept as it is: container, tracks, the track that was heard, seconds of speech."""

    size: int
    sha256: str
    duration: float
    kind: MediaKind
    media: dict[str, object]
    warnings: tuple[str, ...]
    peaks_key: str
    poster_key: str | None


def original_key(file_id: FileId, version: UUID, extension: str) -> str:
    """Where one immutable version of a file's bytes is kept for good."""
    return f"originals/{file_id}/{version}{extension}"


def chunk_key(file_id: FileId, run_id: UUID, index: int) -> str:
    """Where a run's preparation puts a chunk."""
    return f"chunks/{file_id}/{run_id}/{index:05}.flac"


def peaks_key(file_id: FileId, run_id: UUID) -> str:
    """Where a run's preparation puts the peaks."""
    return f"peaks/{file_id}/{run_id}.json"


def poster_key(file_id: FileId, run_id: UUID) -> str:
    """Where a run's preparation puts a video's poster."""
    return f"posters/{file_id}/{run_id}.jpg"


def preparation_prefixes(file_id: FileId) -> tuple[str, ...]:
    """Beneath these is what all preparations of a file made; the next component begins with the run's id."""
    return f"chunks/{file_id}/", f"peaks/{file_id}/", f"posters/{file_id}/"


def uploads_prefix(uploader: UUID, file_id: FileId) -> str:
    """Beneath this a file's bytes arrive."""
    return f"uploads/{uploader}/{file_id}/"


def prefixes(uploader: UUID, file_id: FileId) -> tuple[str, ...]:
    """Everything that is ever stored for a file; purging it empties them all."""
    kept = ("originals", "chunks", "peaks", "posters", "work", "exports")
    return (uploads_prefix(uploader, file_id), *(f"{folder}/{file_id}/" for folder in kept))


def clean_name(name: str) -> str:
    """A name as it is kept: any script, without what is invisible or misleads (controls, direction overrides), no path."""
    visible = "".join(c for c in unicodedata.normalize("NFC", name) if not _misleads(c)).strip()
    if not visible or visible in (".", ".."):
        raise Invalid("Give the file a name.", field="name")
    if "/" in visible or "\\" in visible:
        raise Invalid("A name holds no / or \\: leave the folders out.", field="name")
    if len(visible) > MAX_NAME:
        raise Invalid(f"A name has at most {MAX_NAME} characters; this one has {len(visible)}. Shorten it.", field="name")
    return visible


def folded(text: str) -> str:
    """Text as it is compared and sorted: without differences of case or form, on every database alike."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _misleads(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _OVERRIDES

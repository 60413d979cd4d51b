"""A file in the vault, and what was found inside it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

import msgspec

FileId = NewType("FileId", UUID)


class FileState(StrEnum):
    """Where a file is in its life. `trashed` can be restored; `purged` keeps nothing but the row."""

    UPLOADING = "uploading"
    RECEIVED = "received"
    READY = "ready"  # prepared: playable, its parts are known
    UNREADABLE = "unreadable"  # kept and downloadable, but not a recording that can be heard
    TRASHED = "trashed"
    PURGED = "purged"


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


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file as the API gives it. `duration` in seconds, once prepared."""

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
    error: str | None = None
    trashed_at: datetime | None = None

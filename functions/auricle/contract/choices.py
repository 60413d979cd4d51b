"""The few words that declarations choose from. What each costs is a number in the overlay, never here."""

from __future__ import annotations

from enum import StrEnum


class Image(StrEnum):
    """Which container image a function runs in, by what it has to import."""

    API = "api"  # database and HTTP; no numpy
    MEDIA = "media"  # PyAV and voice activity detection
    SPEECH = "speech"  # models; no database driver is ever imported


class Scale(StrEnum):
    """How a function grows and shrinks."""

    INTERACTIVE = "interactive"  # a person waits
    STREAM = "stream"  # held-open answers (SSE)
    BURST = "burst"  # many small events
    BATCH = "batch"  # minutes of CPU per event
    GPU = "gpu"  # one event per device at a time, from zero
    TIMER = "timer"  # wakes on a schedule


class Permission(StrEnum):
    """What a route asks of the principal. The values are the scopes of personal tokens."""

    PUBLIC = "public"  # anybody, said aloud
    SIGNED_IN = "signed-in"  # any valid credential, whatever its scopes
    READ = "files:read"
    WRITE = "files:write"  # upload, rename, trash, purge
    RUN = "runs:write"  # start, cancel, retry
    TOKENS = "tokens:write"
    OPERATE = "operate"  # dead letters and the host itself


SCOPES: tuple[str, ...] = tuple(p.value for p in Permission if p not in (Permission.PUBLIC, Permission.SIGNED_IN))

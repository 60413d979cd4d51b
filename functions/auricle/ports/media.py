"""Reading recordings: what is inside, as mono speech-ready audio, in chunks cut at silences."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Protocol

import msgspec

SAMPLE_RATE = 16_000
"""Hz. Every speech model here hears 16 kHz mono."""
TAIL_SECONDS = 10.0
"""Each chunk's audio goes on this far past its own end (or to the end of the recording), because sliding-window voice
models need the windows that begin inside the chunk to be whole."""


class Clip(msgspec.Struct, frozen=True, array_like=True):
    """A stretch with speech in it, `start` < `end`, in seconds of the recording."""

    start: float
    end: float


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """One stream of the container. `rate` in Hz; `duration` in seconds when the container says it."""

    index: int
    kind: str  # audio | video | subtitle | other
    codec: str
    language: str | None = None
    channels: int | None = None
    rate: int | None = None
    duration: float | None = None
    width: int | None = None
    height: int | None = None


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the recording as FLAC (16 kHz, mono, 16 bit). Times in seconds of the recording, on a 10 ms grid.

    Chunk n+1 starts where chunk n ends. The audio covers `start` … `audio_end`; `clips` lie inside `start` … `end`.
    """

    index: int
    start: float
    end: float
    audio_end: float
    clips: tuple[Clip, ...]
    flac: bytes


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What reading a recording once told. `duration` is what was really decoded, in seconds."""

    container: str
    duration: float
    tracks: tuple[Track, ...]
    audio_track: int
    chunks: int
    speech_seconds: float
    peaks: tuple[int, ...]  # loudest absolute sample per slice, 0..255
    peaks_per_second: float
    poster: bytes | None  # JPEG of a video's frame
    warnings: tuple[str, ...] = ()  # sentences: a truncated end, other tracks left out


class MediaReader(Protocol):
    """Decodes a recording in one streaming pass with bounded memory, whatever its length."""

    def read(
        self,
        source: BinaryIO,
        *,
        chunk_seconds: float,
        audio_track: int | None,
        deliver: Callable[[Chunk], None],
        progress: Callable[[float], None],
    ) -> Recording:
        """Decode `source` (seekable), hand each chunk to `deliver` as soon as it is cut, tell `progress` 0..1.

        `audio_track` counts audio tracks from 0; None takes the container's default one. Raises `Permanent` with a
        sentence for people: empty file, not a recording, no audio track, encrypted, nothing decodable.
        """
        ...

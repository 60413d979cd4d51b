"""`MediaReader` on PyAV (FFmpeg) and Silero: one pass from uploaded bytes to chunks of speech-ready audio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from auricle.adapters.media.chunking import Chunking
from auricle.adapters.media.completeness import breaks_off, promised_seconds
from auricle.adapters.media.container import (
    DAMAGED,
    Source,
    choose_audio,
    name_of,
    opened,
    playback_length,
    playback_start,
    tracks_of,
)
from auricle.adapters.media.decoding import Decoding
from auricle.adapters.media.peaks import Peaks
from auricle.adapters.media.poster import poster_of
from auricle.adapters.media.silero import SpeechProbabilities
from auricle.adapters.media.timeline import Timeline
from auricle.errors import Permanent
from auricle.ports.media import Chunk, Recording, Track

_PROGRESS_EVERY = 0.3  # seconds
_WORTH_TELLING = 0.3  # seconds of holes


class PyAvReader:
    """Reads whatever FFmpeg decodes. Peaks come at 10 per second, halved until there are at most 20,000."""

    def read(
        self,
        source: BinaryIO,
        *,
        chunk_seconds: float,
        audio_track: int | None,
        deliver: Callable[[Chunk], None],
        progress: Callable[[float], None],
    ) -> Recording:
        """See `MediaReader.read`."""
        if chunk_seconds < 1:
            raise ValueError("Chunks are at least a second long.")
        bytes_ = Source(source)
        with opened(bytes_) as container:
            number, stream = choose_audio(container, audio_track)
            tracks, name = tracks_of(container), name_of(container, bytes_)
            length = playback_length(container)
            decoding = Decoding(container, stream, bytes_)
            timeline = Timeline(playback_start(container), length)
            peaks = Peaks()
            told = _Throttled(progress)
            with Chunking(chunk_seconds, deliver, SpeechProbabilities()) as chunking:
                for samples in timeline.lay(decoding.frames()):
                    peaks.push(samples)
                    chunking.push(samples)
                    told(timeline.seconds / length if length else bytes_.tell() / bytes_.size)
                chunking.finish()
            if not chunking.count:
                raise Permanent(DAMAGED)
            promised = promised_seconds(container, stream, bytes_)
            short = breaks_off(container, bytes_, promised, timeline.seconds)
        poster = poster_of(bytes_)
        progress(1.0)
        return Recording(
            container=name,
            duration=chunking.end,
            tracks=tracks,
            audio_track=number,
            chunks=chunking.count,
            speech_seconds=round(chunking.speech_seconds, 2),
            peaks=peaks.finish(),
            peaks_per_second=peaks.per_second,
            poster=poster,
            warnings=tuple(_warnings(timeline, decoding, short, promised, tracks, number)),
        )


def _warnings(
    timeline: Timeline, decoding: Decoding, short: bool, promised: float | None, tracks: tuple[Track, ...], number: int
) -> Iterator[str]:
    """What a person should know about how this recording was read."""
    broken = short or decoding.cut_short or decoding.ends_damaged
    if broken:
        of = f" of {_clock(promised)}" if promised is not None and promised > timeline.seconds + 1 else ""
        yield f"The recording breaks off after {_clock(timeline.seconds)}{of}: the file is incomplete. What was there was kept."
    places = decoding.damaged - decoding.ends_damaged
    silence = f"{timeline.inserted:.1f} s became silence, so that times match playback"
    filled = timeline.inserted >= _WORTH_TELLING
    if places:
        what = f"{places} damaged place{'s' if places > 1 else ''} in the sound could not be decoded"
        yield f"{what}{f'; {silence}' if filled else ''}. Words may be missing there."
    elif filled:
        yield f"The sound has holes: {silence}."
    audio = sum(track.kind == "audio" for track in tracks)
    if audio > 1:
        yield f"Only audio track {number} was heard, of {audio} (numbered from 0). Start again with another one to hear that."


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Throttled:
    """Passes progress on a few times per second, never backwards and never out of 0..1."""

    def __init__(self, progress: Callable[[float], None]) -> None:
        self._progress = progress
        self._told = 0.0
        self._next = time.monotonic()

    def __call__(self, fraction: float) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PROGRESS_EVERY
        self._told = min(1.0, max(self._told, fraction))
        self._progress(self._told)

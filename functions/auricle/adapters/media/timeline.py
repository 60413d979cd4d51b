"""Decoded frames into one unbroken run of mono samples, in which sample n sounds at n / 16000 s of playback.

Timestamps decide, within reason: a track that begins late begins with silence, a hole becomes silence, a clock that drifts is
followed; a timestamp that contradicts its neighbours, a restart, or a jump beyond all measure is not believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise

import av
import numpy
from numpy.typing import NDArray

from auricle.adapters.media.downmix import Downmix, Mono
from auricle.ports.media import SAMPLE_RATE

_JITTER = 0.02
"""Seconds a timestamp may be off without meaning anything (millisecond containers, jittery capture clocks)."""
_HOLE = 0.1
"""A jump this long is a hole at once; a shorter one only when it lasts `_LASTING` seconds."""
_LASTING = 0.5
_SILENCE_AT_MOST = 12 * 3600.0
"""Seconds of silence inserted in all; whatever jumps further would be a forged or broken clock."""
_LOUDEST = 4.0  # full scale is 1: room for overdriven float recordings, none for nonsense
_PIECE = 60 * SAMPLE_RATE  # silence comes in pieces, so that hours of it need no memory


class MonoResampler:
    """Turns frames of one format into mono samples at 16 kHz."""

    def __init__(self, frame: av.AudioFrame) -> None:
        self._shape = _shape(frame)
        self._channels = frame.layout.nb_channels
        # Packed, because PyAV reads past the planes of frames with more than eight; in seconds, because small frames cost time.
        self._resampler = av.AudioResampler(format="flt", layout=frame.layout, rate=SAMPLE_RATE, frame_size=SAMPLE_RATE)
        self._mix = Downmix(self._channels)

    def takes(self, frame: av.AudioFrame) -> bool:
        """Whether `frame` has the format this one was made for."""
        return self._shape == _shape(frame)

    def push(self, frame: av.AudioFrame | None) -> Iterator[Mono]:
        """What is ready; None empties the filters."""
        for resampled in self._resampler.resample(frame):
            yield self._mix.push(_sound(resampled).reshape(-1, self._channels).T)
        if frame is None:
            yield self._mix.finish()


class Timeline:
    """Lays one track's frames out in playback time."""

    def __init__(self, zero: float, known_end: float | None) -> None:
        """`zero`: the timestamp that plays first. `known_end`: where the container says it ends, in seconds of playback."""
        self._zero = zero
        self._known_end = known_end
        self._silence_left = _SILENCE_AT_MOST
        self._resampler: MonoResampler | None = None
        self._emitted = 0  # samples handed out
        self._drop = 0  # samples of the next ones not to hand out
        self._expected: float | None = None  # where the next frame should begin, in seconds; None before the first
        self._offs: list[tuple[float, float]] = []  # (time, how far off) of late, all small and to the same side
        self.inserted = 0.0
        """Seconds of silence that filled holes after the beginning."""

    @property
    def seconds(self) -> float:
        """How much playback time has been handed out."""
        return self._emitted / SAMPLE_RATE

    def lay(self, frames: Iterator[av.AudioFrame]) -> Iterator[NDArray[numpy.int16]]:
        """The samples, piece by piece."""
        for frame, following in pairwise(chain(frames, (None,))):
            assert frame is not None
            yield from self._emit(self._place(frame, following))
        yield from self._emit(self._drain())

    def _emit(self, pieces: Iterator[Mono]) -> Iterator[NDArray[numpy.int16]]:
        for mono in pieces:
            kept = mono[self._drop :]
            self._drop -= len(mono) - len(kept)
            self._emitted += len(kept)
            if len(kept):
                yield _as_int16(kept)

    def _place(self, frame: av.AudioFrame, following: av.AudioFrame | None) -> Iterator[Mono]:
        begin = self._time(frame)
        length = frame.samples / frame.sample_rate
        if self._expected is None:
            self._expected = 0.0
            yield from self._begin(begin or 0.0)
        elif begin is not None:
            yield from self._follow(begin, length, self._time(following) if following else None)
        if self._resampler and not self._resampler.takes(frame):
            yield from self._drain()
        if not self._resampler:
            self._resampler = MonoResampler(frame)
        yield from self._resampler.push(frame)
        self._expected += length

    def _begin(self, begin: float) -> Iterator[Mono]:
        """The track's first frame: it may be due later than the recording's start, or (decoder warm-up) just before it."""
        if begin < -_LASTING or not self._believed(begin):
            self._zero += begin
        elif begin < 0:
            self._cut(-begin)
        else:
            yield from self._silence(begin)
            self.inserted = 0.0

    def _follow(self, begin: float, length: float, following: float | None) -> Iterator[Mono]:
        """A later frame: decide whether its timestamp is noise, a drift, a hole or nonsense."""
        assert self._expected is not None
        off = begin - self._expected
        if abs(off) <= _JITTER:
            self._offs.clear()
        elif abs(off) < _HOLE:
            yield from self._drift(begin, off)
        elif following is not None and abs(following - begin - length) >= _HOLE:
            return  # the next one does not go on from here: this one lied
        else:
            self._offs.clear()
            yield from self._jump(off)

    def _jump(self, off: float) -> Iterator[Mono]:
        """A hole becomes silence; a restart, or a hole beyond belief, moves the clock instead."""
        if off > 0 and self._believed(off):
            yield from self._silence(off)
        else:
            self._zero += off

    def _drift(self, begin: float, off: float) -> Iterator[Mono]:
        """A small difference counts when it stays: by then the least of it is certainly real."""
        if self._offs and (self._offs[-1][1] > 0) != (off > 0):
            self._offs.clear()
        self._offs.append((begin, off))
        if begin - self._offs[0][0] < _LASTING:
            return
        least = min((off for _, off in self._offs), key=abs)
        self._offs.clear()
        if least < 0:
            self._cut(-least)
        elif self._believed(least):
            yield from self._silence(least)

    def _cut(self, seconds: float) -> None:
        assert self._expected is not None
        self._drop += round(seconds * SAMPLE_RATE)
        self._expected -= seconds

    def _silence(self, seconds: float) -> Iterator[Mono]:
        assert self._expected is not None
        yield from self._drain()
        self._expected += seconds
        self._silence_left -= seconds
        self.inserted += seconds
        samples = max(0, round(self._expected * SAMPLE_RATE) - self._emitted)
        while samples > 0:
            yield numpy.zeros(min(samples, _PIECE), numpy.float32)
            samples -= _PIECE

    def _drain(self) -> Iterator[Mono]:
        resampler, self._resampler = self._resampler, None
        if resampler:
            yield from resampler.push(None)

    def _believed(self, silence: float) -> bool:
        assert self._expected is not None
        ends_inside = self._known_end is None or self._expected + silence <= self._known_end + 1.0
        return silence <= self._silence_left and ends_inside

    def _time(self, frame: av.AudioFrame) -> float | None:
        return None if frame.time is None else frame.time - self._zero


def _sound(frame: av.AudioFrame) -> NDArray[numpy.float32]:
    """The frame's samples; float formats can hold anything, also what is no number, and one such sample would spoil the mix."""
    samples = frame.to_ndarray().astype(numpy.float32, copy=False)
    return numpy.clip(numpy.nan_to_num(samples, copy=False), -_LOUDEST, _LOUDEST)


def _shape(frame: av.AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _as_int16(mono: Mono) -> NDArray[numpy.int16]:
    samples: NDArray[numpy.int16] = numpy.clip(numpy.rint(mono * 32768.0), -32768, 32767).astype(numpy.int16)
    return samples

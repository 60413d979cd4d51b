"""The outline of a recording's sound, for drawing it."""

from __future__ import annotations

import numpy
from numpy.typing import NDArray

from auricle.ports.media import SAMPLE_RATE

FINEST = 10
"""Slices per second of recordings up to about half an hour."""
MOST = 20_000
"""Slices at most: when there are more, neighbours are joined, so a long recording ends with 10,000 … 20,000 of them."""


class Peaks:
    """Collects the loudest absolute sample of each slice, 0..255, with bounded memory."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._slice = SAMPLE_RATE // FINEST
        self._done: list[int] = []
        self._open = 0  # loudest of the slice that is not full
        self._filled = 0  # samples in it

    @property
    def per_second(self) -> float:
        """Slices per second: 10, or 10 halved as often as it took."""
        return SAMPLE_RATE / self._slice

    def push(self, samples: NDArray[numpy.int16]) -> None:
        """Go on with the next samples."""
        loud = numpy.abs(samples.astype(numpy.int32))
        head = min(len(loud), self._slice - self._filled)
        self._grow(loud[:head])
        body = (len(loud) - head) // self._slice * self._slice
        if body:
            self._done.extend(int(p) for p in loud[head : head + body].reshape(-1, self._slice).max(axis=1))
        self._grow(loud[head + body :])
        while len(self._done) > self._most:
            self._halve()

    def finish(self) -> tuple[int, ...]:
        """All slices, the last one perhaps short."""
        slices = [*self._done, self._open] if self._filled else self._done
        return tuple(min(255, (peak * 255 + 16384) // 32768) for peak in slices)

    def _grow(self, loud: NDArray[numpy.int32]) -> None:
        if not len(loud):
            return
        self._open = max(self._open, int(loud.max()))
        self._filled += len(loud)
        if self._filled == self._slice:
            self._done.append(self._open)
            self._open = self._filled = 0

    def _halve(self) -> None:
        if len(self._done) % 2:  # the odd one goes back to the open slice
            self._open = max(self._open, self._done.pop())
            self._filled += self._slice
        self._done = [max(pair) for pair in zip(self._done[::2], self._done[1::2], strict=True)]
        self._slice *= 2

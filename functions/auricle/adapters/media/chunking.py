"""Samples in, finished chunks out: finds speech, chooses the cuts, encodes. Holds one chunk and its tail, never more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy
from numpy.typing import NDArray

from auricle.adapters.media.cutting import GRID, Reach, cut_silence, cut_speech, part
from auricle.adapters.media.flac import encode_flac
from auricle.adapters.media.silero import WINDOW, SpeechProbabilities
from auricle.adapters.media.stretches import SpeechFinder, Stretch
from auricle.ports.media import SAMPLE_RATE, TAIL_SECONDS, Chunk, Clip

Samples = NDArray[numpy.int16]

_BLOCK = 256 * WINDOW  # eight seconds: enough to work on at once, little to hold
_TAIL = round(TAIL_SECONDS * SAMPLE_RATE)
_LOUDNESS_SPAN = 10  # frames of 10 ms over which the quietest place is sought


class Tape:
    """The samples that are still needed, addressed by their place in the recording."""

    def __init__(self) -> None:
        self._pieces: deque[Samples] = deque()
        self._begin = 0
        self.end = 0
        """The first sample that has not come yet."""

    def append(self, samples: Samples) -> None:
        """Go on with these."""
        self._pieces.append(samples)
        self.end += len(samples)

    def pieces(self, begin: int, end: int) -> Iterator[Samples]:
        """The samples from `begin` to `end`, in the pieces they came in."""
        at = self._begin
        for piece in self._pieces:
            if at < end and at + len(piece) > begin:
                yield piece[max(0, begin - at) : end - at]
            at += len(piece)

    def forget(self, before: int) -> None:
        """Whole pieces before this sample are no longer needed."""
        while self._pieces and self._begin + len(self._pieces[0]) <= before:
            self._begin += len(self._pieces.popleft())

    def quietest(self, begin: int, end: int) -> int:
        """The middle of the quietest tenth of a second between two samples."""
        sound = numpy.concatenate(list(self.pieces(begin, end))).astype(numpy.float64)
        frames = numpy.square(sound[: len(sound) // GRID * GRID]).reshape(-1, GRID).sum(axis=1)
        span = min(_LOUDNESS_SPAN, len(frames))
        loudness = numpy.convolve(frames, numpy.ones(span), "valid")
        return begin + (int(loudness.argmin()) + span // 2) * GRID


class Chunking:
    """Cuts one recording. Speech is sought in a thread of its own, one block behind, while the next block is decoded."""

    def __init__(self, chunk_seconds: float, deliver: Callable[[Chunk], None], probabilities: SpeechProbabilities) -> None:
        self._reach = Reach.of(chunk_seconds)
        self._deliver = deliver
        self._probabilities = probabilities
        self._finder = SpeechFinder()
        self._tape = Tape()
        self._block: list[Samples] = []
        self._block_length = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="find-speech")
        self._heard: Future[list[float]] | None = None
        self._start = 0  # of the chunk in the making
        self._cut: int | None = None  # its end, once chosen; it leaves when its tail is there
        self._speech: list[Stretch] = []  # from `start` on
        self._settled = 0
        self._over = False
        self.count = 0
        """Chunks delivered."""
        self.speech_seconds = 0.0
        """Seconds within clips."""

    def __enter__(self) -> Chunking:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    @property
    def end(self) -> float:
        """Seconds taken in."""
        return (self._tape.end + self._block_length) / SAMPLE_RATE

    def push(self, samples: Samples) -> None:
        """Go on with the next samples."""
        while len(samples):
            taken = samples[: _BLOCK - self._block_length]
            samples = samples[len(taken) :]
            self._block.append(taken)
            self._block_length += len(taken)
            if self._block_length == _BLOCK:
                self._take_block()

    def finish(self) -> None:
        """The recording ends here: deliver what is left, filled up with silence to the next 10 ms."""
        self.push(numpy.zeros(-(self._tape.end + self._block_length) % GRID, numpy.int16))
        if self._block_length:
            self._take_block()
        self._listen_to(None)
        self._speech += self._finder.finish(self._tape.end)
        self._settled = self._tape.end
        self._over = True
        self._cut_all()
        if self._start < self._tape.end:
            self._emit(self._tape.end)

    def _take_block(self) -> None:
        block = numpy.concatenate(self._block)
        self._block, self._block_length = [], 0
        self._tape.append(block)
        self._listen_to(block)
        self._cut_all()

    def _listen_to(self, block: Samples | None) -> None:
        """Start on `block`, and take what was heard in the block before."""
        heard, self._heard = self._heard, None
        probabilities = heard.result() if heard else []
        if block is not None:
            self._heard = self._thread.submit(self._probabilities, block)
        self._speech += self._finder.push(probabilities)
        self._settled = self._finder.settled

    def _cut_all(self) -> None:
        while True:
            if self._cut is None:
                self._cut = self._choose()
            if self._cut is None or (self._tape.end < self._cut + _TAIL and not self._over):
                return
            self._emit(self._cut)

    def _choose(self) -> int | None:
        """The end of the chunk in the making, or None while it cannot be told (or the recording ends before)."""
        high = self._start + self._reach.most
        if self._settled <= high:
            return None
        if not self._speech or self._speech[0][0] >= high:
            cut = cut_silence(self._start, self._speech, self._settled, self._reach)
            return cut if cut is not None and cut < self._tape.end else None
        return cut_speech(self._start, self._speech, self._reach, self._tape.quietest)

    def _emit(self, cut: int) -> None:
        clips, self._speech = part(self._speech, cut)
        audio_end = min(cut + _TAIL, self._tape.end)
        chunk = Chunk(
            index=self.count,
            start=self._start / SAMPLE_RATE,
            end=cut / SAMPLE_RATE,
            audio_end=audio_end / SAMPLE_RATE,
            clips=tuple(Clip(_hundredths(begin), _hundredths(end)) for begin, end in clips),
            flac=encode_flac(self._tape.pieces(self._start, audio_end)),
        )
        self._tape.forget(cut)
        self._start, self._cut = cut, None
        self.count += 1
        self.speech_seconds += sum(clip.end - clip.start for clip in chunk.clips)
        self._deliver(chunk)


def _hundredths(sample: int) -> float:
    return round(sample / GRID) / 100

"""Where to cut a long recording: in the middle of a pause near the wished length, and never in a word if there is a pause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from auricle.adapters.media.stretches import SpeechRules, Stretch
from auricle.ports.media import SAMPLE_RATE

GRID = SAMPLE_RATE // 100
"""Samples in 10 ms: cuts lie on this grid, so that their times are short exact decimals."""
PAUSE = SAMPLE_RATE * 3 // 10
"""A pause this long is always a better place than any shorter one, however near the shorter one is."""
_ENOUGH = SAMPLE_RATE  # a pause longer than a second is no better than one of a second
_AWAY = SAMPLE_RATE // 2  # keep this far from speech where the pause allows
_SNAP = SAMPLE_RATE // 4  # a border between two stretches is taken when the quietest place is this near
_SILENT = 600 * SAMPLE_RATE  # chunks without speech grow to this (or the wished length), to be few
_CRUMB = SpeechRules().pad  # a piece of a cut stretch shorter than this is padding, not speech

Quietest = Callable[[int, int], int]
"""Names the quietest sample between two samples."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The wished length of a chunk and how far from it a cut may lie, in samples."""

    target: int
    around: int

    @classmethod
    def of(cls, chunk_seconds: float) -> Reach:
        """A fifth on either side; short chunks get up to 5 s, but no more than half, because pauses do not scale."""
        around = max(0.2 * chunk_seconds, min(0.5 * chunk_seconds, 5.0))
        return cls(round(chunk_seconds * SAMPLE_RATE), round(around * SAMPLE_RATE))

    @property
    def most(self) -> int:
        """The longest a chunk with speech gets."""
        return self.target + self.around

    @property
    def silent(self) -> int:
        """The longest a chunk without speech gets."""
        return max(self.target, _SILENT) // GRID * GRID


def cut_silence(start: int, speech: Sequence[Stretch], settled: int, reach: Reach) -> int | None:
    """The end of a chunk that begins with a long silence, or None as long as that silence goes on (all in samples)."""
    latest = start + reach.silent
    if speech and speech[0][0] < latest:
        return max(start + GRID, _down(speech[0][0] - _AWAY))
    return latest if settled >= latest else None


def cut_speech(start: int, speech: Sequence[Stretch], reach: Reach, quietest: Quietest) -> int:
    """The end of a chunk that begins at `start`, given all `speech` up to `start + reach.most` (samples)."""
    target = start + reach.target
    low, high = target - reach.around, target + reach.around
    best: tuple[bool, float, int] | None = None
    for begin, end in _pauses(start, speech, high):
        first, last = _up(max(begin, low)), _down(min(end, high))
        if first > last:
            continue
        away = min(_AWAY, (end - begin) // 2)
        place = _down(min(max(target, begin + away), max(begin + away, end - away)))
        place = min(max(place, first), last)
        length = end - begin + 2 * SpeechRules().pad  # stretches are padded: the pause itself is longer than the gap
        worth = min(length, _ENOUGH) / _ENOUGH - 0.5 * abs(place - target) / reach.around
        candidate = (length >= PAUSE, worth, place)
        best = max(best, candidate) if best else candidate
    return best[2] if best else _weakest(low, high, speech, quietest)


def part(speech: Sequence[Stretch], cut: int) -> tuple[list[Stretch], list[Stretch]]:
    """Speech before and after `cut`; a stretch that spans it becomes two, less what would be only a crumb of it.

    Of a stretch so short that both sides would be crumbs, the longer side stays.
    """
    before = [stretch for stretch in speech if stretch[1] <= cut]
    after = [stretch for stretch in speech if stretch[0] >= cut]
    for begin, end in speech:
        if not begin < cut < end:
            continue
        least = min(_CRUMB, max(cut - begin, end - cut))
        if cut - begin >= least:
            before.append((begin, cut))
        if end - cut >= least:
            after.insert(0, (cut, end))
    return before, after


def _pauses(start: int, speech: Sequence[Stretch], high: int) -> Iterator[Stretch]:
    """The gaps between stretches; one that is still open counts up to `high`."""
    begin = start
    for first, last in speech:
        if first > begin:
            yield begin, first
        begin = max(begin, last)
    if begin < high:
        yield begin, high


def _weakest(low: int, high: int, speech: Sequence[Stretch], quietest: Quietest) -> int:
    """Nobody pauses: the quietest place, or the border of two stretches beside it."""
    place = quietest(low, high)
    borders = [end for _, end in speech if abs(end - place) <= _SNAP and low <= end <= high]
    return min(max(_down(min(borders, key=lambda border: abs(border - place), default=place)), _up(low)), _down(high))


def _down(sample: int) -> int:
    return sample // GRID * GRID


def _up(sample: int) -> int:
    return -(-sample // GRID) * GRID

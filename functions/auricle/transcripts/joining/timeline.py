"""Whose voice is heard when."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from auricle.transcripts.model import Turn

PIECE_SECONDS = 10.0
"""Longer turns are kept in pieces of this length, so that every look-up touches only what is near."""
NEAR_SECONDS = 1.5
"""Voices further away than this say nothing about a moment."""


class Timeline:
    """Turns (any order; they may overlap) that can be asked who is heard in a stretch."""

    def __init__(self, turns: Iterable[Turn]) -> None:
        self._pieces = sorted(_pieces(turns), key=lambda t: (t.start, t.end, t.speaker))
        self._starts = [piece.start for piece in self._pieces]

    def voices(self, start: float, end: float) -> dict[int, float]:
        """Seconds of voice per speaker between `start` and `end`."""
        found: dict[int, float] = {}
        for piece in self._near(start, end):
            shared = min(end, piece.end) - max(start, piece.start)
            if shared > 0:
                found[piece.speaker] = found.get(piece.speaker, 0.0) + shared
        return found

    def loudest(self, start: float, end: float) -> int | None:
        """Who is heard most between `start` and `end`; when nobody is, who is nearest, if near enough."""
        voices = self.voices(start, end)
        if voices:
            return min(voices, key=lambda speaker: (-voices[speaker], speaker))
        near = [
            (max(t.start - end, start - t.end), t.start, t.speaker)
            for t in self._near(start - NEAR_SECONDS, end + NEAR_SECONDS)
        ]
        distance, _, speaker = min(near, default=(NEAR_SECONDS + 1, 0.0, 0))
        return speaker if distance <= NEAR_SECONDS else None

    def _near(self, start: float, end: float) -> Sequence[Turn]:
        """All pieces that may touch the stretch, and a few more."""
        return self._pieces[bisect_left(self._starts, start - PIECE_SECONDS) : bisect_left(self._starts, end)]


def _pieces(turns: Iterable[Turn]) -> Iterator[Turn]:
    for turn in turns:
        start = turn.start
        while turn.end - start > PIECE_SECONDS:
            yield Turn(start, start + PIECE_SECONDS, turn.speaker)
            start += PIECE_SECONDS
        if turn.end > start:
            yield Turn(start, turn.end, turn.speaker)


def crowded(turns: Iterable[Turn]) -> Iterator[Turn]:
    """The stretches in which several people speak at once, as turns of nobody in particular (0)."""
    changes = sorted(
        (moment, step, t.speaker) for t in turns if t.end > t.start for moment, step in ((t.start, 1), (t.end, -1))
    )
    speaking: Counter[int] = Counter()
    since: float | None = None
    for moment, step, speaker in changes:
        speaking[speaker] += step
        several = sum(1 for count in speaking.values() if count > 0) > 1
        if several and since is None:
            since = moment
        elif since is not None and not several:
            yield Turn(since, moment, 0)
            since = None

"""Cutting a transcript into subtitles: at most two lines of 42 characters, 1 to 7 seconds, one speaker, no word split."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from auricle.transcripts.model import Transcript
from auricle.transcripts.wording import ends_clause, ends_sentence, parted, written

LINE = 42
"""Characters of a line. Only a word that is longer itself makes a longer one."""
LINES = 2
LONGEST = 7_000
"""Milliseconds of a cue."""
SHORTEST = 1_000
"""A shorter cue stays longer, into time in which nothing else is shown; only if there is none, the next one waits."""
READING = 20
"""Characters a second that people read; a fuller cue stays longer where there is room."""
GAP = 40
"""Milliseconds between cues where there is room, so that a change is seen."""
LEAD = 500
"""How much earlier than its words a cue may come to get its second."""
PAUSE = 1_000
"""After such a silence a new cue begins."""
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle, times in milliseconds; `lines` are one or two."""

    start: int
    end: int
    speaker: str | None
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int


def cues(transcript: Transcript) -> list[Cue]:
    """All cues, in the order of the transcript, none overlapping another."""
    rough: list[Cue] = []
    for label, words in _runs(transcript):
        speaker = transcript.name_of(label)
        for piece in _pieces(words):
            end = max(word.end for word in piece)
            rough.append(Cue(piece[0].start, end, speaker, balanced([word.text for word in piece])))
    return list(_timed(rough, round(transcript.duration * 1000)))


def _runs(transcript: Transcript) -> Iterator[tuple[str | None, list[_Word]]]:
    """Stretches of one speaker without a long silence or a gap: only within one may words share a cue."""
    holes = sorted(round(gap.start * 1000) for gap in transcript.gaps)
    speaker: str | None = None
    run: list[_Word] = []
    for segment in transcript.segments:
        for word in segment.words:
            start, end = round(word.start * 1000), round(max(word.start, word.end) * 1000)
            if run and (segment.speaker != speaker or _silent(run[-1], start, holes)):
                yield speaker, run
                run = []
            speaker = segment.speaker
            run += [_Word(text, start, end) for text in _CONTROLS.sub("", word.word).split()]
    if run:
        yield speaker, run


def _silent(last: _Word, start: int, holes: Sequence[int]) -> bool:
    """Whether a long silence or a gap lies between a word and what starts next."""
    return start - last.end > PAUSE or bisect_right(holes, last.start) != bisect_right(holes, start)


def _pieces(words: Sequence[_Word]) -> Iterator[Sequence[_Word]]:
    """A run in cues, at the least cost in all: broken clauses, torn sentences, short cues and many cues cost."""
    over = list(accumulate((ends_sentence(word.text) for word in words), initial=0))  # sentences ended before each word
    best = [(0.0, len(words))] * (len(words) + 1)  # from each word on: the cost, and where its cue ends
    for first in reversed(range(len(words))):
        best[first] = min(
            (_cost(words[first], words[last - 1], words[last : last + 1], over[last - 1] > over[first]) + best[last][0], last)
            for last in _ends(words, first)
        )
    first = 0
    while first < len(words):
        yield words[first : best[first][1]]
        first = best[first][1]


def _ends(words: Sequence[_Word], first: int) -> Iterator[int]:
    """Where a cue that begins with word `first` may end (exclusive); after that word in any case."""
    line, length, end = 1, len(words[first].text), words[first].end
    yield first + 1
    for i in range(first + 1, len(words)):
        word = words[i]
        blank = int(parted(words[i - 1].text, word.text))
        if length + blank + len(word.text) <= LINE:
            length += blank + len(word.text)
        else:
            line, length = line + 1, len(word.text)
        end = max(end, word.end)
        if line > LINES or end - words[first].start > LONGEST:
            return
        yield i + 1


def _cost(first: _Word, last: _Word, following: Sequence[_Word], several: bool) -> float:
    """What a cue from `first` to `last` costs its readers; `several`: a sentence ended before `last`, too."""
    cost = 5.0 + 6.0 * max(0.0, 1.0 - (last.end - first.start) / 1000)
    if not following or ends_sentence(last.text):
        return cost
    pause = max(0, following[0].start - last.end) / 1000
    torn = (4.0 if ends_clause(last.text) else 12.0) + (8.0 if several else 0.0)
    return cost + max(0.0, torn - 8.0 * pause)


def balanced(words: Sequence[str]) -> tuple[str, ...]:
    """One line, or two of about equal length, broken after punctuation where that is near."""
    whole = written(words)
    if len(words) == 1 or len(whole) <= LINE:
        return (whole,)
    best: tuple[float, tuple[str, ...]] | None = None
    for cut in range(1, len(words)):
        pair = (written(words[:cut]), written(words[cut:]))
        fits = (len(pair[0]) <= LINE or cut == 1) and (len(pair[1]) <= LINE or cut == len(words) - 1)
        cost = abs(len(pair[0]) - len(pair[1])) - (16 if ends_clause(words[cut - 1]) else 0)
        if fits and (best is None or cost < best[0]):
            best = (cost, pair)
    return best[1] if best else (whole,)


def _timed(rough: Sequence[Cue], duration: int) -> Iterator[Cue]:
    """Cues with times that can be read: stretched into free time, never over another one."""
    now = 0
    for i, cue in enumerate(rough):
        following = rough[i + 1].start if i + 1 < len(rough) else max(duration, cue.end)
        start = max(cue.start, now)
        if following - start < SHORTEST:
            start = min(start, max(now, start - LEAD, following - SHORTEST))
        characters = sum(len(line) for line in cue.lines)
        wanted = max(cue.end, start + SHORTEST, start + characters * 1000 // READING)
        free = following if cue.end > following - GAP else following - GAP
        now = max(start + SHORTEST, min(wanted, free, start + LONGEST))
        yield Cue(start, now, cue.speaker, cue.lines)

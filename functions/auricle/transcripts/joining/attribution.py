"""Who said which word.

A word is the speaker's whose voice covers most of it. Both sides are uncertain: borders of turns are a few tenths of a
second off, word times too, and now and then a model collapses the words of many seconds into a fraction of one. So
collapsed words are given to speakers by where they must have been, lone words are given back, and a change of speakers
in the middle of a sentence moves to the sentence's end if that is a word or two away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from auricle.transcripts.joining.timeline import Timeline
from auricle.transcripts.model import Passage, Word
from auricle.transcripts.wording import ends_clause, ends_sentence

BLEED_SECONDS = 0.2
"""Other voices that fill less than this of a whole passage say no word in it."""
COLLAPSED_SECONDS = 0.12
"""Nobody speaks three words in a row of which each begins, and ends, so soon after the one before began."""
LONE_WORDS = 2
"""So few words between two stretches of one other speaker are a slip of the border, if they are short …"""
LONE_SECONDS = 0.6
"""… and take no longer than this together."""
SLIP_SECONDS = 0.35
"""How far a turn's border may be from the truth; words further from a voice stay where they are."""
PAUSE_SECONDS = 0.5
"""After a silence of this length a change of speakers is believed even within a sentence."""


@dataclass(frozen=True, slots=True)
class Said:
    """A word, whose it is (None: nobody's), and which passage it came from."""

    word: Word
    speaker: int | None
    passage: int


def owners(passage: Passage, words: Sequence[Word], timeline: Timeline) -> list[int | None]:
    """The speaker of each word of a passage."""
    start, end = min(passage.start, words[0].start), max(passage.end, words[-1].end)
    voices = timeline.voices(start, end)
    main = timeline.loudest(start, end)
    if main in voices and sum(voices.values()) - voices[main] < BLEED_SECONDS:
        return [main] * len(words)
    found = [timeline.loudest(word.start, max(word.end, word.start + 0.01)) for word in words]
    for first, last in _collapsed(words):
        after = words[first - 1].end if first else start
        before = words[last].start if last < len(words) else end
        found[first:last] = _spread(words[first:last], after, max(after, before), timeline)
    return found


def _collapsed(words: Sequence[Word]) -> list[tuple[int, int]]:
    """Runs of at least three words whose times cannot be true, as index ranges."""
    found: list[tuple[int, int]] = []
    first = 0
    for i in range(1, len(words) + 1):
        if i < len(words) and _crushed(words[i - 1], words[i]):
            continue
        if i - first >= 3:
            found.append((first, i))
        first = i
    return found


def _crushed(word: Word, following: Word) -> bool:
    soon = following.start - word.start < COLLAPSED_SECONDS
    return soon and max(word.end - word.start, following.end - following.start) < COLLAPSED_SECONDS


def _spread(words: Sequence[Word], start: float, end: float, timeline: Timeline) -> list[int | None]:
    """Speakers of words that lie somewhere between `start` and `end`: sentence by sentence, by their share of the text."""
    total = sum(len(word.word) for word in words)
    found: list[int | None] = []
    sentence, written, begun = 0, 0, 0
    for i, word in enumerate(words):
        written += len(word.word)
        if ends_sentence(word.word) or i == len(words) - 1:
            share = (end - start) / total
            speaker = timeline.loudest(start + begun * share, start + written * share)
            found += [speaker] * (i + 1 - sentence)
            sentence, begun = i + 1, written
    return found


def smoothed(said: Sequence[Said]) -> list[Said]:
    """Give lone short words inside another's sentence back to that speaker."""
    runs: list[list[Said]] = []
    for item in said:
        if runs and runs[-1][-1].speaker == item.speaker:
            runs[-1].append(item)
        else:
            runs.append([item])
    for i in range(1, len(runs) - 1):
        before, run, after = runs[i - 1][-1], runs[i], runs[i + 1][0]
        if before.speaker == after.speaker and _slip(before, run, after):
            runs[i] = [replace(item, speaker=before.speaker) for item in run]
    return [item for run in runs for item in run]


def _slip(before: Said, run: Sequence[Said], after: Said) -> bool:
    """Whether `run` is a border's slip: few, short, within one passage, and no sentence of its own."""
    short = len(run) <= LONE_WORDS and run[-1].word.end - run[0].word.start <= LONE_SECONDS
    within = before.passage == run[0].passage == run[-1].passage == after.passage
    return short and within and not ends_sentence(before.word.word)


def settled(said: Sequence[Said], timeline: Timeline) -> list[Said]:
    """Move changes of speakers from the middle of a sentence to its end or beginning, where that is near."""
    found = list(said)
    for i in range(1, len(found)):
        if not _torn(found[i - 1], found[i]):
            continue
        for count in range(1, LONE_WORDS + 1):
            if _finishes(found, i, count, timeline):
                found[i : i + count] = [replace(s, speaker=found[i - 1].speaker) for s in found[i : i + count]]
                break
            if _begins(found, i, count, timeline):
                found[i - count : i] = [replace(s, speaker=found[i].speaker) for s in found[i - count : i]]
                break
    return found


def _torn(before: Said, after: Said) -> bool:
    """Whether speakers change within what reads as one sentence."""
    if before.speaker == after.speaker or before.speaker is None or after.speaker is None or before.passage != after.passage:
        return False
    if ends_sentence(before.word.word) or after.word.start - before.word.end > PAUSE_SECONDS:
        return False
    first = after.word.word
    return not first[0].isupper() or ends_clause(before.word.word) or first.split("'")[0].split("’")[0] == "I"


def _finishes(said: Sequence[Said], i: int, count: int, timeline: Timeline) -> bool:
    """Whether the `count` words from `i` on end the sentence of the speaker before them."""
    moved = said[i : i + count]
    if len(moved) < count or not ends_sentence(moved[-1].word.word) or any(ends_sentence(s.word.word) for s in moved[:-1]):
        return False
    return _together(moved, said[i].speaker, said[i].passage) and _heard(moved, said[i - 1].speaker, timeline)


def _begins(said: Sequence[Said], i: int, count: int, timeline: Timeline) -> bool:
    """Whether the `count` words before `i` begin the sentence of the speaker after them."""
    moved = said[max(0, i - count) : i]
    if len(moved) < count or any(ends_sentence(s.word.word) for s in moved):
        return False
    before = said[i - count - 1] if i > count else None
    if before is not None and not ends_sentence(before.word.word):
        return False
    return _together(moved, said[i - 1].speaker, said[i].passage) and _heard(moved, said[i].speaker, timeline)


def _together(moved: Sequence[Said], speaker: int | None, passage: int) -> bool:
    return all(s.speaker == speaker and s.passage == passage for s in moved)


def _heard(moved: Sequence[Said], speaker: int | None, timeline: Timeline) -> bool:
    """Whether `speaker` is heard close to each of the words."""
    middles = [(s.word.start + s.word.end) / 2 for s in moved]
    return all(speaker in timeline.voices(middle - SLIP_SECONDS, middle + SLIP_SECONDS) for middle in middles)

"""Joining words with speakers: from passages and turns to a transcript. Pure and deterministic; O(n log n).

A word belongs to the speaker whose voice covers most of it. Word times are uncertain (some models now and then collapse
a passage's words into a fraction of a second), turns are not: so a passage in which one speaker holds nearly all of the
voice goes to that speaker whole, and only passages with several speakers are divided word by word.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from auricle.transcripts.model import (
    Gap,
    Passage,
    Segment,
    Speaker,
    Transcript,
    Turn,
    Word,
    milliseconds,
    segment_id,
    speaker_label,
)

ONE_VOICE = 0.85
"""Share of a passage's voice at which one speaker gets all of it."""
NEAR_SECONDS = 1.5
"""A word outside every turn goes to a turn at most this far away."""
LONE_WORDS = 2
"""So few words between two stretches of one other speaker are a slip of the boundary, if they are short …"""
LONE_SECONDS = 0.6
"""… and take no longer than this together, without a pause around them."""
PAUSE_SECONDS = 1.0
"""A silence that ends a segment."""
LONGEST_SECONDS = 30.0
"""A segment ends at the next sentence after half of this, and at the latest here."""
OVERLAP_SECONDS = 0.25
"""Other voices for this long inside a segment mark it."""
SENTENCE_ENDS = tuple(".?!…。?!؟।")
CLOSERS = "\"'”’»)]"


@dataclass(frozen=True, slots=True)
class _Said:
    """A word, whose it is, and which passage it came from."""

    word: Word
    speaker: int | None
    passage: int


def join(
    passages: Iterable[Passage],
    exclusive: Sequence[Turn] | None,
    *,
    overlaps: Sequence[Turn] = (),
    gaps: Sequence[Gap] = (),
    language: str,
    duration: float,
    version: int,
    warnings: Sequence[str] = (),
) -> tuple[Transcript, tuple[int, ...]]:
    """The transcript of `passages` by the speakers of `exclusive` turns (None: nobody told voices apart).

    `overlaps` are turns that may overlap each other; they only mark segments in which several people speak.
    Also tells which of the turns' speakers each of the transcript's is, in its order.
    """
    heard = sorted(passages, key=lambda p: (p.start, p.end))
    timeline = _Timeline(exclusive) if exclusive else None
    said: list[_Said] = []
    for number, passage in enumerate(heard):
        words = passage.words or _even_words(passage)
        owners = timeline.owners(passage, words) if timeline else [None] * len(words)
        said += [_Said(word, owner, number) for word, owner in zip(words, owners, strict=True)]
    said = _smoothed(said)
    groups = _segments(said, gaps)
    order = _order(groups)
    crowd = _Timeline(overlaps) if overlaps else None
    segments = tuple(_segment(group, i, version, order, crowd) for i, group in enumerate(groups))
    transcript = Transcript(
        version=version,
        language=language,
        duration=milliseconds(duration),
        speakers=_speakers(order, exclusive or ()),
        segments=segments,
        gaps=tuple(sorted(gaps, key=lambda g: g.start)),
        warnings=tuple(warnings),
    )
    return transcript, tuple(sorted(order, key=lambda speaker: order[speaker]))


class _Timeline:
    """Turns that can be asked what lies in a stretch."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = sorted(turns, key=lambda t: (t.start, t.end, t.speaker))
        self._starts = [t.start for t in self._turns]
        self._reach: list[float] = []  # the latest end so far, so that long turns are found from behind
        for turn in self._turns:
            self._reach.append(max(turn.end, self._reach[-1] if self._reach else turn.end))

    def voices(self, start: float, end: float) -> dict[int, float]:
        """Seconds of voice per speaker between `start` and `end`."""
        found: dict[int, float] = {}
        for turn in self._turns[bisect_right(self._reach, start) : bisect_left(self._starts, end)]:
            shared = min(end, turn.end) - max(start, turn.start)
            if shared > 0:
                found[turn.speaker] = found.get(turn.speaker, 0.0) + shared
        return found

    def owners(self, passage: Passage, words: Sequence[Word]) -> list[int | None]:
        """The speaker of each word of a passage."""
        voices = self.voices(passage.start, passage.end)
        if voices:
            first = _loudest(voices)
            if voices[first] >= ONE_VOICE * sum(voices.values()):
                return [first] * len(words)
        return [self._owner(word) for word in words]

    def _owner(self, word: Word) -> int | None:
        voices = self.voices(word.start, max(word.end, word.start + 0.01))
        if voices:
            return _loudest(voices)
        return self._nearest((word.start + word.end) / 2)

    def _nearest(self, moment: float) -> int | None:
        here = bisect_left(self._starts, moment)
        near = self._turns[max(0, here - 3) : here + 1]
        if not near:
            return None
        turn = min(near, key=lambda t: (max(t.start - moment, moment - t.end), t.start))
        return turn.speaker if max(turn.start - moment, moment - turn.end) <= NEAR_SECONDS else None


def _loudest(voices: dict[int, float]) -> int:
    return min(voices, key=lambda speaker: (-voices[speaker], speaker))


def _even_words(passage: Passage) -> tuple[Word, ...]:
    """Words of a passage whose model gave no word times: spread evenly."""
    texts = passage.text.split()
    step = (passage.end - passage.start) / max(1, len(texts))
    return tuple(Word(text, passage.start + i * step, passage.start + (i + 1) * step, 0.0) for i, text in enumerate(texts))


def _smoothed(said: list[_Said]) -> list[_Said]:
    """Give lone short words inside another's sentence back to that speaker."""
    runs: list[list[_Said]] = []
    for item in said:
        if runs and runs[-1][-1].speaker == item.speaker:
            runs[-1].append(item)
        else:
            runs.append([item])
    for i in range(1, len(runs) - 1):
        before, run, after = runs[i - 1], runs[i], runs[i + 1]
        if before[-1].speaker == after[0].speaker and _slip(before[-1], run, after[0]):
            runs[i] = [replace(item, speaker=before[-1].speaker) for item in run]
    return [item for run in runs for item in run]


def _slip(before: _Said, run: list[_Said], after: _Said) -> bool:
    """Whether `run` is a boundary's slip: few, short, within one passage, and no sentence of its own."""
    short = len(run) <= LONE_WORDS and run[-1].word.end - run[0].word.start <= LONE_SECONDS
    within = before.passage == run[0].passage == run[-1].passage == after.passage
    return short and within and not _ends_sentence(before.word)


def _segments(said: list[_Said], gaps: Sequence[Gap]) -> list[list[_Said]]:
    """Stretches of one speaker, sentence by sentence where they are long."""
    holes = sorted(g.start for g in gaps)
    groups: list[list[_Said]] = []
    for item in said:
        if groups and not _breaks(groups[-1], item, holes):
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def _breaks(group: list[_Said], item: _Said, holes: list[float]) -> bool:
    """Whether `item` begins a new segment after `group`."""
    last = group[-1]
    if item.speaker != last.speaker or item.word.start - last.word.end > PAUSE_SECONDS:
        return True
    if bisect_left(holes, last.word.end - 0.01) != bisect_left(holes, item.word.start + 0.01):
        return True
    length = item.word.end - group[0].word.start
    if length > LONGEST_SECONDS:
        return True
    if not _ends_sentence(last.word):
        return False
    return length > LONGEST_SECONDS / 2 or item.passage != last.passage


def _ends_sentence(word: Word) -> bool:
    return word.word.rstrip(CLOSERS).endswith(SENTENCE_ENDS)


def _order(groups: list[list[_Said]]) -> dict[int, int]:
    """Speakers numbered by first appearance in the text."""
    order: dict[int, int] = {}
    for group in groups:
        speaker = group[0].speaker
        if speaker is not None:
            order.setdefault(speaker, len(order))
    return order


def _segment(group: list[_Said], position: int, version: int, order: dict[int, int], crowd: _Timeline | None) -> Segment:
    words = _monotonic([item.word for item in group])
    start, end = words[0].start, words[-1].end
    speaker = group[0].speaker
    others = sum(s for k, s in crowd.voices(start, end).items() if k != speaker) if crowd else 0.0
    return Segment(
        id=segment_id(version, position),
        start=start,
        end=end,
        speaker=None if speaker is None else speaker_label(order[speaker]),
        text=" ".join(word.word for word in words),
        words=tuple(words),
        overlap=speaker is not None and others >= OVERLAP_SECONDS,
    )


def _monotonic(words: Sequence[Word]) -> list[Word]:
    """Rounded words that never run backwards."""
    found: list[Word] = []
    clock = 0.0
    for word in words:
        start = max(clock, milliseconds(word.start))
        end = max(start, milliseconds(word.end))
        found.append(Word(word.word.strip(), start, end, milliseconds(word.probability)))
        clock = start
    return found


def _speakers(order: dict[int, int], turns: Sequence[Turn]) -> tuple[Speaker, ...]:
    """Those who say something, in order, with their seconds of voice."""
    seconds: dict[int, float] = {}
    for turn in turns:
        seconds[turn.speaker] = seconds.get(turn.speaker, 0.0) + turn.end - turn.start
    ranked = sorted(order, key=lambda speaker: order[speaker])
    return tuple(Speaker(label=speaker_label(order[k]), seconds=milliseconds(seconds.get(k, 0.0))) for k in ranked)

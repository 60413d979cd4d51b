"""Joining words with speakers: from passages and turns to a transcript. Pure and deterministic; O(n log n)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from auricle.transcripts.joining.attribution import Said, owners, settled, smoothed
from auricle.transcripts.joining.segmenting import Lengths, segmented
from auricle.transcripts.joining.timeline import Timeline, crowded
from auricle.transcripts.joining.words import words_of
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
from auricle.transcripts.wording import written

__all__ = ["Lengths", "join"]

OVERLAP_SECONDS = 0.25
"""Several people at once for this long inside a segment mark it."""


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
    lengths: Lengths | None = None,
) -> tuple[Transcript, tuple[int, ...]]:
    """The transcript of `passages` by the speakers of `exclusive` turns (None: nobody told voices apart).

    `overlaps` are turns that may overlap each other; they only mark segments in which several people speak.
    Also tells which of the turns' speakers each of the transcript's is, in its order.
    """
    missing = sorted(gaps, key=lambda g: (g.start, g.end, g.reason))
    groups = segmented(_said(passages, exclusive), [gap.start for gap in missing], lengths or Lengths())
    order = _order(groups)
    transcript = Transcript(
        version=version,
        language=language,
        duration=milliseconds(duration),
        speakers=_speakers(order, exclusive or ()),
        segments=tuple(_segments(groups, version, order, Timeline(crowded(overlaps)))),
        gaps=tuple(missing),
        warnings=tuple(warnings),
    )
    return transcript, tuple(order)


def _said(passages: Iterable[Passage], turns: Sequence[Turn] | None) -> list[Said]:
    """Every word with its speaker, in the order of the passages."""
    timeline = Timeline(turns) if turns else None
    said: list[Said] = []
    for number, passage in enumerate(sorted(passages, key=_place)):
        words = words_of(passage)
        if not words:
            continue
        speakers = owners(passage, words, timeline) if timeline else [None] * len(words)
        said += [Said(word, speaker, number) for word, speaker in zip(words, speakers, strict=True)]
    return settled(smoothed(said), timeline) if timeline else said


def _place(passage: Passage) -> tuple[float, float, bytes]:
    """Where a passage belongs: by time, and by content where that is the same, so that no order of arrival shows."""
    return passage.start, passage.end, msgspec.json.encode(passage)


def _order(groups: Sequence[Sequence[Said]]) -> dict[int, int]:
    """Speakers numbered by first appearance in the text."""
    order: dict[int, int] = {}
    for group in groups:
        speaker = group[0].speaker
        if speaker is not None:
            order.setdefault(speaker, len(order))
    return order


def _segments(groups: Iterable[Sequence[Said]], version: int, order: dict[int, int], crowd: Timeline) -> Iterator[Segment]:
    """Segments whose words never begin before the word that stands before them."""
    clock = 0.0
    for position, group in enumerate(groups):
        words: list[Word] = []
        for item in group:
            clock = max(clock, milliseconds(item.word.start))
            end = max(clock, milliseconds(item.word.end))
            words.append(Word(item.word.word, clock, end, milliseconds(item.word.probability)))
        start, end = words[0].start, max(word.end for word in words)
        speaker = group[0].speaker
        yield Segment(
            id=segment_id(version, position),
            start=start,
            end=end,
            speaker=None if speaker is None else speaker_label(order[speaker]),
            text=written([word.word for word in words]),
            words=tuple(words),
            overlap=crowd.voices(start, end).get(0, 0.0) >= OVERLAP_SECONDS,
        )


def _speakers(order: dict[int, int], turns: Iterable[Turn]) -> tuple[Speaker, ...]:
    """Those who say something, in order, with their seconds of voice."""
    seconds = dict.fromkeys(order, 0.0)
    for turn in sorted(turns, key=lambda t: (t.start, t.end)):
        if turn.speaker in seconds:
            seconds[turn.speaker] += turn.end - turn.start
    return tuple(Speaker(label=speaker_label(order[k]), seconds=milliseconds(s)) for k, s in seconds.items())

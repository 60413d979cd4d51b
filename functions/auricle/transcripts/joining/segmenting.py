"""Where a segment ends: at another speaker, a silence, a gap, a passage's last sentence, or when it gets too long."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auricle.transcripts.joining.attribution import Said
from auricle.transcripts.wording import ends_clause, ends_sentence


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long segments become, in seconds: at most `longest`; a silence of more than `pause` ends one."""

    longest: float = 30.0
    pause: float = 1.0


def segmented(said: Sequence[Said], gaps: Sequence[float], lengths: Lengths) -> list[list[Said]]:
    """Stretches of one speaker; `gaps` are the moments at which something is missing, in order."""
    groups: list[list[Said]] = []
    for item in said:
        if groups and not _parts(groups[-1], item, gaps, lengths):
            groups[-1].append(item)
        else:
            groups.append([item])
    return [part for group in groups for part in _bounded(group, lengths.longest)]


def _parts(group: Sequence[Said], item: Said, gaps: Sequence[float], lengths: Lengths) -> bool:
    """Whether `item` begins a new segment after `group`."""
    last = group[-1]
    if item.speaker != last.speaker or item.word.start - last.word.end > lengths.pause:
        return True
    if bisect_right(gaps, last.word.start) != bisect_right(gaps, item.word.start):
        return True
    if not ends_sentence(last.word.word):
        return False
    return item.passage != last.passage or item.word.end - group[0].word.start > lengths.longest / 2


def _bounded(group: Sequence[Said], longest: float) -> Iterator[list[Said]]:
    """A segment in pieces of at most `longest` seconds, cut at a clause's end or the longest silence of the second half."""
    rest = list(group)
    while True:
        start = rest[0].word.start
        over = next((i for i in range(1, len(rest)) if rest[i].word.end - start > longest), None)
        if over is None:
            yield rest
            return
        late = [i for i in range(1, over + 1) if rest[i].word.start - start >= longest / 2] or [over]
        cut = max(late, key=lambda i: (ends_clause(rest[i - 1].word.word), rest[i].word.start - rest[i - 1].word.end, i))
        yield rest[:cut]
        rest = rest[cut:]

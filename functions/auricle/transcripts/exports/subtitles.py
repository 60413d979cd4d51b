"""Subtitles: cues of at most two lines of 42 characters, 1 to 7 seconds, one speaker, no word split."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auricle.transcripts.exports.context import ExportContext, clock
from auricle.transcripts.model import Transcript, Word

LINE = 42
"""Characters of a line."""
LONGEST = 7.0
SHORTEST = 1.0
"""Seconds of a cue. A shorter one stays longer, if nothing else is to be shown."""
READING = 20.0
"""Characters a second that people read; a fuller cue stays longer where there is room."""
GAP = 0.04
"""Seconds between cues, so that a change is seen."""
BREAK_AFTER = tuple(".?!…,;:—")


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle; `lines` are one or two."""

    start: float
    end: float
    speaker: str | None
    lines: tuple[str, ...]


def srt(transcript: Transcript, context: ExportContext) -> str:
    """SubRip. The speaker is named where it changes."""
    blocks = []
    for number, cue in enumerate(cues(transcript), 1):
        times = f"{clock(cue.start, ',')} --> {clock(cue.end, ',')}"
        blocks.append("\n".join([str(number), times, *cue.lines]) + "\n")
    return "\n".join(blocks)


def vtt(transcript: Transcript, context: ExportContext) -> str:
    """WebVTT with voice tags."""
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript):
        text = "\n".join(html.escape(line, quote=False) for line in cue.lines)
        if cue.speaker:
            text = f"<v {_annotation(cue.speaker)}>{text}</v>"
        blocks.append(f"{clock(cue.start)} --> {clock(cue.end)}\n{text}\n")
    return "\n".join(blocks)


def cues(transcript: Transcript) -> list[Cue]:
    """All cues, in order, none overlapping another."""
    rough: list[Cue] = []
    for segment in transcript.segments:
        speaker = transcript.name_of(segment.speaker)
        for words in _pieces([w for w in segment.words if w.word.strip()]):
            text = [" ".join(w.word.split()) for w in words]
            rough.append(Cue(words[0].start, words[-1].end, speaker, balanced(text)))
    rough.sort(key=lambda cue: cue.start)
    return list(_timed(rough))


def _pieces(words: Sequence[Word]) -> Iterator[list[Word]]:
    """A segment's words in cue-sized pieces."""
    piece: list[Word] = []
    for word in words:
        if piece and not _fits([*piece, word]):
            yield from _divided(piece)
            piece = []
        piece.append(word)
        if _good_end(piece):
            yield piece
            piece = []
    if piece:
        yield piece


def _divided(piece: list[Word]) -> Iterator[list[Word]]:
    """A full piece, cut at the last comma or pause in its second half if there is one."""
    for cut in range(len(piece) - 1, len(piece) // 2, -1):
        pause = piece[cut].start - piece[cut - 1].end
        if piece[cut - 1].word.endswith(BREAK_AFTER) or pause > 0.3:
            yield piece[:cut]
            yield piece[cut:]
            return
    yield piece


def _good_end(piece: list[Word]) -> bool:
    """A sentence's end after a line's worth of text."""
    return piece[-1].word.endswith((".", "?", "!", "…")) and len(" ".join(w.word for w in piece)) > LINE


def _fits(words: Sequence[Word]) -> bool:
    if words[-1].end - words[0].start > LONGEST:
        return False
    return len(wrapped([" ".join(w.word.split()) for w in words])) <= 2


def wrapped(words: Sequence[str]) -> list[str]:
    """Greedy lines of at most 42 characters; a longer word has a line of its own."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= LINE:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def balanced(words: Sequence[str]) -> tuple[str, ...]:
    """One line, or two of about equal length, broken after punctuation where that is near."""
    lines = wrapped(words)
    if len(lines) < 2:
        return tuple(lines)
    best: tuple[float, tuple[str, ...]] | None = None
    for cut in range(1, len(words)):
        pair = (" ".join(words[:cut]), " ".join(words[cut:]))
        if all(len(line) <= LINE or " " not in line for line in pair):
            cost = abs(len(pair[0]) - len(pair[1])) - (16 if words[cut - 1].endswith(BREAK_AFTER) else 0)
            if best is None or cost < best[0]:
                best = (cost, pair)
    return best[1] if best else tuple(lines[:2])


def _timed(rough: Sequence[Cue]) -> Iterator[Cue]:
    """Cues with times that can be read: stretched into free time, never over the next one."""
    clock_now = 0.0
    for i, cue in enumerate(rough):
        start = max(cue.start, clock_now)
        characters = sum(len(line) for line in cue.lines)
        wanted = max(cue.end, start + SHORTEST, start + characters / READING)
        free = rough[i + 1].start - GAP if i + 1 < len(rough) else wanted
        end = min(wanted, start + LONGEST, max(free, cue.end))
        end = max(end, start + SHORTEST)
        clock_now = end
        yield Cue(round(start, 3), round(end, 3), cue.speaker, cue.lines)


def _annotation(name: str) -> str:
    """A speaker's name as a voice tag's annotation: one line, no brackets."""
    return html.escape(" ".join(name.split()), quote=False).replace("&gt;", "›")

"""Documents to read: plain text, Markdown, JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from auricle.transcripts.exports.context import ExportContext, short_clock
from auricle.transcripts.model import Gap, Segment, Transcript

PARAGRAPH_SECONDS = 60.0
"""A speaker who goes on for longer gets another paragraph."""
PAUSE_SECONDS = 3.0
"""So does one who was silent for so long."""
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~&])")
LIST = re.compile(r"^(\d*)([-+=.)])")
"""What makes a list, a rule or a heading out of a paragraph that begins with it."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Something one person says, or (`missing`) why nothing can be read here."""

    start: float
    speaker: str | None
    text: str
    missing: bool = False


def plain(transcript: Transcript, context: ExportContext) -> str:
    """A paragraph per speaker's turn."""
    found = []
    for paragraph in _paragraphs(transcript):
        when = f"[{short_clock(paragraph.start)}] " if context.times and not paragraph.missing else ""
        who = f"{paragraph.speaker}: " if paragraph.speaker else ""
        found.append(f"{when}{who}{paragraph.text}\n")
    return "\n".join(found)


def markdown(transcript: Transcript, context: ExportContext) -> str:
    """A heading, what was recorded, and a paragraph per turn."""
    about = f"{short_clock(transcript.duration)} · {transcript.language} · version {transcript.version}"
    found = [f"# {_escaped(' '.join(context.title.split()))}\n", f"*{_escaped(about)}*\n"]
    for paragraph in _paragraphs(transcript):
        when = f"`{short_clock(paragraph.start)}` " if context.times else ""
        who = f"**{_escaped(paragraph.speaker)}** " if paragraph.speaker else ""
        begin = "> " if paragraph.missing else f"{when}{who}"
        text = _escaped(paragraph.text)
        found.append(f"{begin}{text if begin else LIST.sub(_begun, text)}\n")
    return "\n".join(found)


def json(transcript: Transcript, context: ExportContext) -> str:
    """The transcript as the API gives it."""
    return msgspec.json.format(msgspec.json.encode(transcript), indent=2).decode() + "\n"


def _paragraphs(transcript: Transcript) -> Iterator[Paragraph]:
    """Neighbouring segments of one speaker together, and the gaps where they are."""
    gaps = sorted(transcript.gaps, key=lambda gap: gap.start)
    turn: list[Segment] = []
    for segment in transcript.segments:
        torn = bool(gaps) and gaps[0].start <= segment.start
        if turn and (torn or not _continues(turn, segment)):
            yield _said(transcript, turn)
            turn = []
        while gaps and gaps[0].start <= segment.start:
            yield _missing(gaps.pop(0))
        turn.append(segment)
    if turn:
        yield _said(transcript, turn)
    yield from map(_missing, gaps)


def _continues(turn: Sequence[Segment], segment: Segment) -> bool:
    if segment.speaker != turn[0].speaker or segment.start - turn[-1].end > PAUSE_SECONDS:
        return False
    return segment.end - turn[0].start <= PARAGRAPH_SECONDS


def _said(transcript: Transcript, turn: Sequence[Segment]) -> Paragraph:
    text = " ".join(" ".join(segment.text.split()) for segment in turn)
    return Paragraph(turn[0].start, transcript.name_of(turn[0].speaker), text)


def _missing(gap: Gap) -> Paragraph:
    when = f"{short_clock(gap.start)}–{short_clock(gap.end)}"
    return Paragraph(gap.start, None, f"[{when} could not be transcribed: {' '.join(gap.reason.split())}]", missing=True)


def _escaped(text: str) -> str:
    return MARKDOWN.sub(r"\\\1", text)


def _begun(found: re.Match[str]) -> str:
    return f"{found[1]}\\{found[2]}"

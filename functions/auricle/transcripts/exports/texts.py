"""Documents to read: plain text, Markdown, JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

import msgspec

from auricle.transcripts.exports.context import ExportContext, short_clock
from auricle.transcripts.model import Segment, Transcript

MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")


def plain(transcript: Transcript, context: ExportContext) -> str:
    """A paragraph per speaker's turn."""
    paragraphs = []
    for speaker, segments in _turns(transcript):
        when = f"[{short_clock(segments[0].start)}] " if context.times else ""
        who = f"{speaker}: " if speaker else ""
        paragraphs.append(f"{when}{who}{_text(segments)}")
    return "\n\n".join([*paragraphs, *_gaps(transcript)]) + "\n"


def markdown(transcript: Transcript, context: ExportContext) -> str:
    """A heading, who speaks, and a paragraph per turn."""
    lines = [f"# {_escaped(context.title)}", ""]
    lines += [f"*{short_clock(transcript.duration)} · {transcript.language} · version {transcript.version}*", ""]
    for speaker, segments in _turns(transcript):
        who = f"**{_escaped(speaker)}** " if speaker else ""
        when = f"`{short_clock(segments[0].start)}` " if context.times else ""
        lines += [f"{when}{who}{_escaped(_text(segments))}", ""]
    return "\n".join([*lines, *(f"> {_escaped(gap)}\n" for gap in _gaps(transcript))])


def json(transcript: Transcript, context: ExportContext) -> str:
    """The transcript as the API gives it."""
    return msgspec.json.format(msgspec.json.encode(transcript), indent=2).decode() + "\n"


def _turns(transcript: Transcript) -> Iterator[tuple[str | None, list[Segment]]]:
    """Neighbouring segments of one speaker together."""
    for label, segments in groupby(transcript.segments, key=lambda s: s.speaker):
        yield transcript.name_of(label), list(segments)


def _text(segments: list[Segment]) -> str:
    return " ".join(segment.text for segment in segments)


def _gaps(transcript: Transcript) -> list[str]:
    return [
        f"[{short_clock(gap.start)}–{short_clock(gap.end)} could not be transcribed: {gap.reason}]" for gap in transcript.gaps
    ]


def _escaped(text: str) -> str:
    return MARKDOWN.sub(r"\\\1", text)

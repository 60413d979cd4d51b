"""Subtitles as files: SubRip and WebVTT."""

from __future__ import annotations

import html

from auricle.transcripts.exports.context import ExportContext, clock
from auricle.transcripts.exports.cues import Cue, cues
from auricle.transcripts.model import Transcript


def srt(transcript: Transcript, context: ExportContext) -> str:
    """SubRip: what is said, and nothing else; the format has no place for speakers."""
    blocks = [f"{number}\n{_times(cue, ',')}\n" + "\n".join(cue.lines) + "\n" for number, cue in enumerate(cues(transcript), 1)]
    return "\n".join(blocks)


def vtt(transcript: Transcript, context: ExportContext) -> str:
    """WebVTT, with a voice tag in every cue whose speaker is known."""
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript):
        text = html.escape("\n".join(cue.lines), quote=False)
        if cue.speaker:
            text = f"<v {html.escape(cue.speaker, quote=False)}>{text}</v>"
        blocks.append(f"{_times(cue, '.')}\n{text}\n")
    return "\n".join(blocks)


def _times(cue: Cue, separator: str) -> str:
    return f"{clock(cue.start / 1000, separator)} --> {clock(cue.end / 1000, separator)}"

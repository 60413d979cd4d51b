"""Documents for programs: CSV (RFC 4180) and RTTM (NIST)."""

from __future__ import annotations

import csv as library
import io

from auricle.transcripts.exports.context import ExportContext
from auricle.transcripts.model import Transcript

FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""What makes spreadsheets compute instead of show (OWASP); such cells get an apostrophe."""


def csv(transcript: Transcript, context: ExportContext) -> str:
    """A row per segment: start, end (seconds), speaker, text."""
    out = io.StringIO()
    writer = library.writer(out)
    writer.writerow(["start", "end", "speaker", "text"])
    for segment in transcript.segments:
        speaker = transcript.name_of(segment.speaker) or ""
        writer.writerow([f"{segment.start:.3f}", f"{segment.end:.3f}", _harmless(speaker), _harmless(segment.text)])
    return out.getvalue()


def rttm(transcript: Transcript, context: ExportContext) -> str:
    """A SPEAKER line per segment whose speaker is known; the file's name without blanks is the recording's id."""
    name = "_".join(context.title.split()) or "recording"
    lines = [
        f"SPEAKER {name} 1 {segment.start:.3f} {segment.end - segment.start:.3f} <NA> <NA> {segment.speaker} <NA> <NA>"
        for segment in transcript.segments
        if segment.speaker is not None and segment.end > segment.start
    ]
    return "".join(line + "\n" for line in lines)


def _harmless(text: str) -> str:
    return "'" + text if text.startswith(FORMULA) else text

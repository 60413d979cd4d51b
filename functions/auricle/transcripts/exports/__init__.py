"""Transcripts as documents: a table of formats, one renderer each. A new format is a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from auricle.transcripts.exports import subtitles, tables, texts
from auricle.transcripts.exports.context import ExportContext
from auricle.transcripts.model import Transcript

__all__ = ["FORMATS", "ExportContext", "Format"]


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of document."""

    name: str
    extension: str
    content_type: str
    render: Callable[[Transcript, ExportContext], str]


FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format("txt", "txt", "text/plain; charset=utf-8", texts.plain),
        Format("srt", "srt", "application/x-subrip; charset=utf-8", subtitles.srt),
        Format("vtt", "vtt", "text/vtt; charset=utf-8", subtitles.vtt),
        Format("json", "json", "application/json", texts.json),
        Format("csv", "csv", "text/csv; charset=utf-8; header=present", tables.csv),
        Format("md", "md", "text/markdown; charset=utf-8", texts.markdown),
        Format("rttm", "rttm", "text/plain; charset=utf-8", tables.rttm),
    )
}

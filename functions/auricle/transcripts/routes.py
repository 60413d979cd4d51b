"""Reading transcripts."""

from __future__ import annotations

from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import Trail
from auricle.contract.choices import Permission
from auricle.contract.function import route
from auricle.contract.http import Download, Query, Reply
from auricle.errors import Invalid, NotFound
from auricle.files.model import File, FileId
from auricle.files.store import FileStore
from auricle.ports.ephemeral import Ephemeral
from auricle.transcripts.exports import FORMATS, ExportContext
from auricle.transcripts.model import Transcript
from auricle.transcripts.store import TranscriptStore


class TranscriptQuery(Query, frozen=True, kw_only=True):
    """`version`: an older one; the newest without it."""

    version: int | None = None


class ExportQuery(Query, frozen=True, kw_only=True):
    """`format` is one of the exports; `inline` shows it in the browser instead of saving it."""

    format: str
    version: int | None = None
    inline: bool = False


@route("GET /api/files/{file_id}/transcript", permission=Permission.READ)
def get_transcript(
    file_id: FileId,
    query: TranscriptQuery,
    files: FileStore,
    transcripts: TranscriptStore,
    trail: Trail,
    ephemeral: Ephemeral,
) -> Reply[Transcript]:
    """The transcript: segments, words with times and probability, speakers, language, version."""
    _, transcript = _read(file_id, query.version, files, transcripts)
    trail.record_hourly(ephemeral, EventKind.FILE_READ, (SubjectKind.FILE, file_id))
    return Reply(transcript, etag=f"v{transcript.version}")


@route("GET /api/files/{file_id}/export", permission=Permission.READ)
def export_transcript(
    file_id: FileId, query: ExportQuery, files: FileStore, transcripts: TranscriptStore, trail: Trail
) -> Download:
    """The transcript as a document: txt, srt, vtt, json, csv, md or rttm."""
    form = FORMATS.get(query.format)
    if form is None:
        raise Invalid(f"There is no format {query.format!r}. There are {', '.join(FORMATS)}.", field="format")
    file, transcript = _read(file_id, query.version, files, transcripts)
    trail.record(EventKind.FILE_EXPORTED, (SubjectKind.FILE, file_id), Details(format=query.format))
    text = form.render(transcript, ExportContext(title=file.name))
    stem = file.name.rpartition(".")[0] or file.name
    return Download(text.encode(), form.content_type, None if query.inline else f"{stem}.{form.extension}")


def _read(file_id: FileId, version: int | None, files: FileStore, transcripts: TranscriptStore) -> tuple[File, Transcript]:
    """The file and its transcript, or a sentence on why there is none."""
    file = files.get(file_id)
    if file is None:
        raise NotFound("There is no such file.")
    newest = transcripts.newest(file_id)
    if newest == 0:
        raise NotFound(f"This file has no transcript (yet). Its runs say why: GET /api/runs?file_id={file_id}.")
    transcript = transcripts.get(file_id, version or newest)
    if transcript is None:
        raise NotFound(f"There is no version {version}; the newest is {newest}.")
    return file, transcript

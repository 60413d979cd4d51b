"""Transcripts by file and version: machine versions are added, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ARRAY,
    Column,
    DateTime,
    Float,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from auricle.contract.store import Store
from auricle.files.model import FileId
from auricle.schema import metadata
from auricle.transcripts.model import Gap, Segment, Speaker, Transcript

transcripts = Table(
    "transcripts",
    metadata,
    Column("file_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("language", Text, nullable=False),
    Column("duration", Float, nullable=False),
    Column("gaps", JSONB, nullable=False),
    Column("warnings", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("file_id", "version"),
)


def _of_version() -> ForeignKeyConstraint:
    """Rows that belong to a version go with it."""
    whole = ["transcripts.file_id", "transcripts.version"]
    return ForeignKeyConstraint(["file_id", "version"], whole, ondelete="CASCADE")


segments = Table(
    "transcript_segments",
    metadata,
    Column("file_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("segment", JSONB, nullable=False),
    PrimaryKeyConstraint("file_id", "version", "position"),
    _of_version(),
)
speakers = Table(
    "transcript_speakers",
    metadata,
    Column("file_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("speaker", JSONB, nullable=False),
    Column("embedding", ARRAY(Float), nullable=False),
    PrimaryKeyConstraint("file_id", "version", "position"),
    _of_version(),
)
ROWS = 500
"""Rows of one insert statement: pg8000 sends parameters in one message, and 65,535 are its most."""


class TranscriptStore(Store):
    """Versions of transcripts. Who may read a file is asked of `files` before."""

    def newest(self, file_id: FileId) -> int:
        """The newest version's number, 0 when there is none."""
        query = select(func.coalesce(func.max(transcripts.c.version), 0)).where(transcripts.c.file_id == file_id)
        return int(self.db.execute(query).scalar_one())

    def add(self, file_id: FileId, run_id: UUID, transcript: Transcript, embeddings: Sequence[Sequence[float]]) -> None:
        """Add a version, whole; `embeddings` are the speakers' voices, in their order."""
        key = {"file_id": file_id, "version": transcript.version}
        self.db.execute(
            transcripts.insert().values(
                **key,
                run_id=run_id,
                language=transcript.language,
                duration=transcript.duration,
                gaps=msgspec.to_builtins(transcript.gaps),
                warnings=list(transcript.warnings),
            )
        )
        rows = [{**key, "position": i, "segment": msgspec.to_builtins(s)} for i, s in enumerate(transcript.segments)]
        for begin in range(0, len(rows), ROWS):
            self.db.execute(segments.insert().values(rows[begin : begin + ROWS]))
        for i, speaker in enumerate(transcript.speakers):
            voice = list(embeddings[i]) if i < len(embeddings) else []
            self.db.execute(speakers.insert().values(**key, position=i, speaker=msgspec.to_builtins(speaker), embedding=voice))

    def get(self, file_id: FileId, version: int) -> Transcript | None:
        """One version, whole."""
        head = self.db.execute(select(transcripts).where(*_is(transcripts, file_id, version))).first()
        if head is None:
            return None
        spoken = select(segments.c.segment).where(*_is(segments, file_id, version)).order_by(segments.c.position)
        voices = select(speakers.c.speaker).where(*_is(speakers, file_id, version)).order_by(speakers.c.position)
        return Transcript(
            version=version,
            language=head.language,
            duration=head.duration,
            speakers=tuple(msgspec.convert(row.speaker, Speaker) for row in self.db.execute(voices)),
            segments=tuple(msgspec.convert(row.segment, Segment) for row in self.db.execute(spoken)),
            gaps=tuple(msgspec.convert(gap, Gap) for gap in head.gaps),
            warnings=tuple(head.warnings),
        )

    def forget(self, file_id: FileId) -> None:
        """Every version of a purged file."""
        self.db.execute(transcripts.delete().where(transcripts.c.file_id == file_id))


def _is(table: Any, file_id: FileId, version: int) -> tuple[Any, ...]:
    return table.c.file_id == file_id, table.c.version == version

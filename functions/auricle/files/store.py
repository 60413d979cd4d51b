"""Files and their prepared chunks in the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    case,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from auricle.contract.store import Store
from auricle.files.model import ChunkRow, File, FileId, FileState, Findings, MediaKind, Options, StoredFile, folded
from auricle.schema import metadata

files = Table(
    "files",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),  # folded: what is searched and sorted
    Column("size", BigInteger, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("sha256", Text),
    Column("state", Text, nullable=False),  # never `trashed`: the trash is `trashed_at`, so that work goes on beneath it
    Column("kind", Text, nullable=False),
    Column("key", Text),
    Column("duration", Float),
    Column("media", JSONB),
    Column("warnings", JSONB, nullable=False, server_default="[]"),
    Column("peaks_key", Text),
    Column("poster_key", Text),
    Column("options", JSONB, nullable=False, server_default="{}"),
    Column("language", Text),
    Column("error", Text),
    Column("transcript_version", Integer),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("trashed_at", DateTime(timezone=True)),
    Column("purged_at", DateTime(timezone=True)),
    Column("brought_by", Uuid),  # who uploaded it, where that is not its owner any more: its first bytes are kept under them
    Column("erase_at", DateTime(timezone=True)),  # when a purged file's bytes are deleted (again)
    Index("files_by_created", "owner", "created_at", "id"),
    Index("files_by_name", "owner", "name_key", "id"),
    Index("files_by_size", "owner", "size", "id"),
)
LENGTH = func.coalesce(files.c.duration, literal_column("0.0"), type_=Float)
"""Lists order by this; the zero is written out, because a parameter would not match the index."""
Index("files_by_duration", files.c.owner, LENGTH, files.c.id)
Index("files_in_trash", files.c.trashed_at, postgresql_where=files.c.trashed_at.is_not(None))
Index("files_to_erase", files.c.erase_at, postgresql_where=files.c.erase_at.is_not(None))

chunks = Table(
    "chunks",
    metadata,
    Column("file_id", Uuid, ForeignKey("files.id", ondelete="CASCADE"), nullable=False),
    Column("index", Integer, nullable=False),
    Column("start", Float, nullable=False),
    Column("end", Float, nullable=False),
    Column("audio_end", Float, nullable=False),
    Column("clips", JSONB, nullable=False),
    Column("key", Text, nullable=False),
    PrimaryKeyConstraint("file_id", "index"),
)
ROWS = 500
"""Chunks of one insert statement: a statement takes at most 65,535 parameters."""
ERASE_AGAIN = timedelta(hours=25)
"""A purged file's bytes are deleted once more when the last URL that could write some has ended: none lives above a day."""


class FileStore(Store):
    """Files. Whose they are and who else may do what with them is the door's to ask, before anything here is."""

    def get(self, id: FileId) -> File | None:
        """A file as people see it, the trash included."""
        row = self.db.execute(select(files).where(*_present(), files.c.id == id)).first()
        return file_of(row) if row else None

    def find(self, id: FileId) -> StoredFile | None:
        """As `get`, with whose it is and the places of its bytes."""
        row = self.db.execute(select(files).where(*_present(), files.c.id == id)).first()
        return _stored(row) if row else None

    def lock(self, id: FileId) -> StoredFile | None:
        """As `find`, locked until the unit of work ends."""
        row = self.db.execute(select(files).where(*_present(), files.c.id == id).with_for_update()).first()
        return _stored(row) if row else None

    # Arriving.

    def add(
        self,
        id: FileId,
        owner: UUID,
        *,
        name: str,
        size: int,
        content_type: str,
        kind: MediaKind,
        sha256: str | None = None,
        options: Options | None = None,
    ) -> None:
        """A new file whose bytes are still on their way."""
        self.db.execute(
            files.insert().values(
                id=id,
                owner=owner,
                name=name,
                name_key=folded(name),
                size=size,
                content_type=content_type,
                kind=kind,
                sha256=sha256,
                state=FileState.UPLOADING,
                options=msgspec.to_builtins(options or Options()),
            )
        )

    def received(self, id: FileId, key: str) -> bool:
        """All bytes are at `key`; False when the file does not wait for any (any more)."""
        statement = files.update().where(files.c.id == id, files.c.state == FileState.UPLOADING)
        return self._changed(statement.values(state=FileState.RECEIVED, key=key, updated_at=func.now()))

    def pinned(self, id: FileId, source: str, key: str) -> bool:
        """The bytes at `source` are now under the immutable `key`; False when the file is gone or points elsewhere."""
        return self._changed(files.update().where(*_present(), files.c.id == id, files.c.key == source).values(key=key))

    def forget_upload(self, id: FileId) -> bool:
        """A file whose bytes never came leaves nothing behind."""
        return self._changed(files.delete().where(files.c.id == id, files.c.state == FileState.UPLOADING))

    # Being worked on.

    def prepared(self, id: FileId, found: Findings) -> bool:
        """The file is playable; False when it was purged meanwhile."""
        return self._changed(
            files.update()
            .where(*_present(), files.c.id == id)
            .values(
                state=FileState.READY,
                error=None,
                size=found.size,
                sha256=found.sha256,
                duration=found.duration,
                kind=found.kind,
                media=found.media,
                warnings=list(found.warnings),
                peaks_key=found.peaks_key,
                poster_key=found.poster_key,
                updated_at=func.now(),
            )
        )

    def unreadable(self, id: FileId, error: str) -> bool:
        """It cannot be heard, for this reason. What was playable before stays so: False."""
        waiting = files.c.state.in_([FileState.RECEIVED, FileState.UNREADABLE])
        statement = files.update().where(files.c.id == id, waiting)
        return self._changed(statement.values(state=FileState.UNREADABLE, error=error, updated_at=func.now()))

    def transcribed(self, id: FileId, version: int, language: str) -> None:
        """The newest transcript is `version`."""
        statement = files.update().where(*_present(), files.c.id == id)
        self.db.execute(statement.values(transcript_version=version, language=language, updated_at=func.now()))

    # What people change. Each follows a `lock`.

    def rename(self, id: FileId, name: str) -> None:
        """Another name."""
        self._set(id, name=name, name_key=folded(name))

    def set_options(self, id: FileId, options: Options) -> None:
        """Other wishes for runs to come."""
        self._set(id, options=msgspec.to_builtins(options))

    def trash(self, id: FileId) -> None:
        """Into the trash, from where it can be restored."""
        self._set(id, trashed_at=func.now())

    def restore(self, id: FileId) -> None:
        """Out of the trash."""
        self._set(id, trashed_at=None)

    def give(self, id: FileId, owner: UUID) -> None:
        """It is `owner`'s from now on."""
        self._set(id, owner=owner, brought_by=func.coalesce(files.c.brought_by, files.c.owner))

    def purge(self, id: FileId) -> None:
        """Nothing stays but the row, and its bytes are due to be erased."""
        nothing: dict[str, Any] = dict.fromkeys(c.name for c in files.c if c.nullable and c is not files.c.brought_by)
        blank = {
            "name": "",
            "name_key": "",
            "size": 0,
            "content_type": "",
            "kind": MediaKind.OTHER,
            "warnings": [],
            "options": {},
        }
        gone = {"state": FileState.PURGED, "purged_at": func.now(), "erase_at": func.now()}
        self._set(id, **(nothing | blank | gone))
        self.db.execute(chunks.delete().where(chunks.c.file_id == id))

    # Getting rid of what is gone.

    def long_in_trash(self, days: int, limit: int) -> list[StoredFile]:
        """Files that were trashed more than `days` ago, oldest first, locked."""
        old = files.c.trashed_at < func.now() - timedelta(days=days)
        query = select(files).where(*_present(), old).order_by(files.c.trashed_at).limit(limit)
        return [_stored(row) for row in self.db.execute(query.with_for_update(skip_locked=True))]

    def uploader_of_purged(self, id: FileId) -> UUID | None:
        """Who uploaded a purged file; None when it is not purged."""
        query = select(_UPLOADER).where(files.c.id == id, files.c.state == FileState.PURGED)
        found: UUID | None = self.db.execute(query).scalar()
        return found

    def to_erase(self, limit: int) -> list[tuple[FileId, UUID]]:
        """Purged files whose bytes are due to be deleted (again), with who uploaded them, locked."""
        query = select(files.c.id, _UPLOADER.label("uploader")).where(files.c.erase_at <= func.now())
        query = query.order_by(files.c.erase_at).limit(limit)
        return [(FileId(row.id), row.uploader) for row in self.db.execute(query.with_for_update(skip_locked=True))]

    def erased(self, id: FileId) -> None:
        """The bytes are deleted; they will be once more after the last URL has ended, then never again."""
        again = files.c.purged_at + ERASE_AGAIN
        due = case((func.now() < again, again), else_=None)
        self.db.execute(files.update().where(files.c.id == id, files.c.state == FileState.PURGED).values(erase_at=due))

    def _set(self, id: FileId, **values: Any) -> None:
        self.db.execute(files.update().where(files.c.id == id).values(updated_at=func.now(), **values))

    def _changed(self, statement: Any) -> bool:
        return bool(self.db.execute(statement).rowcount)


class ChunkStore(Store):
    """The chunks of each file's newest preparation."""

    def of(self, file_id: FileId) -> list[ChunkRow]:
        """A file's chunks, in order."""
        rows = self.db.execute(select(chunks).where(chunks.c.file_id == file_id).order_by(chunks.c.index))
        return [_chunk(row) for row in rows]

    def replace(self, file_id: FileId, rows: Sequence[ChunkRow]) -> None:
        """These, and no others."""
        self.db.execute(chunks.delete().where(chunks.c.file_id == file_id))
        for begin in range(0, len(rows), ROWS):
            some = [{"file_id": file_id, **msgspec.to_builtins(row)} for row in rows[begin : begin + ROWS]]
            self.db.execute(chunks.insert().values(some))


_UPLOADER = func.coalesce(files.c.brought_by, files.c.owner)


def _present() -> tuple[Any, ...]:
    return (files.c.state != FileState.PURGED,)


def file_of(row: Any) -> File:
    """The file that a row of `files` is, as people see it."""
    return File(**_shared(row))


def _stored(row: Any) -> StoredFile:
    return StoredFile(
        **_shared(row),
        owner=row.owner,
        life=FileState(row.state),
        key=row.key,
        peaks_key=row.peaks_key,
        poster_key=row.poster_key,
        transcript_version=row.transcript_version,
    )


def _shared(row: Any) -> dict[str, Any]:
    trashed_at: datetime | None = row.trashed_at
    return {
        "id": FileId(row.id),
        "name": row.name,
        "size": row.size,
        "state": FileState.TRASHED if trashed_at else FileState(row.state),
        "content_type": row.content_type,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "sha256": row.sha256,
        "duration": row.duration,
        "language": row.language,
        "has_video": row.kind == MediaKind.VIDEO,
        "has_transcript": row.transcript_version is not None,
        "options": msgspec.convert(row.options, Options),
        "warnings": tuple(row.warnings),
        "error": row.error,
        "trashed_at": trashed_at,
    }


def _chunk(row: Any) -> ChunkRow:
    clips = tuple((float(start), float(end)) for start, end in row.clips)
    return ChunkRow(index=row.index, start=row.start, end=row.end, audio_end=row.audio_end, clips=clips, key=row.key)

"""Uploads under way, and which objects have arrived."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    and_,
    exists,
    func,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert

from auricle.access.store import principals
from auricle.contract.store import Store
from auricle.files.model import FileId
from auricle.files.relations import bytes_kept, originals
from auricle.intake.model import DROPS, Upload, UploadId, UploadState
from auricle.schema import metadata

uploads = Table(
    "uploads",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("file_id", Uuid, nullable=False),
    Column("owner", Uuid, nullable=False),
    Column("key", Text, nullable=False, unique=True),
    Column("ref", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("part_size", BigInteger, nullable=False),
    Column("state", Text, nullable=False, server_default=UploadState.OPEN),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Index("uploads_open", "expires_at", postgresql_where="state = 'open'"),
)
arrivals = Table(
    "arrivals",
    metadata,
    Column("key", Text, nullable=False),
    Column("etag", Text, nullable=False),
    Column("file_id", Uuid, nullable=False, index=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("key", "etag"),
)
DROP_KEPT = timedelta(hours=1)
"""A dropped object stays this long after it was pinned: whoever is about to replace it has done so, and keeps the newer one."""

RESERVING = 7022
"""The lock of whoever takes room for an upload, where there is not room for any."""
LOOKED_UP = 1000
"""Pairs of one query: PostgreSQL takes 65,535 parameters at most."""


class IntakeStore(Store):
    """Uploads and arrivals."""

    def add(
        self, id: UploadId, file_id: FileId, owner: UUID, *, key: str, ref: str, size: int, part_size: int, hours: float
    ) -> Upload:
        """A new upload, open for `hours`."""
        values = {"id": id, "file_id": file_id, "owner": owner, "key": key, "ref": ref, "size": size, "part_size": part_size}
        statement = uploads.insert().values(**values, expires_at=func.now() + timedelta(hours=hours))
        return _upload(self.db.execute(statement.returning(*_COLUMNS)).one())

    def get(self, owner: UUID, id: UploadId) -> Upload | None:
        """The owner's upload."""
        row = self.db.execute(select(*_COLUMNS).where(uploads.c.owner == owner, uploads.c.id == id)).first()
        return _upload(row) if row else None

    def held(self, owner: UUID, id: UploadId) -> Upload | None:
        """As `get`, locked until the unit of work ends."""
        query = select(*_COLUMNS).where(uploads.c.owner == owner, uploads.c.id == id).with_for_update()
        row = self.db.execute(query).first()
        return _upload(row) if row else None

    def held_by_key(self, key: str) -> Upload | None:
        """The upload whose object has this key, locked."""
        row = self.db.execute(select(*_COLUMNS).where(uploads.c.key == key).with_for_update()).first()
        return _upload(row) if row else None

    def close(self, id: UploadId, state: UploadState) -> None:
        """The upload is over."""
        self.db.execute(uploads.update().where(uploads.c.id == id).values(state=state))

    def expired(self, limit: int) -> list[Upload]:
        """Uploads that were not finished in time, locked."""
        query = select(*_COLUMNS).where(uploads.c.state == UploadState.OPEN, uploads.c.expires_at < func.now())
        query = query.order_by(uploads.c.expires_at).limit(limit).with_for_update(skip_locked=True)
        return [_upload(row) for row in self.db.execute(query)]

    def trim(self, days: int) -> None:
        """Forget uploads that have been over for long."""
        old = uploads.c.expires_at < func.now() - timedelta(days=days)
        self.db.execute(uploads.delete().where(uploads.c.state != UploadState.OPEN, old))

    def taken(self, *, alone: bool = False) -> int:
        """Bytes of all files, announced ones included. `alone`: nobody else asks so before this unit of work ends."""
        if alone:
            self.db.execute(select(func.pg_advisory_xact_lock(RESERVING)))
        row = self.db.execute(bytes_kept).one()
        return int(row.stored + row.unfinished)

    # Arrivals.

    def arrive(self, key: str, etag: str, file_id: FileId) -> bool:
        """Whoever says first that this version is there makes it `file_id`; False for everybody else."""
        statement = insert(arrivals).values(key=key, etag=etag, file_id=file_id).on_conflict_do_nothing()
        return self.db.execute(statement.returning(arrivals.c.key)).first() is not None

    def arrived_of(self, told: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Which of these keys and versions have arrived already."""
        pairs = list(dict.fromkeys(told))
        found: set[tuple[str, str]] = set()
        for start in range(0, len(pairs), LOOKED_UP):
            some = pairs[start : start + LOOKED_UP]
            query = select(arrivals.c.key, arrivals.c.etag).where(tuple_(arrivals.c.key, arrivals.c.etag).in_(some))
            found |= {(row.key, row.etag) for row in self.db.execute(query)}
        return found

    def etag_of(self, key: str, file_id: FileId) -> str | None:
        """The version of `key` that is the file."""
        query = select(arrivals.c.etag).where(arrivals.c.key == key, arrivals.c.file_id == file_id)
        found: str | None = self.db.execute(query).scalar()
        return found

    def leftovers(self, limit: int) -> list[tuple[str, str]]:
        """Key and version of objects that are needed no more: pinned elsewhere (drops: a while ago), or purged."""
        dropped = arrivals.c.key.startswith(DROPS, autoescape=True)
        settled = or_(~dropped, arrivals.c.created_at < func.now() - DROP_KEPT)
        pinned = and_(originals.c.key.is_not(None), originals.c.key != arrivals.c.key)
        query = select(arrivals.c.key, arrivals.c.etag).join(originals, originals.c.file_id == arrivals.c.file_id)
        query = query.where(or_(originals.c.purged, and_(pinned, settled))).limit(limit)
        return [(row.key, row.etag) for row in self.db.execute(query)]

    def consumed(self, key: str, etag: str) -> None:
        """The object is gone; the same bytes under the same key would be a new arrival."""
        self.db.execute(arrivals.delete().where(arrivals.c.key == key, arrivals.c.etag == etag))

    def has_principal(self, id: UUID) -> bool:
        """Whether there is anybody of that id to drop something for."""
        return bool(self.db.execute(select(exists().where(principals.c.id == id))).scalar())


_LEFT = func.greatest(func.extract("epoch", uploads.c.expires_at - func.now()), 0)
_COLUMNS = (*uploads.c, _LEFT.label("seconds_left"))


def _upload(row: Any) -> Upload:
    return Upload(
        id=UploadId(row.id),
        file_id=FileId(row.file_id),
        owner=row.owner,
        key=row.key,
        ref=row.ref,
        size=row.size,
        part_size=row.part_size,
        state=UploadState(row.state),
        expires_at=row.expires_at,
        seconds_left=float(row.seconds_left),
    )

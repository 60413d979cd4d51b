"""The trail in the database. Functions insert entries; numbers, hashes and anchors are written by the database alone (0005)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    LargeBinary,
    Select,
    Table,
    Text,
    Uuid,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from auricle.admin.audit.chain import GENESIS, Anchor, Entry, digest
from auricle.admin.audit.model import EVERYTHING, AuditEvent, AuditFilter, AuditRow
from auricle.contract.store import Store
from auricle.schema import metadata

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("actor", Uuid),
    Column("behalf_of", Uuid),
    Column("credential", Text),
    Column("credential_id", Uuid),
    Column("address", Text),
    Column("user_agent", Text),
    Column("function", Text),
    Column("subject_kind", Text),
    Column("subject_id", Text),
    Column("trace_id", Text),
    Column("details", JSONB, nullable=False, server_default="{}"),
    Column("digest", LargeBinary, CheckConstraint("octet_length(digest) = 32", name="audit_events_digest"), nullable=False),
    Index("audit_events_by_time", "at"),
    Index("audit_events_by_kind", "kind", "id"),
    Index("audit_events_by_actor", "actor", "id"),
    Index("audit_events_by_subject", "subject_id", "id"),
    Index("audit_events_by_address", "address", "id"),
)
audit_links = Table(
    "audit_links",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("sealed_at", DateTime(timezone=True), nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Index("audit_links_by_time", "sealed_at"),
)
audit_head = Table(
    "audit_head",
    metadata,
    Column("one", Boolean, CheckConstraint("one", name="audit_head_one"), primary_key=True, server_default="true"),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("sealed_at", DateTime(timezone=True), nullable=False),
)
audit_anchors = Table(
    "audit_anchors",
    metadata,
    Column("day", Date, primary_key=True),
    Column("previous_seq", BigInteger, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("object_key", Text, nullable=False),
    Column("object_sha256", Text, nullable=False),
    Column("whole", Boolean, nullable=False),
    Column("anchored_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("pruned_at", DateTime(timezone=True)),
    Index("audit_anchors_by_seq", "seq"),
)
CHAIN = 7003
"""The lock of the chain's last link; held by whoever commits an entry, for the length of the commit."""
_FIELDS = tuple(name for name in AuditRow.__struct_fields__ if name != "details")


class Recorded(msgspec.Struct, frozen=True):
    """A link of the chain with what stands there: `entry` None where the entry itself is gone or cannot be read."""

    seq: int
    entry: Entry | None
    digest: bytes


class Head(msgspec.Struct, frozen=True):
    """Where the chain ends (`seq`, `hash` in hex), and how far it was pruned (`floor`, with the anchor's hash)."""

    seq: int
    hash: str
    floor: int
    floor_hash: bytes


class AuditStore(Store):
    """The trail, in one unit of work."""

    def append(self, event: AuditEvent) -> None:
        """Add an entry; it is chained when this transaction commits, and gone when it does not."""
        row = {name: getattr(event, name) for name in _FIELDS}
        self.db.execute(audit_events.insert().values(**row, details=msgspec.to_builtins(event.details), digest=digest(event)))

    def page(self, limit: int, before: UUID | None, wanted: AuditFilter = EVERYTHING) -> list[AuditRow]:
        """Entries, newest first (ids are UUIDv7)."""
        query = _narrowed(select(audit_events), wanted)
        if before is not None:
            query = query.where(audit_events.c.id < before)
        return [_row(row) for row in self.db.execute(query.order_by(audit_events.c.id.desc()).limit(limit))]

    def entries(self, after: int, limit: int, wanted: AuditFilter = EVERYTHING, last: int | None = None) -> list[Entry]:
        """Chained entries numbered above `after`, to `last` at most, oldest first."""
        query = select(audit_links, *_event_columns()).join(audit_events, audit_events.c.id == audit_links.c.event_id)
        query = _narrowed(query, wanted).where(audit_links.c.seq > after)
        if last is not None:
            query = query.where(audit_links.c.seq <= last)
        return [_entry(row) for row in self.db.execute(query.order_by(audit_links.c.seq).limit(limit))]

    def recorded(self, after: int, last: int, limit: int) -> list[Recorded]:
        """The chain as it stands, for checking: every link, whatever has become of its entry."""
        query = select(audit_links, audit_events.c.digest, *_event_columns())
        query = query.outerjoin(audit_events, audit_events.c.id == audit_links.c.event_id)
        query = query.where(audit_links.c.seq > after, audit_links.c.seq <= last)
        return [_recorded(row) for row in self.db.execute(query.order_by(audit_links.c.seq).limit(limit))]

    def unsealed(self) -> UUID | None:
        """The first entry that no link knows: nobody but a forger gets one in."""
        query = select(audit_events.c.id).outerjoin(audit_links, audit_links.c.event_id == audit_events.c.id)
        found: UUID | None = self.db.execute(
            query.where(audit_links.c.seq.is_(None)).order_by(audit_events.c.id).limit(1)
        ).scalar()
        return found

    def hash_at(self, seq: int) -> bytes | None:
        """The hash of one link."""
        found: bytes | None = self.db.execute(select(audit_links.c.hash).where(audit_links.c.seq == seq)).scalar()
        return found

    def head(self) -> Head:
        """The chain's end and its floor. A head that is gone counts as that of an empty chain: nothing reaches it then."""
        head = self.db.execute(select(audit_head)).first()
        floor = self.db.execute(
            select(audit_anchors.c.seq, audit_anchors.c.hash)
            .where(audit_anchors.c.pruned_at.is_not(None))
            .order_by(audit_anchors.c.seq.desc())
            .limit(1)
        ).first()
        return Head(
            head.seq if head else 0,
            (head.hash if head else GENESIS).hex(),
            floor.seq if floor else 0,
            floor.hash if floor else GENESIS,
        )

    def last_seq(self) -> int:
        """The highest number of any link."""
        return int(self.db.execute(select(func.max(audit_links.c.seq))).scalar() or 0)

    def settle(self) -> None:
        """Wait for the commits that are being sealed now: what was sealed until now is seen by the next query."""
        self.db.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": CHAIN})

    def now(self) -> datetime:
        """The database's clock, which also seals."""
        found: datetime = self.db.execute(select(func.clock_timestamp())).scalar_one()
        return found

    def last_of(self, day: date) -> int:
        """The last number that was sealed before `day` (UTC) ended; 0 without any."""
        end = datetime.combine(day + timedelta(days=1), time(), UTC)
        query = select(func.max(audit_links.c.seq)).where(audit_links.c.sealed_at < end)
        return int(self.db.execute(query).scalar() or 0)

    def first_day(self) -> date | None:
        """The day (UTC) of the first link there is."""
        found = self.db.execute(select(func.min(audit_links.c.sealed_at))).scalar()
        return found.astimezone(UTC).date() if found else None

    def last_anchor(self) -> Anchor | None:
        """The newest anchor."""
        row = self.db.execute(select(audit_anchors).order_by(audit_anchors.c.day.desc()).limit(1)).first()
        return _anchor(row) if row else None

    def anchors(self, after: int = -1, since: date | None = None, until: date | None = None) -> Iterator[Anchor]:
        """Anchors, oldest first: at entries above `after`, of days from `since` to `until` (included)."""
        query = select(audit_anchors).where(audit_anchors.c.seq > after)
        if since is not None:
            query = query.where(audit_anchors.c.day >= since)
        if until is not None:
            query = query.where(audit_anchors.c.day <= until)
        for row in self.db.execute(query.order_by(audit_anchors.c.day)):
            yield _anchor(row)

    def anchor(self, day: date, key: str, sha256: str, whole: bool) -> None:
        """Write down where the chain stood when `day` ended. Days follow each other; the same again is fine."""
        self.db.execute(
            text("select audit_anchor(:day, :key, :sha256, :whole)"), {"day": day, "key": key, "sha256": sha256, "whole": whole}
        )

    def prune(self, keep_from: date) -> int | None:
        """Delete the oldest published day before `keep_from`; returns how many entries, None when there is no such day."""
        found: int | None = self.db.execute(text("select audit_prune(:day)"), {"day": keep_from}).scalar()
        return found


def _event_columns() -> list[Column[Any]]:
    return [column for column in audit_events.c if column.name != "digest"]


def _narrowed(query: Select[Any], wanted: AuditFilter) -> Select[Any]:
    """`query` with the conditions of `wanted`."""
    c = audit_events.c
    if wanted.kinds:
        query = query.where(c.kind.in_([kind.value for kind in wanted.kinds]))
    if wanted.since is not None:
        query = query.where(c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(c.at < wanted.until)
    for name in ("outcome", "actor", "behalf_of", "subject_kind", "subject_id", "address", "function", "trace_id"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(c[name] == value)
    return query


def _row(row: Any) -> AuditRow:
    fields = {name: getattr(row, name) for name in _FIELDS}
    return AuditRow(**fields | {"at": row.at.astimezone(UTC)}, details=row.details)


def _entry(row: Any) -> Entry:
    return Entry(seq=row.seq, sealed_at=row.sealed_at.astimezone(UTC), hash=bytes(row.hash).hex(), event=_row(row))


def _recorded(row: Any) -> Recorded:
    readable = row.id is not None and isinstance(row.details, dict)
    return Recorded(row.seq, _entry(row) if readable else None, bytes(row.digest or b""))


def _anchor(row: Any) -> Anchor:
    return Anchor(
        day=row.day,
        previous_seq=row.previous_seq,
        previous_hash=bytes(row.previous_hash).hex(),
        seq=row.seq,
        hash=bytes(row.hash).hex(),
        object=row.object_key,
        sha256=row.object_sha256,
        whole=row.whole,
    )

"""How long the trail stays where: every day is published to the blob store when it is over, and old days leave the database.

A published day is the bytes of its entries and nothing else, so that publishing it twice, or after a crash, gives the same
object. Only published days that were whole are pruned; their anchors stay, and the chain begins at the last of them.
Published objects are not deleted here: how long they are kept is the bucket's rule (and its object lock, where it has one).
"""

from __future__ import annotations

import gzip
import logging
import tempfile
from datetime import UTC, date, datetime, timedelta
from typing import IO

from msgspec import Struct

from auricle.admin.audit.actions import record
from auricle.admin.audit.chain import GENESIS, Anchor, Break, Walk
from auricle.admin.audit.export import BLOCK, anchor_line, jsonl, object_key, sha256_of
from auricle.admin.audit.kinds import ActorKind, EventKind, Outcome, SubjectKind
from auricle.admin.audit.model import AuditEvent, Details
from auricle.admin.audit.store import AuditStore
from auricle.admin.audit.verifying import PAGE, checked
from auricle.contract.ids import uuid7
from auricle.contract.store import Units
from auricle.errors import Conflict
from auricle.ports.blobs import BlobStore

log = logging.getLogger(__name__)
SHORTEST = 90
"""Days that an entry stays in the database at least (FedRAMP AU-11); the database refuses less, whoever asks."""
MOST = 31
"""Days that are published in one go: after a long sleep the next calls do the rest."""
IN_MEMORY = 4 * 2**20
"""Bytes of a day's object that are held in memory; above, they are in a temporary file."""


class Published(Struct, frozen=True, kw_only=True):
    """A day that was published, and where its chain was found broken, if it was."""

    anchor: Anchor
    entries: int
    broken: Break | None = None


def publish_due(units: Units, blobs: BlobStore, most: int = MOST) -> list[Published]:
    """Publish every day (UTC) that is over and not published yet, oldest first. Safe at any time, as often as one likes.

    Errors: `Conflict` when another object is where a day belongs; those of the blob store.
    """
    return [_publish(units, blobs, day) for day in _due(units)[:most]]


def prune_due(units: Units, keep_days: int) -> int:
    """Delete entries of published days older than `keep_days`, a day per transaction; returns how many entries.

    `ValueError` below 90 days. A day that was not whole when it was published stays, and all days after it.
    """
    if keep_days < SHORTEST:
        raise ValueError(f"The audit trail is kept for at least {SHORTEST} days.")
    total = 0
    while True:
        with units.unit() as connection:
            store = AuditStore(connection)
            keep_from = store.now().astimezone(UTC).date() - timedelta(days=keep_days)
            gone = store.prune(keep_from)
            if gone is None:
                return total
            if gone:
                record(connection, _told(store.now(), EventKind.AUDIT_PRUNED, Details(count=gone, last_seq=store.head().floor)))
            total += gone


def _due(units: Units) -> list[date]:
    with units.unit() as connection:
        store = AuditStore(connection)
        store.settle()  # whatever was sealed before midnight is committed now, and nothing more will be
        today = store.now().astimezone(UTC).date()
        last = store.last_anchor()
        first = last.day + timedelta(days=1) if last else store.first_day() or today
    return [first + timedelta(days=n) for n in range((today - first).days)]


def _publish(units: Units, blobs: BlobStore, day: date) -> Published:
    anchor = _anchor(units, day)
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as file:
        # No name and no time in the header: the same day is the same bytes.
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
            entries, broken = _write(units, anchor, packed)
        file.seek(0)
        sha256 = sha256_of(file)
        file.seek(0)
        sha256 = _put(blobs, day, file, sha256)
    with units.unit() as connection:
        store = AuditStore(connection)
        store.anchor(day, object_key(day), sha256, broken is None)
        kind = EventKind.AUDIT_BROKEN if broken else EventKind.AUDIT_PUBLISHED
        details = Details(day=day, count=entries, first_seq=anchor.previous_seq + 1, last_seq=anchor.seq)
        record(connection, _told(store.now(), kind, details))
    if broken is not None:
        log.error("The audit trail of %s is broken at entry %d: %s", day, broken.seq, broken.detail)
    return Published(anchor=anchor, entries=entries, broken=broken)


def _anchor(units: Units, day: date) -> Anchor:
    """Where the chain stood when `day` ended."""
    with units.unit() as connection:
        store = AuditStore(connection)
        last = store.last_anchor()
        seq, hash = (last.seq, last.hash) if last else (0, GENESIS.hex())
        reached = max(store.last_of(day), seq)
        found = store.hash_at(reached) if reached > seq else None
    return Anchor(day=day, previous_seq=seq, previous_hash=hash, seq=reached, hash=found.hex() if found else hash)


def _write(units: Units, anchor: Anchor, file: IO[bytes] | gzip.GzipFile) -> tuple[int, Break | None]:
    """The day's anchor and entries; returns how many, and the first break. Behind a break all that is left is written still."""
    walk: Walk | None = Walk(anchor.previous_seq, bytes.fromhex(anchor.previous_hash))
    file.write(anchor_line(anchor))
    after, written, broken = anchor.previous_seq, 0, None
    while after < anchor.seq:
        with units.unit() as connection:
            links = AuditStore(connection).recorded(after, anchor.seq, PAGE)
        if not links:
            break
        after = links[-1].seq
        if walk is not None:
            broken = next((found for found in checked(walk, links, {}) if isinstance(found, Break)), None)
            walk = walk if broken is None else None
        entries = [link.entry for link in links if link.entry is not None]
        file.write(b"".join(map(jsonl, entries)))
        written += len(entries)
    return written, broken or (walk.reaches(anchor.seq, anchor.hash) if walk else None)


def _put(blobs: BlobStore, day: date, file: IO[bytes], sha256: str) -> str:
    """Store the object and its checksum; returns the checksum of the object that is there.

    What is there already has been published (a crash came before its anchor), and is never replaced.
    """
    key = object_key(day)
    if blobs.stat(key) is None:
        blobs.put(key, file, "application/gzip")  # type: ignore[arg-type]  # a spooled file is a BinaryIO in all but name
    else:
        with blobs.open(key) as there:
            sha256 = sha256_of(there)
        with blobs.open(key) as there, gzip.open(there) as old, gzip.open(file) as new:
            if not _same(old, new):
                raise Conflict(
                    f"Another object is at {key}, which is where this day's audit trail belongs. Look at it, then move it."
                )
    blobs.put(key + ".sha256", f"{sha256}  {day:%d}.jsonl.gz\n".encode(), "text/plain")
    return sha256


def _same(one: gzip.GzipFile, other: gzip.GzipFile) -> bool:
    while True:
        block = one.read(BLOCK)
        if block != other.read(BLOCK):
            return False
        if not block:
            return True


def _told(at: datetime, kind: EventKind, details: Details) -> AuditEvent:
    """The trail tells of itself."""
    outcome = Outcome.FAILURE if kind is EventKind.AUDIT_BROKEN else Outcome.SUCCESS
    return AuditEvent(
        id=uuid7(),
        at=at,
        kind=kind,
        outcome=outcome,
        actor_kind=ActorKind.SYSTEM,
        subject_kind=SubjectKind.AUDIT,
        subject_id="trail",
        details=details,
    )

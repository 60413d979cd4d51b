"""The chain: each entry's hash covers the entry and the hash before it, so that nothing can be changed, moved or left out.

    digest = SHA-256("auricle.audit.v1" LF entry as JSON with sorted keys, without empty fields)
    hash   = SHA-256(hash before ‖ number ‖ microseconds from 1970 to its sealing ‖ digest)     numbers: 8 bytes, big end

The digest is made by whoever records; number, time and hash by the database when the transaction commits (see the
migration). Anybody with an export and these two lines can check it. What a chain cannot show by itself is a cut tail, or a
tail that was forged whole with all its hashes: the head, and the anchors published every day outside the database, do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

import msgspec
from msgspec import Struct

from auricle.admin.audit.model import AuditEvent, AuditRow

GENESIS = bytes(32)
"""The hash before the first entry."""
DOMAIN = b"auricle.audit.v1\n"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Entry(Struct, frozen=True, kw_only=True):
    """A chained entry. `seq` counts from 1 without gaps; `sealed_at` is the database's time of the commit; `hash` is in hex."""

    seq: int
    sealed_at: datetime
    hash: str
    event: AuditRow


class Anchor(Struct, frozen=True, kw_only=True):
    """Where the chain stood when a day (UTC) ended: `seq` and `hash` of the last entry sealed before it did.

    `previous_seq` and `previous_hash` are those of the day before; a day without entries repeats them. `object` is the key
    under which the day was published, `sha256` that object's; `whole`: the day was verified while it was published.
    """

    day: date
    previous_seq: int
    previous_hash: str
    seq: int
    hash: str
    object: str | None = None
    sha256: str | None = None
    whole: bool = True


class Fault(StrEnum):
    """What is wrong with the trail."""

    ALTERED = "altered"  # an entry is not what was recorded
    MOVED = "moved"  # an entry, its number or its time is not where it was sealed
    MISSING = "missing"  # an entry is gone from the middle
    CUT = "cut"  # entries are gone from the end
    UNSEALED = "unsealed"  # an entry stands outside of the chain: it was slipped in
    ANCHOR = "anchor"  # the chain is not the one whose hash was published


class Break(Struct, frozen=True, kw_only=True):
    """The first place where the trail is broken. `seq` is the number at which it shows; `detail` is a sentence."""

    seq: int
    fault: Fault
    detail: str


def canonical(entry: AuditEvent | AuditRow) -> bytes:
    """The bytes that are hashed. Empty fields are left out: fields added later do not change what older entries hash to."""
    return msgspec.json.encode(entry, order="sorted")


def digest(entry: AuditEvent | AuditRow) -> bytes:
    """SHA-256 of an entry."""
    return hashlib.sha256(DOMAIN + canonical(entry)).digest()


def link(before: bytes, seq: int, sealed_at: datetime, content: bytes) -> bytes:
    """The hash of entry `seq`, whose digest is `content`, after the hash `before`."""
    micros = (sealed_at - _EPOCH) // _MICROSECOND
    return hashlib.sha256(before + seq.to_bytes(8, "big") + micros.to_bytes(8, "big", signed=True) + content).digest()


class Walk:
    """Goes along the chain entry by entry and stops believing at the first break."""

    def __init__(self, seq: int = 0, hash: bytes = GENESIS) -> None:
        """Start behind entry `seq`, whose hash is `hash`."""
        self.seq = seq
        self.hash = hash
        self.sealed_at: datetime | None = None

    def step(self, entry: Entry, recorded: bytes | None = None) -> Break | None:
        """Take the next entry. `recorded` is the digest that stands beside it, where there is one."""
        expected = self.seq + 1
        if entry.seq > expected:
            return Break(seq=expected, fault=Fault.MISSING, detail=f"Entries {expected} to {entry.seq - 1} are gone.")
        if entry.seq < expected:
            return Break(seq=entry.seq, fault=Fault.MOVED, detail=f"Entry {entry.seq} comes after entry {self.seq}.")
        content = digest(entry.event)
        if recorded is not None and content != recorded:
            return Break(seq=entry.seq, fault=Fault.ALTERED, detail=f"Entry {entry.seq} is not what was recorded.")
        made = link(self.hash, entry.seq, entry.sealed_at, content)
        if made.hex() != entry.hash:
            # With a digest beside it that fits, the entry is one of ours in a wrong place; without one, both are possible.
            fault = Fault.ALTERED if recorded is None else Fault.MOVED
            return Break(seq=entry.seq, fault=fault, detail=f"Entry {entry.seq} does not follow from entry {self.seq}.")
        self.seq, self.hash, self.sealed_at = entry.seq, made, entry.sealed_at
        return None

    def reaches(self, seq: int, hash: str) -> Break | None:
        """Whether the end of the walk is entry `seq` with `hash`, as a head or an anchor says."""
        if self.seq < seq:
            return Break(seq=self.seq + 1, fault=Fault.CUT, detail=f"The trail ends at {self.seq}; it was at {seq} already.")
        if self.seq > seq or self.hash.hex() != hash:
            return Break(seq=seq, fault=Fault.ANCHOR, detail=f"The hash at entry {seq} is not the one that was published.")
        return None


def first_break(entries: Iterable[Entry], anchor: Anchor) -> Break | None:
    """Check one published day by itself: its entries follow from the day before and end at the day's own anchor."""
    walk = Walk(anchor.previous_seq, bytes.fromhex(anchor.previous_hash))
    for entry in entries:
        found = walk.step(entry)
        if found is not None:
            return found
    return walk.reaches(anchor.seq, anchor.hash)

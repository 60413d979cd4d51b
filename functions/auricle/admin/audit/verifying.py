"""Whether the trail is whole: in the database by itself, and against what was published outside of it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from datetime import date

from msgspec import Struct

from auricle.admin.audit.chain import Anchor, Break, Entry, Fault, Walk, first_break
from auricle.admin.audit.export import PREFIX, day_of, object_key, read_day, sha256_of
from auricle.admin.audit.store import AuditStore, Head, Recorded
from auricle.contract.store import Units
from auricle.ports.blobs import BlobStore

PAGE = 1000
"""Entries that are read in one short transaction."""


class Verdict(Struct, frozen=True, kw_only=True):
    """What was looked at (numbers `first` to `last`, `checked` of them held), where it ends, and the first break, if any."""

    first: int
    last: int
    checked: int
    hash: str
    broken: Break | None = None


def verify(units: Units, first: int | None = None, last: int | None = None) -> Verdict:
    """Walk the chain from entry `first` to `last`; without them all of it, with its end and the published anchors.

    Work goes on meanwhile. What is pruned under the walk's feet is no break.
    """
    while True:
        verdict = _verify(units, first, last)
        if verdict.broken is None:
            return verdict
        with units.unit() as connection:
            if AuditStore(connection).head().floor < verdict.broken.seq:
                return verdict


def verify_published(units: Units, blobs: BlobStore, since: date | None = None, until: date | None = None) -> Break | None:
    """Hold the days in the blob store against themselves and against the database: a trail cut or forged whole shows here."""
    seen: set[date] = set()
    for blob in blobs.list(PREFIX):
        day = day_of(blob.key)
        if day is not None and (since is None or since <= day) and (until is None or day <= until):
            seen.add(day)
            found = _published_day(units, blobs, day)
            if found is not None:
                return found
    with units.unit() as connection:
        for anchor in AuditStore(connection).anchors(since=since, until=until):
            if anchor.day not in seen:
                return Break(seq=anchor.seq, fault=Fault.ANCHOR, detail=f"The published object of {anchor.day} is gone.")
    return None


def checked(walk: Walk, links: list[Recorded], anchors: Mapping[int, str]) -> Iterator[Entry | Break]:
    """The entries of `links` as far as the chain holds; a break ends it. `anchors`: hashes in hex by number."""
    for found in links:
        wrong = _missing(walk, found) or (found.entry and walk.step(found.entry, found.digest))
        if wrong is None and anchors.get(found.seq, walk.hash.hex()) != walk.hash.hex():
            wrong = walk.reaches(found.seq, anchors[found.seq])
        if wrong is not None:
            yield wrong
            return
        assert found.entry is not None
        yield found.entry


def _missing(walk: Walk, found: Recorded) -> Break | None:
    expected = walk.seq + 1
    if found.seq > expected:
        return Break(seq=expected, fault=Fault.MISSING, detail=f"Entries {expected} to {found.seq - 1} are gone.")
    if found.entry is None:
        return Break(
            seq=found.seq, fault=Fault.MISSING, detail=f"Entry {found.seq} is gone; only its place in the chain is left."
        )
    return None


def _verify(units: Units, first: int | None, last: int | None) -> Verdict:
    with units.unit() as connection:
        store = AuditStore(connection)
        highest = store.last_seq()  # before the head: what is sealed in between must not look like a forgery
        head = store.head()
        begin = max(first or 1, head.floor + 1)
        end = head.seq if last is None else min(last, head.seq)
        before = head.floor_hash if begin == head.floor + 1 else store.hash_at(begin - 1)
        anchors = {anchor.seq: anchor.hash for anchor in store.anchors(after=begin - 1)}
    if before is None:
        wrong = Break(seq=begin - 1, fault=Fault.MISSING, detail=f"Entry {begin - 1} is gone, before which this would begin.")
        return Verdict(first=begin, last=end, checked=0, hash="", broken=wrong)
    walk = Walk(begin - 1, before)
    broken = _walked(units, walk, end, anchors)
    if broken is None and last is None:
        broken = _ended(units, walk, head, highest, max(anchors, default=0))
    return Verdict(first=begin, last=end, checked=walk.seq - begin + 1, hash=walk.hash.hex(), broken=broken)


def _walked(units: Units, walk: Walk, end: int, anchors: Mapping[int, str]) -> Break | None:
    while walk.seq < end:
        with units.unit() as connection:
            links = AuditStore(connection).recorded(walk.seq, end, PAGE)
        if not links:
            return walk.reaches(end, "")
        for found in checked(walk, links, anchors):
            if isinstance(found, Break):
                return found
    return None


def _ended(units: Units, walk: Walk, head: Head, highest: int, anchored: int) -> Break | None:
    """What only the end shows: a cut tail, links that no head knows, entries that no link knows."""
    if highest > head.seq:
        return Break(
            seq=head.seq + 1, fault=Fault.UNSEALED, detail=f"Entries above {head.seq}, where the chain ends, were slipped in."
        )
    if anchored > head.seq:
        return Break(
            seq=head.seq + 1, fault=Fault.CUT, detail=f"The trail ends at {head.seq}; {anchored} was published already."
        )
    found = walk.reaches(head.seq, head.hash)
    if found is not None:
        return found
    with units.unit() as connection:
        loose = AuditStore(connection).unsealed()
    if loose is not None:
        return Break(
            seq=head.seq + 1, fault=Fault.UNSEALED, detail=f"Entry {loose} stands outside of the chain: it was slipped in."
        )
    return None


def _published_day(units: Units, blobs: BlobStore, day: date) -> Break | None:
    """The object of one day by itself, then against the database's chain or, where that was pruned, against its anchor."""
    key = object_key(day)
    with blobs.open(key) as stream:
        sha256 = sha256_of(stream)
    try:
        with blobs.open(key) as stream, gzip.open(stream) as lines:
            anchor, entries = read_day(iter(lines))
            found = first_break(entries, anchor)
    except (OSError, EOFError, ValueError) as error:
        return Break(seq=0, fault=Fault.ALTERED, detail=f"The published object of {day} cannot be read: {error}.")
    if found is not None:
        return found
    with units.unit() as connection:
        store = AuditStore(connection)
        known = next(store.anchors(since=day, until=day), None)
        link = store.hash_at(anchor.seq)
        floor = store.head().floor
    return _agrees(anchor, sha256, known, link, floor)


def _agrees(anchor: Anchor, sha256: str, known: Anchor | None, link: bytes | None, floor: int) -> Break | None:
    if known is not None and known.sha256 != sha256:
        return Break(
            seq=anchor.seq, fault=Fault.ANCHOR, detail=f"The object of {anchor.day} is not the one that was published."
        )
    if known is None and anchor.seq <= floor:
        return Break(seq=anchor.seq, fault=Fault.ANCHOR, detail=f"The database does not know that {anchor.day} was published.")
    if anchor.seq > floor and link is None:
        return Break(seq=anchor.seq, fault=Fault.CUT, detail=f"Entry {anchor.seq} was published on {anchor.day} and is gone.")
    there = link.hex() if link is not None and anchor.seq > floor else known and known.hash
    if there != anchor.hash:
        return Break(seq=anchor.seq, fault=Fault.ANCHOR, detail=f"The chain is not the one published on {anchor.day}.")
    return None

"""What was published outside of the database convicts a database that was forged or cut whole."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import text

from auricle.admin.audit.chain import Fault
from auricle.admin.audit.export import object_key
from auricle.admin.audit.retention import publish_due
from auricle.admin.audit.store import AuditStore
from auricle.admin.audit.verifying import verify, verify_published
from builders.audit_trail import Trail
from builders.memory_blobs import MemoryBlobs

TODAY = datetime.now(UTC).date()


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def published(trail: Trail, blobs: MemoryBlobs) -> None:
    for n in (3, 2, 1):
        trail.live(ago(n), 3)
    publish_due(trail, blobs)
    assert verify_published(trail, blobs) is None


def test_a_tail_that_was_cut_with_head_and_anchors_is_found_by_what_was_published(trail: Trail, blobs: MemoryBlobs) -> None:
    published(trail, blobs)
    with trail.tampering() as connection:
        connection.execute(text("delete from audit_events where id in (select event_id from audit_links where seq > 7)"))
        connection.execute(text("delete from audit_links where seq > 7"))
        connection.execute(text("delete from audit_anchors where seq > 7"))
        connection.execute(
            text("update audit_head set seq = 7, hash = l.hash, sealed_at = l.sealed_at from audit_links l where l.seq = 7")
        )
    assert verify(trail).broken is None  # the database by itself is none the wiser
    found = verify_published(trail, blobs)
    assert found is not None
    assert (found.seq, found.fault) == (9, Fault.CUT)


def test_a_history_forged_whole_is_found_by_what_was_published(trail: Trail, blobs: MemoryBlobs) -> None:
    published(trail, blobs)
    trail.empty()
    for n in (3, 2, 1):
        trail.live(ago(n), 3)
    assert verify(trail).broken is None
    found = verify_published(trail, blobs)
    assert found is not None
    assert (found.seq, found.fault) == (3, Fault.ANCHOR)


def test_a_cut_below_an_anchor_is_found_in_the_database(trail: Trail, blobs: MemoryBlobs) -> None:
    published(trail, blobs)
    with trail.tampering() as connection:
        connection.execute(text("delete from audit_events where id in (select event_id from audit_links where seq > 7)"))
        connection.execute(text("delete from audit_links where seq > 7"))
        connection.execute(
            text("update audit_head set seq = 7, hash = l.hash, sealed_at = l.sealed_at from audit_links l where l.seq = 7")
        )
    found = verify(trail).broken
    assert found is not None
    assert (found.seq, found.fault) == (8, Fault.CUT)


def test_a_chain_forged_from_an_anchored_entry_on_is_found_in_the_database(trail: Trail, blobs: MemoryBlobs) -> None:
    published(trail, blobs)
    with trail.unit() as connection:
        kept = list(AuditStore(connection).anchors())
    trail.empty()
    for n in (3, 2, 1):
        trail.live(ago(n), 3)
    for each in kept:
        with trail.unit() as connection:
            AuditStore(connection).anchor(each.day, "key", "sha", True)
    trail.tamper("update audit_anchors set hash = decode(:hash, 'hex') where day = :day", hash=kept[1].hash, day=kept[1].day)
    found = verify(trail).broken
    assert found is not None
    assert (found.seq, found.fault) == (6, Fault.ANCHOR)


def test_a_published_object_that_was_changed_or_removed_is_found(trail: Trail, blobs: MemoryBlobs) -> None:
    published(trail, blobs)
    key, data = object_key(ago(2)), blobs.open(object_key(ago(2))).read()
    lines = gzip.decompress(data).splitlines(keepends=True)
    for forged, fault in (
        (gzip.compress(b"".join(lines).replace(b"192.0.2.7", b"192.0.2.8")), Fault.ALTERED),
        (gzip.compress(b"".join(lines[:-1])), Fault.CUT),
        (gzip.compress(b"".join(lines)), Fault.ANCHOR),  # the same lines, other bytes
        (b"not gzip", Fault.ALTERED),
        (gzip.compress(b"{}"), Fault.ALTERED),
        (data[:-9], Fault.ALTERED),
    ):
        blobs.put(key, forged)
        found = verify_published(trail, blobs)
        assert found is not None, fault
        assert found.fault is fault
    assert verify_published(trail, blobs, since=ago(1)) is None
    blobs.delete(key)
    found = verify_published(trail, blobs)
    assert found is not None
    assert "gone" in found.detail

"""Every day is published once, as it was; old days leave the database and the chain still holds."""

from __future__ import annotations

import gzip
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import Connection, exc, text

from auricle.admin.audit.chain import GENESIS, Anchor, Entry, Fault, digest, first_break, link
from auricle.admin.audit.export import day_of, object_key, read_day
from auricle.admin.audit.kinds import EventKind
from auricle.admin.audit.model import AuditFilter
from auricle.admin.audit.retention import prune_due, publish_due
from auricle.admin.audit.store import AuditStore, audit_events
from auricle.admin.audit.verifying import verify, verify_published
from auricle.errors import Conflict, Retryable
from builders.audit_trail import Trail
from builders.memory_blobs import MemoryBlobs

TODAY = datetime.now(UTC).date()


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def object_of(blobs: MemoryBlobs, day: date) -> tuple[Anchor, list[Entry]]:
    anchor, entries = read_day(iter(gzip.decompress(blobs.open(object_key(day)).read()).splitlines(keepends=True)))
    return anchor, list(entries)


def told(trail: Trail, kind: EventKind) -> list[dict[str, object]]:
    with trail.unit() as connection:
        return [row.details for row in AuditStore(connection).page(100, None, AuditFilter(kinds=(kind,)))]


# Publishing.


def test_every_day_that_is_over_is_published_and_today_is_not(trail: Trail, blobs: MemoryBlobs) -> None:
    trail.live(ago(3), 4)
    trail.live(ago(1), 2)
    trail.add(2)
    done = publish_due(trail, blobs)
    assert [(each.anchor.day, each.entries, each.broken) for each in done] == [
        (ago(3), 4, None),
        (ago(2), 0, None),
        (ago(1), 2, None),
    ]
    assert sorted(blobs.objects) == sorted(
        key for n in (1, 2, 3) for key in (object_key(ago(n)), object_key(ago(n)) + ".sha256")
    )
    anchor, entries = object_of(blobs, ago(1))
    assert [entry.seq for entry in entries] == [5, 6]
    assert (anchor.previous_seq, anchor.seq, anchor.hash) == (4, 6, entries[-1].hash)


def test_keys_are_of_the_day() -> None:
    assert object_key(date(2031, 2, 3)) == "audit/2031/02/03.jsonl.gz"
    assert day_of("audit/2031/02/03.jsonl.gz") == date(2031, 2, 3)
    assert day_of("audit/2031/02/03.jsonl.gz.sha256") is None


def test_the_checksum_beside_a_day_is_what_sha256sum_reads(trail: Trail, blobs: MemoryBlobs) -> None:
    trail.live(ago(1), 2)
    publish_due(trail, blobs)
    data = blobs.open(object_key(ago(1))).read()
    said = blobs.open(object_key(ago(1)) + ".sha256").read().decode()
    assert said == f"{hashlib.sha256(data).hexdigest()}  {ago(1):%d}.jsonl.gz\n"


def test_a_published_day_can_be_checked_without_the_database_by_the_two_lines_of_the_book(
    trail: Trail, blobs: MemoryBlobs
) -> None:
    trail.live(ago(1), 5)
    publish_due(trail, blobs)
    anchor, entries = object_of(blobs, ago(1))
    before = bytes.fromhex(anchor.previous_hash)
    for entry in entries:
        before = link(before, entry.seq, entry.sealed_at, digest(entry.event))
        assert before.hex() == entry.hash
    assert before.hex() == anchor.hash


def test_days_follow_from_each_other(trail: Trail, blobs: MemoryBlobs) -> None:
    for n in (3, 2, 1):
        trail.live(ago(n), 3)
    publish_due(trail, blobs)
    hash, seq = GENESIS.hex(), 0
    for n in (3, 2, 1):
        anchor, entries = object_of(blobs, ago(n))
        assert (anchor.previous_seq, anchor.previous_hash) == (seq, hash)
        assert first_break(entries, anchor) is None
        hash, seq = anchor.hash, anchor.seq


def test_publishing_again_does_nothing(trail: Trail, blobs: MemoryBlobs) -> None:
    trail.live(ago(2), 3)
    publish_due(trail, blobs)
    before = dict(blobs.objects)
    assert publish_due(trail, blobs) == []
    assert blobs.objects == before


def test_a_crash_before_the_anchor_leads_to_the_same_object(trail: Trail, blobs: MemoryBlobs) -> None:
    trail.live(ago(1), 3)
    publish_due(trail, blobs)
    before = dict(blobs.objects)
    trail.tamper("delete from audit_anchors")
    assert [each.anchor.day for each in publish_due(trail, blobs)] == [ago(1)]
    assert blobs.objects == before
    blobs.delete(object_key(ago(1)))
    trail.tamper("delete from audit_anchors")
    publish_due(trail, blobs)
    assert blobs.open(object_key(ago(1))).read() == before[object_key(ago(1))][1]


def test_what_was_published_is_never_replaced_by_something_else(trail: Trail, blobs: MemoryBlobs) -> None:
    trail.live(ago(1), 3)
    publish_due(trail, blobs)
    before = dict(blobs.objects)
    trail.tamper("delete from audit_anchors")
    trail.tamper("update audit_events set outcome = 'failure'")
    with pytest.raises(Conflict, match="move it"):
        publish_due(trail, blobs)
    assert blobs.objects == before


def test_a_store_that_is_away_leaves_the_day_for_the_next_time(trail: Trail, blobs: MemoryBlobs) -> None:
    trail.live(ago(1), 3)
    blobs.trouble = Retryable("The object store is away.")
    with pytest.raises(Retryable):
        publish_due(trail, blobs)
    blobs.trouble = None
    assert [each.anchor.day for each in publish_due(trail, blobs)] == [ago(1)]


def test_after_a_long_sleep_days_are_published_a_few_at_a_time(trail: Trail, blobs: MemoryBlobs) -> None:
    trail.live(ago(5), 1)
    assert [each.anchor.day for each in publish_due(trail, blobs, most=2)] == [ago(5), ago(4)]
    assert [each.anchor.day for each in publish_due(trail, blobs)] == [ago(3), ago(2), ago(1)]


def test_a_commit_that_is_being_sealed_at_midnight_is_waited_for(trail: Trail, blobs: MemoryBlobs) -> None:
    trail.live(ago(1), 2)
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and objid = 7003 and not granted"
    with ThreadPoolExecutor(1) as pool:
        with trail.root.work() as sealing:
            AuditStore(sealing).settle()  # as a commit does that has its number and is not done
            publishing = pool.submit(publish_due, trail, blobs)
            until = time.monotonic() + 20
            while not sealing.execute(text(waiting)).scalar_one():
                assert not publishing.done(), "it did not wait"
                assert time.monotonic() < until
        assert [each.entries for each in publishing.result(20)] == [2]


def test_an_empty_trail_has_nothing_to_publish(trail: Trail, blobs: MemoryBlobs) -> None:
    assert publish_due(trail, blobs) == []
    trail.add()
    assert publish_due(trail, blobs) == []


def test_many_entries_are_published_page_by_page(trail: Trail, blobs: MemoryBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auricle.admin.audit.retention.PAGE", 7)
    monkeypatch.setattr("auricle.admin.audit.retention.IN_MEMORY", 100)  # and through a file
    trail.live(ago(1), 40)
    assert publish_due(trail, blobs)[0].entries == 40
    anchor, entries = object_of(blobs, ago(1))
    assert first_break(entries, anchor) is None


def test_publishing_is_in_the_trail_itself(trail: Trail, blobs: MemoryBlobs) -> None:
    trail.live(ago(1), 3)
    publish_due(trail, blobs)
    assert told(trail, EventKind.AUDIT_PUBLISHED) == [{"count": 3, "day": ago(1).isoformat(), "first_seq": 1, "last_seq": 3}]
    assert verify(trail).broken is None


def test_a_day_that_was_tampered_with_is_published_with_what_is_left_and_said_to_be_broken(
    trail: Trail, blobs: MemoryBlobs, caplog: pytest.LogCaptureFixture
) -> None:
    trail.live(ago(1), 5)
    trail.tamper("delete from audit_events where id = (select event_id from audit_links where seq = 2)")
    done = publish_due(trail, blobs)[0]
    assert done.broken is not None
    assert (done.entries, done.broken.seq, done.broken.fault) == (4, 2, Fault.MISSING)
    assert "broken at entry 2" in caplog.text
    assert len(told(trail, EventKind.AUDIT_BROKEN)) == 1


def test_functions_cannot_anchor_what_is_not_so(trail: Trail) -> None:
    trail.live(ago(3), 1)
    for day in (TODAY, ago(-1), ago(1)):
        with pytest.raises(exc.DBAPIError, match=r"when it is over|one after another"), trail.unit() as connection:
            AuditStore(connection).anchor(day, "key", "sha", True)
    with trail.unit() as connection:
        AuditStore(connection).anchor(ago(3), "key", "sha", True)
    with pytest.raises(exc.DBAPIError, match="another object"), trail.unit() as connection:
        AuditStore(connection).anchor(ago(3), "key", "other", True)


# Pruning.


def test_old_published_days_leave_the_database_and_the_chain_holds(trail: Trail, blobs: MemoryBlobs) -> None:
    for n in (400, 399, 398, 30):
        trail.live(ago(n), 3)
    while publish_due(trail, blobs):
        pass
    assert prune_due(trail, keep_days=365) == 9
    verdict = verify(trail)
    assert verdict.broken is None
    assert verdict.first == 10
    assert verify_published(trail, blobs) is None
    assert sum(int(str(d["count"])) for d in told(trail, EventKind.AUDIT_PRUNED)) == 9
    assert prune_due(trail, keep_days=365) == 0


def test_after_pruning_tampering_is_found_as_before(trail: Trail, blobs: MemoryBlobs) -> None:
    for n in (121, 120):
        trail.live(ago(n), 3)
    while publish_due(trail, blobs):
        pass
    trail.live(ago(0), 4)
    prune_due(trail, keep_days=120)
    assert verify(trail).first == 4
    trail.tamper("delete from audit_events where id = (select event_id from audit_links where seq = 4)")
    trail.tamper("delete from audit_links where seq = 4")
    found = verify(trail).broken
    assert found is not None
    assert (found.seq, found.fault) == (4, Fault.MISSING)


class PrunedMeanwhile:
    """Units among which old days are pruned, after the chain's beginning was looked up."""

    def __init__(self, trail: Trail) -> None:
        self.trail = trail
        self.units = 0

    def unit(self) -> AbstractContextManager[Connection]:
        self.units += 1
        if self.units == 2:
            assert prune_due(self.trail, keep_days=90) == 4
        return self.trail.unit()


def test_what_is_pruned_while_the_trail_is_verified_is_no_break(trail: Trail, blobs: MemoryBlobs) -> None:
    for n in (120, 119):
        trail.live(ago(n), 2)
    while publish_due(trail, blobs):
        pass
    verdict = verify(PrunedMeanwhile(trail))
    assert (verdict.broken, verdict.first) == (None, 5)


def test_days_that_are_not_published_are_not_pruned(trail: Trail) -> None:
    trail.live(ago(400), 3)
    assert prune_due(trail, keep_days=90) == 0
    assert verify(trail).checked == 3


def test_a_broken_day_and_what_follows_it_is_kept_as_evidence(trail: Trail, blobs: MemoryBlobs) -> None:
    for n in (120, 119, 118):
        trail.live(ago(n), 2)
    trail.tamper("update audit_events set outcome = 'failure' where id = (select event_id from audit_links where seq = 3)")
    while publish_due(trail, blobs):
        pass
    assert prune_due(trail, keep_days=90) == 2
    with trail.unit() as connection:
        assert AuditStore(connection).entries(0, 1)[0].seq == 3


@pytest.mark.parametrize("days", [0, 30, 89])
def test_no_setting_and_no_function_prunes_what_is_young(trail: Trail, blobs: MemoryBlobs, days: int) -> None:
    trail.live(ago(89), 2)
    publish_due(trail, blobs, most=100)
    with pytest.raises(ValueError, match="at least 90 days"):
        prune_due(trail, keep_days=days)
    with pytest.raises(exc.DBAPIError, match="at least 90 days"), trail.unit() as connection:
        AuditStore(connection).prune(ago(days))
    with trail.unit() as connection:
        assert len(AuditStore(connection).entries(0, 2)) == 2


def test_a_pruned_entry_that_is_put_back_is_no_part_of_the_chain(trail: Trail, blobs: MemoryBlobs) -> None:
    trail.live(ago(120), 2)
    while publish_due(trail, blobs):
        pass
    with trail.unit() as connection:
        first = AuditStore(connection).entries(0, 1)[0]
    prune_due(trail, keep_days=100)
    row = msgspec.structs.asdict(first.event) | {"digest": digest(first.event)}
    with trail.tampering() as connection:
        connection.execute(audit_events.insert().values(**row))
    found = verify(trail).broken
    assert found is not None
    assert found.fault is Fault.UNSEALED

"""Every tampering with the trail is found, done by a superuser whom no trigger stops."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import exc, text

from auricle.admin.audit.chain import Fault
from auricle.admin.audit.kinds import Outcome
from auricle.admin.audit.store import AuditStore
from auricle.admin.audit.verifying import Verdict, verify
from builders.audit_trail import Trail, event, fault


@pytest.mark.parametrize(
    "change",
    [
        "outcome = 'success'",
        "actor = gen_random_uuid()",
        "actor = null",
        "at = at + interval '1 microsecond'",
        "address = '203.0.113.5'",
        "kind = 'auth.logout.all'",
        "kind = 'a kind nobody knows'",
        "trace_id = null",
        "details = details || '{\"count\": 4}'",
        "details = '{}'",
        "details = '[1]'",
        "details = '3'",
        "digest = sha256('')",
    ],
)
def test_a_changed_entry_is_found(trail: Trail, change: str) -> None:
    made = trail.add(6, outcome=Outcome.FAILURE)
    assert trail.tamper(f"update audit_events set {change} where id = :id", id=made[3].id) == 1
    found = verify(trail).broken
    assert found is not None
    assert found.seq == 4
    assert found.fault in (Fault.ALTERED, Fault.MISSING)


def test_a_changed_entry_with_a_digest_that_fits_is_found(trail: Trail) -> None:
    made = trail.add(6)
    other = event(id=made[3].id)
    trail.tamper("delete from audit_events where id = :id", id=made[3].id)
    with trail.tampering() as connection:
        AuditStore(connection).append(other)
    assert fault(verify(trail)) == (4, Fault.MOVED)


def test_a_deleted_entry_is_found(trail: Trail) -> None:
    made = trail.add(6)
    trail.tamper("delete from audit_events where id = :id", id=made[2].id)
    assert fault(verify(trail)) == (3, Fault.MISSING)


def test_an_entry_deleted_with_its_link_is_found(trail: Trail) -> None:
    made = trail.add(6)
    trail.tamper("delete from audit_events where id = :id", id=made[2].id)
    trail.tamper("delete from audit_links where seq = 3")
    assert fault(verify(trail)) == (3, Fault.MISSING)


def test_a_gap_that_was_closed_by_renumbering_is_found(trail: Trail) -> None:
    made = trail.add(6)
    trail.tamper("delete from audit_events where id = :id", id=made[2].id)
    trail.tamper("delete from audit_links where seq = 3")
    for seq in (4, 5, 6):
        trail.tamper("update audit_links set seq = seq - 1 where seq = :seq", seq=seq)
    assert fault(verify(trail)) == (3, Fault.MOVED)


def test_the_first_entries_cannot_be_left_out(trail: Trail) -> None:
    made = trail.add(6)
    trail.tamper("delete from audit_events where id = :id", id=made[0].id)
    trail.tamper("delete from audit_links where seq = 1")
    assert fault(verify(trail)) == (1, Fault.MISSING)


def test_exchanged_entries_are_found(trail: Trail) -> None:
    made = trail.add(6)
    with trail.tampering() as connection:
        connection.execute(text("update audit_links set event_id = gen_random_uuid() where seq = 2"))
        connection.execute(text("update audit_links set event_id = :id where seq = 5"), {"id": made[1].id})
        connection.execute(text("update audit_links set event_id = :id where seq = 2"), {"id": made[4].id})
    assert fault(verify(trail)) == (2, Fault.MOVED)


def test_exchanged_contents_are_found(trail: Trail) -> None:
    made = trail.add(6)
    swap = "update audit_events a set address = 'x', outcome = b.outcome, actor = b.actor from audit_events b "
    trail.tamper(swap + "where a.id = :one and b.id = :other", one=made[1].id, other=made[4].id)
    assert fault(verify(trail)) == (2, Fault.ALTERED)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_cut_tail_is_found(trail: Trail, count: int) -> None:
    trail.add(6)
    cut(trail, 6 - count)
    assert fault(verify(trail)) == (7 - count, Fault.CUT)


def test_a_cut_tail_is_found_after_new_entries_have_followed(trail: Trail) -> None:
    trail.add(6)
    cut(trail, 4)
    trail.add(3)
    assert fault(verify(trail)) == (5, Fault.MISSING)


def test_a_head_that_is_gone_lets_nothing_be_recorded_and_is_found(trail: Trail) -> None:
    trail.add(3)
    with trail.tampering() as connection:
        kept = connection.execute(text("delete from audit_head returning seq, hash, sealed_at")).one()
    try:
        assert fault(verify(trail)) == (1, Fault.UNSEALED)
        with pytest.raises(exc.DBAPIError):
            trail.add()
    finally:
        trail.tamper("insert into audit_head values (true, :seq, :hash, :at)", seq=kept[0], hash=kept[1], at=kept[2])


def test_a_head_set_back_is_found(trail: Trail) -> None:
    trail.add(6)
    trail.tamper(
        "update audit_head set seq = 4, hash = l.hash, sealed_at = l.sealed_at from audit_links l where l.seq = 4",
    )
    assert fault(verify(trail)) == (5, Fault.UNSEALED)


def test_an_entry_that_was_slipped_in_is_found(trail: Trail) -> None:
    trail.add(3)
    with trail.tampering() as connection:
        AuditStore(connection).append(event())
    assert fault(verify(trail)) == (4, Fault.UNSEALED)


def test_a_changed_time_of_sealing_is_found(trail: Trail) -> None:
    trail.add(4)
    trail.tamper("update audit_links set sealed_at = sealed_at - interval '1 day' where seq = 2")
    assert fault(verify(trail)) == (2, Fault.MOVED)


def test_of_several_breaks_the_first_is_told(trail: Trail) -> None:
    made = trail.add(6)
    for which in (4, 2):
        trail.tamper("update audit_events set address = null where id = :id", id=made[which].id)
    assert fault(verify(trail)) == (3, Fault.ALTERED)


def cut(trail: Trail, last: int) -> None:
    """Leave nothing above `last`."""
    trail.tamper("delete from audit_events e using audit_links l where l.event_id = e.id and l.seq > :last", last=last)
    trail.tamper("delete from audit_links where seq > :last", last=last)


# Verifying a part.


def test_a_part_is_verified_by_itself(trail: Trail) -> None:
    made = trail.add(6)
    trail.tamper("update audit_events set address = null where id = :id", id=made[1].id)
    part = verify(trail, 3, 5)
    assert (part.first, part.last, part.checked, part.broken) == (3, 5, 3, None)
    assert fault(verify(trail, 2, 3)) == (2, Fault.ALTERED)
    assert fault(verify(trail, first=3)) is None


def test_a_part_whose_beginning_hangs_in_the_air_is_a_break(trail: Trail) -> None:
    trail.add(4)
    trail.tamper("delete from audit_links where seq = 2")
    assert fault(verify(trail, 3, 4)) == (2, Fault.MISSING)


def test_verifying_an_empty_trail_finds_nothing(trail: Trail) -> None:
    assert verify(trail) == Verdict(first=1, last=0, checked=0, hash="00" * 32)


def test_the_trail_is_verified_while_it_grows(trail: Trail) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            trail.add()

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write) for _ in range(2)]
        verdicts = [verify(trail) for _ in range(10)]
        stop.set()
        for writer in writers:
            writer.result(20)
    assert [verdict.broken for verdict in verdicts] == [None] * 10

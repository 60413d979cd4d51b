"""The chain by itself: whatever is done to a list of entries shows, and at the first place where it was done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.admin.audit.chain import GENESIS, Anchor, Entry, Fault, Walk, canonical, digest, first_break, link
from auricle.admin.audit.kinds import ActorKind, EventKind, Factor, Method, Outcome, Reason, SubjectKind
from auricle.admin.audit.model import AuditEvent, AuditRow, Details

TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
SLUGS = st.from_regex(r"\A[a-z][a-z0-9]{0,10}([._:-][a-z0-9]{1,8}){0,2}\Z")
DETAILS = st.builds(
    Details,
    method=st.none() | st.sampled_from(Method),
    factor=st.none() | st.sampled_from(Factor),
    reason=st.none() | st.sampled_from(Reason),
    provider=st.none() | SLUGS,
    scopes=st.lists(SLUGS, max_size=4).map(tuple),
    count=st.none() | st.integers(0, 2**53 - 1),
    until=st.none() | TIMES,
    session=st.none() | st.uuids(),
)
EVENTS = st.builds(
    AuditEvent,
    id=st.uuids(),
    at=TIMES,
    kind=st.sampled_from(EventKind),
    outcome=st.sampled_from(Outcome),
    actor_kind=st.just(ActorKind.PERSON),
    actor=st.uuids(),
    behalf_of=st.none() | st.uuids(),
    address=st.none() | st.ip_addresses().map(str),
    user_agent=st.none() | st.text(max_size=40),
    function=st.none() | SLUGS,
    subject_kind=st.just(SubjectKind.FILE),
    subject_id=st.uuids().map(str),
    details=DETAILS,
)


def row(event: AuditEvent) -> AuditRow:
    """The entry as the database gives it back."""
    fields = {name: getattr(event, name) for name in AuditRow.__struct_fields__ if name != "details"}
    return AuditRow(**fields, details=msgspec.to_builtins(event.details))


def chained(events: list[AuditEvent], start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> list[Entry]:
    """Entries that follow from each other."""
    before, entries = GENESIS, []
    for seq, event in enumerate(events, 1):
        at = start + timedelta(seconds=seq)
        before = link(before, seq, at, digest(event))
        entries.append(Entry(seq=seq, sealed_at=at, hash=before.hex(), event=row(event)))
    return entries


def anchor_of(entries: list[Entry]) -> Anchor:
    return Anchor(
        day=datetime(2030, 1, 1, tzinfo=UTC).date(),
        previous_seq=0,
        previous_hash=GENESIS.hex(),
        seq=len(entries),
        hash=entries[-1].hash if entries else GENESIS.hex(),
    )


CHAINS = st.lists(EVENTS, min_size=2, max_size=6, unique_by=lambda e: e.id).map(chained)


@given(EVENTS)
def test_what_is_read_back_hashes_like_what_was_recorded(event: AuditEvent) -> None:
    assert canonical(row(event)) == canonical(event)
    assert msgspec.json.decode(canonical(event), type=AuditEvent) == event


@given(EVENTS, EVENTS)
def test_two_entries_have_the_same_bytes_only_if_they_are_the_same(one: AuditEvent, other: AuditEvent) -> None:
    assert (canonical(one) == canonical(other)) is (one == other)


def test_the_bytes_that_are_hashed_stay_as_they_are() -> None:
    event = AuditEvent(
        id=UUID("0190a5d2-6c1a-7cc3-98c4-dc0c0c07398f"),
        at=datetime(2030, 1, 2, 3, 4, 5, 678901, UTC),
        kind=EventKind.LOGIN,
        outcome=Outcome.FAILURE,
        actor_kind=ActorKind.ANONYMOUS,
        address="192.0.2.7",
        details=Details(reason=Reason.WRONG_PASSWORD, method=Method.PASSWORD),
    )
    assert canonical(event) == (
        b'{"actor_kind":"anonymous","address":"192.0.2.7","at":"2030-01-02T03:04:05.678901Z",'
        b'"details":{"method":"password","reason":"wrong-password"},"id":"0190a5d2-6c1a-7cc3-98c4-dc0c0c07398f",'
        b'"kind":"auth.login","outcome":"failure"}'
    )
    assert digest(event).hex() == "71b5303ef3bf23d016a312f1c97b28129e10aa7305757a695575e656a5f85866"


@settings(max_examples=40)
@given(CHAINS)
def test_an_untouched_chain_holds(entries: list[Entry]) -> None:
    assert first_break(entries, anchor_of(entries)) is None


@settings(max_examples=40)
@given(CHAINS, st.data())
def test_a_changed_entry_is_found_where_it_is(entries: list[Entry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entries) - 1))
    field = data.draw(st.sampled_from(["kind", "outcome", "actor", "address", "subject_id", "at"]))
    changes = {
        "kind": "admin.user.delete2",
        "outcome": "unknown",
        "actor": UUID(int=0),
        "address": "203.0.113.99",
        "subject_id": "else",
        "at": entries[at].event.at + timedelta(microseconds=1),
    }
    forged = msgspec.structs.replace(entries[at], event=msgspec.structs.replace(entries[at].event, **{field: changes[field]}))
    found = first_break([*entries[:at], forged, *entries[at + 1 :]], anchor_of(entries))
    assert found is not None
    assert (found.seq, found.fault) == (at + 1, Fault.ALTERED)


@settings(max_examples=40)
@given(CHAINS, st.data())
def test_a_missing_entry_is_found(entries: list[Entry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entries) - 1))
    found = first_break([*entries[:at], *entries[at + 1 :]], anchor_of(entries))
    assert found is not None
    assert (found.seq, found.fault) == (at + 1, Fault.CUT if at == len(entries) - 1 else Fault.MISSING)


@settings(max_examples=40)
@given(CHAINS, st.data())
def test_exchanged_entries_are_found_even_with_their_numbers_exchanged(entries: list[Entry], data: st.DataObject) -> None:
    one, other = sorted(data.draw(st.sets(st.integers(0, len(entries) - 1), min_size=2, max_size=2)))
    moved = list(entries)
    moved[one] = msgspec.structs.replace(entries[other], seq=one + 1)
    moved[other] = msgspec.structs.replace(entries[one], seq=other + 1)
    found = first_break(moved, anchor_of(entries))
    assert found is not None
    assert found.seq == one + 1


@settings(max_examples=40)
@given(CHAINS, st.data())
def test_a_moved_time_is_found(entries: list[Entry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entries) - 1))
    later = msgspec.structs.replace(entries[at], sealed_at=entries[at].sealed_at + timedelta(microseconds=1))
    found = first_break([*entries[:at], later, *entries[at + 1 :]], anchor_of(entries))
    assert found is not None
    assert found.seq == at + 1


@settings(max_examples=40)
@given(CHAINS, EVENTS, st.data())
def test_a_tail_forged_with_all_its_hashes_does_not_reach_the_anchor(
    entries: list[Entry], other: AuditEvent, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(entries) - 1))
    anchor, walk = anchor_of(entries), Walk()
    for entry in entries[:at]:
        assert walk.step(entry) is None
    forged = list(entries[:at])
    before = walk.hash
    for entry in entries[at:]:
        event = row(other) if entry.seq == at + 1 else entry.event
        before = link(before, entry.seq, entry.sealed_at, digest(event))
        forged.append(msgspec.structs.replace(entry, event=event, hash=before.hex()))
    if forged == entries:
        return
    found = first_break(forged, anchor)
    assert found is not None
    assert found.fault is Fault.ANCHOR


def test_the_same_entry_twice_is_found() -> None:
    entries = chained([st_event(n) for n in range(3)])
    found = first_break([entries[0], entries[1], entries[1], entries[2]], anchor_of(entries))
    assert found is not None
    assert (found.seq, found.fault) == (2, Fault.MOVED)


def st_event(number: int) -> AuditEvent:
    return AuditEvent(
        id=UUID(int=number),
        at=datetime(2030, 1, 1, tzinfo=UTC),
        kind=EventKind.LOGIN,
        outcome=Outcome.SUCCESS,
        actor_kind=ActorKind.SYSTEM,
    )


@pytest.mark.parametrize("count", [1, 4])
def test_more_entries_than_the_anchor_knows_are_found(count: int) -> None:
    entries = chained([st_event(n) for n in range(count + 1)])
    found = first_break(entries, anchor_of(entries[:count]))
    assert found is not None
    assert found.fault is Fault.ANCHOR

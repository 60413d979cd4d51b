"""The pure exchange: every branch, as state in and action out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from auricle_operator.api.managedsecret import Purpose, State
from auricle_operator.secrets.purposes import ROWS
from auricle_operator.secrets.rotation import (
    FORSAKE,
    LINGER,
    SOON,
    Consumer,
    Drop,
    HandOut,
    Make,
    Manner,
    Note,
    Revive,
    Seen,
    Shut,
    Step,
    Strategy,
    TakeBack,
    Version,
    delay,
    due,
    next_action,
    revokes_at,
    settled,
    state,
    waits_for,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
EXCHANGE = ROWS[Purpose.DATABASE].manner
KEY = ROWS[Purpose.BUCKET].manner
OWNER = ROWS[Purpose.OWNER].manner
GATEWAY = ROWS[Purpose.GATEWAY].manner
SEALING = ROWS[Purpose.SEALING].manner
ONCE = ROWS[Purpose.EVENTS].manner
COPY = ROWS[Purpose.PROVIDER].manner


def v(number: int, **more: object) -> Version:
    return replace(Version(number=number, created=NOW - HOUR, digest=f"d{number}", copied=True), **more)


def has(number: int, ready: bool = True, name: str = "files") -> Consumer:
    return Consumer(name, frozenset({number}), ready)


def seen(manner: Manner, *versions: Version, **more: object) -> Seen:
    highest = max((version.number for version in versions), default=0)
    return replace(Seen(manner=manner, versions=versions, highest=highest, published=True, now=NOW), **more)


A, B = v(1, turn="a"), v(2, turn="b")
OUT = NOW - timedelta(hours=25)


@pytest.mark.parametrize(
    ("what", "found", "action"),
    [
        ("the first one", seen(EXCHANGE), Make(1, Step.USE, "a", "there is none")),
        ("the first key, complete at once", seen(GATEWAY), Make(1, Step.DROP, "", "there is none")),
        ("numbers never come twice", seen(KEY, highest=6), Make(7, Step.USE, "", "there is none")),
        ("after loss, the login that the lost one had not", seen(EXCHANGE, highest=1), Make(2, Step.USE, "b", "there is none")),
        ("lost keys that are precious", seen(SEALING, highest=3), None),
        (
            "lost keys that a person gives up",
            seen(SEALING, highest=3, wanted=FORSAKE),
            Make(4, Step.USE, "", "there is none"),
        ),
        ("nothing to copy", seen(COPY), None),
        ("something to copy", seen(COPY, source="d9"), Make(1, Step.USE, "", "there is none")),
        ("nothing to do", seen(EXCHANGE, A), None),
        ("not due yet", seen(EXCHANGE, A, interval=2 * HOUR), None),
        ("due", seen(EXCHANGE, A, interval=HOUR), Make(2, Step.USE, "b", "its interval is over")),
        ("due in turns", seen(EXCHANGE, B, interval=HOUR), Make(3, Step.USE, "a", "its interval is over")),
        (
            "the login that is free, whatever the number says",
            seen(EXCHANGE, v(3, turn="b"), highest=5, interval=HOUR),
            Make(6, Step.USE, "a", "its interval is over"),
        ),
        ("asked", seen(EXCHANGE, A, wanted="x"), Make(2, Step.USE, "b", "somebody asked for it")),
        ("asked before", seen(EXCHANGE, v(1, turn="a", asked="x"), wanted="x"), None),
        (
            "a server moved",
            seen(EXCHANGE, A, outdated=True),
            Make(2, Step.USE, "b", "it names an address that is not right any more"),
        ),
        (
            "due, and its consumers may still use the other login",
            seen(EXCHANGE, A, wanted="x", consumers=(has(1, False),)),
            None,
        ),
        (
            "due, while a key of its own disturbs nobody",
            seen(KEY, v(1), wanted="x", consumers=(has(1, False),)),
            Make(2, Step.USE, "", "somebody asked for it"),
        ),
        ("due, and not yet told of the last", seen(EXCHANGE, A, wanted="x", published=False), None),
        ("due, and its copy is missing", seen(EXCHANGE, v(1, turn="a", copied=False), wanted="x"), None),
        ("once has no interval", seen(ONCE, v(1), interval=HOUR), None),
        ("once when asked", seen(ONCE, v(1), wanted="x"), Make(2, Step.USE, "", "somebody asked for it")),
        ("owner while a job works", seen(OWNER, v(1, turn="owner"), wanted="x", busy=("migrate",)), None),
        ("owner", seen(OWNER, v(1, turn="owner"), wanted="x"), Make(2, Step.USE, "owner", "somebody asked for it")),
        ("owner's old password works no more", seen(OWNER, v(1, turn="owner"), v(2, turn="owner")), Shut(1)),
        ("but stays until jobs are told", seen(OWNER, v(1, turn="owner"), v(2, turn="owner"), published=False), None),
        (
            "and is not revoked, for that would shut the new one",
            seen(OWNER, v(1, turn="owner", shut=NOW), v(2, turn="owner")),
            Drop(1, False),
        ),
        ("source changed", seen(COPY, v(1), source="d2"), Make(2, Step.USE, "", "its source changed")),
        ("source changed while rolling", seen(COPY, v(1), v(2), source="d3"), Make(3, Step.USE, "", "its source changed")),
        ("source gone: what is there stays", seen(COPY, v(1)), None),
        ("asking does not change somebody else's", seen(COPY, v(1), source="d1", wanted="x"), Note(1)),
        ("rolling", seen(EXCHANGE, A, B, consumers=(has(1),)), None),
        ("a revision that is not ready", seen(EXCHANGE, A, B, consumers=(has(2), has(2, False, "runs"))), None),
        ("names both", seen(EXCHANGE, A, B, consumers=(Consumer("files", frozenset({1, 2}), True),)), None),
        ("asked again while rolling", seen(EXCHANGE, A, B, consumers=(has(1),), wanted="y"), Note(2)),
        ("everybody has it", seen(EXCHANGE, A, B, consumers=(has(2),)), HandOut(2)),
        ("nobody is there", seen(EXCHANGE, A, B), HandOut(2)),
        ("nobody could know of it", seen(EXCHANGE, A, B, published=False), None),
        ("nobody could take it", seen(EXCHANGE, A, v(2, turn="b", copied=False)), None),
        ("one goes back", seen(EXCHANGE, A, v(2, turn="b", handed_out=OUT), consumers=(has(1),)), TakeBack(2)),
        ("one rolls for another reason", seen(EXCHANGE, A, v(2, turn="b", handed_out=OUT), consumers=(has(2, False),)), None),
        ("overlapping", seen(EXCHANGE, A, v(2, turn="b", handed_out=NOW - HOUR), consumers=(has(2),)), None),
        ("asked again while overlapping: later", seen(EXCHANGE, A, v(2, turn="b", handed_out=NOW - HOUR), wanted="y"), None),
        ("the overlap is over", seen(EXCHANGE, A, v(2, turn="b", handed_out=OUT), consumers=(has(2),)), Shut(1)),
        (
            "who came back to what was to be shut has it again",
            seen(EXCHANGE, v(1, turn="a", shut=NOW), v(2, turn="b"), consumers=(has(1),)),
            Revive(1),
        ),
        (
            "what was begun is done",
            seen(EXCHANGE, v(1, turn="a", shut=NOW), v(2, turn="b"), consumers=(has(2, False),)),
            Drop(1, True),
        ),
        (
            "a lost new one does not shut its successor's login",
            seen(EXCHANGE, v(1, turn="a", shut=NOW), v(3, turn="a")),
            Drop(1, False),
        ),
        ("the last one was to be shut, and comes first", seen(EXCHANGE, v(1, turn="a", shut=NOW)), Drop(1, True)),
        ("no overlap where nothing is shut", seen(ONCE, v(1), v(2, handed_out=NOW - LINGER)), Shut(1)),
        ("but pods may still be starting", seen(ONCE, v(1), v(2, handed_out=NOW - LINGER / 2)), None),
        (
            "a list begins by learning",
            seen(GATEWAY, v(1, step=Step.DROP), wanted="x"),
            Make(2, Step.LEARN, "", "somebody asked for it"),
        ),
        ("learnt by some", seen(GATEWAY, v(2, step=Step.LEARN), consumers=(has(1),)), None),
        ("learnt by all", seen(GATEWAY, v(2, step=Step.LEARN)), HandOut(2)),
        (
            "then used",
            seen(GATEWAY, v(1, step=Step.DROP), v(2, step=Step.LEARN, handed_out=NOW)),
            Make(3, Step.USE, "", "everybody has version 2"),
        ),
        ("not while one went back", seen(GATEWAY, v(2, step=Step.LEARN, handed_out=NOW), consumers=(has(1),)), TakeBack(2)),
        ("the old key is still believed", seen(GATEWAY, v(3, step=Step.USE, handed_out=NOW - HOUR)), None),
        ("then dropped", seen(GATEWAY, v(3, step=Step.USE, handed_out=OUT)), Make(4, Step.DROP, "", "everybody has version 3")),
        ("sealing keeps all keys", seen(SEALING, v(3, step=Step.USE, handed_out=OUT)), None),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_each_state_has_one_next_step(what: str, found: Seen, action: object) -> None:
    assert next_action(found) == action, what


@pytest.mark.parametrize(
    ("found", "word", "again"),
    [
        (seen(EXCHANGE), State.WAITING, None),
        (seen(EXCHANGE, A), State.STABLE, None),
        (seen(EXCHANGE, A, interval=3 * HOUR), State.STABLE, 7200.0),
        (seen(EXCHANGE, A, interval=HOUR, consumers=(has(1, False),)), State.STABLE, SOON),
        (seen(EXCHANGE, A, B), State.ROLLING, SOON),
        (seen(EXCHANGE, A, v(2, turn="b", handed_out=NOW - HOUR)), State.OVERLAPPING, 23 * 3600.0),
        (seen(EXCHANGE, A, v(2, turn="b", handed_out=OUT), consumers=(has(2, False),)), State.OVERLAPPING, 1.0),
        (seen(GATEWAY, v(2, step=Step.LEARN)), State.ROLLING, SOON),
        (seen(GATEWAY, v(3, step=Step.USE, handed_out=NOW)), State.OVERLAPPING, 24 * 3600.0),
    ],
)
def test_an_exchange_has_a_word_and_a_time_to_look_again(found: Seen, word: State, again: float | None) -> None:
    assert (state(found), delay(found)) == (word, again)


def test_the_overlap_counts_from_when_everybody_has_it() -> None:
    assert revokes_at(seen(KEY, v(1), v(2, handed_out=NOW), overlap=30 * HOUR)) == NOW + 30 * HOUR
    assert revokes_at(seen(KEY, v(1), v(2))) is None
    assert revokes_at(seen(ONCE, v(1), v(2, handed_out=NOW), overlap=30 * HOUR)) == NOW + LINGER


def test_consumers_are_looked_at_only_while_something_is_going_on() -> None:
    assert settled(seen(EXCHANGE, A, interval=2 * HOUR))
    assert not settled(seen(EXCHANGE, A, interval=HOUR))
    assert not settled(seen(EXCHANGE, A, B))
    assert not settled(seen(EXCHANGE, v(1, copied=False)))
    assert not settled(seen(EXCHANGE, A, published=False))
    assert not settled(seen(EXCHANGE))


def test_who_keeps_an_exchange_waiting_is_named() -> None:
    stuck = seen(EXCHANGE, A, wanted="x", consumers=(has(1), has(1, False, "runs")))
    assert due(stuck, A) == "somebody asked for it"
    assert waits_for(stuck) == ("runs",)
    assert waits_for(seen(KEY, v(1), consumers=(has(1, False),))) == ()


def test_every_purpose_has_a_row() -> None:
    assert set(ROWS) == set(Purpose)
    interrupting = {p for p, row in ROWS.items() if row.manner.strategy is Strategy.ONCE}
    assert interrupting == {Purpose.EVENTS, Purpose.EPHEMERAL, Purpose.BUCKET_TOKEN, Purpose.TIMERS, Purpose.SETUP}
    assert all(bool(row.interrupts) == (p in interrupting) for p, row in ROWS.items())

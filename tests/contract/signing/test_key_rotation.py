"""Rotation, in any order and at any pace: somebody always signs, and what was signed is always read."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from auricle.adapters.signing.ring import Ring, fresh_ring
from auricle.ports.signing import LEEWAY, LONGEST, KeySet
from builders.signing import NOW, word

HOURS = st.integers(0, 72).map(lambda n: timedelta(hours=n))
STEPS = st.lists(st.tuples(HOURS, HOURS), min_size=1, max_size=6)
"""Rotations: how long after the last one, and how far ahead."""


def history(steps: list[tuple[timedelta, timedelta]]) -> list[tuple[timedelta, KeySet]]:
    """What is published from when on (counted from NOW), with numbers for keys: no curve is needed to hand over."""
    passed, keys = timedelta(0), KeySet(()).rotated(number(0), number(0), NOW, timedelta(0))
    published = [(passed, keys)]
    for n, (wait, ahead) in enumerate(steps, start=1):
        passed += wait
        keys = keys.rotated(number(n), number(n), NOW + passed, ahead)
        published.append((passed, keys))
    return published


def number(n: int) -> str:
    return word(n.to_bytes(32))


def in_force(published: list[tuple[timedelta, KeySet]], at: timedelta) -> KeySet:
    return [keys for since, keys in published if since <= at][-1]


@given(STEPS, HOURS)
def test_exactly_one_key_signs_at_any_moment(steps: list[tuple[timedelta, timedelta]], at: timedelta) -> None:
    keys = in_force(history(steps), at)
    assert sum(key.signs(NOW + at) for key in keys.keys) == 1
    assert keys.signing(NOW + at).signs(NOW + at)


@given(STEPS, HOURS, st.integers(0, round(LONGEST.total_seconds())))
def test_a_token_is_read_until_it_ends_whatever_is_rotated_meanwhile(
    steps: list[tuple[timedelta, timedelta]], made: timedelta, age: int
) -> None:
    published = history(steps)
    read = made + timedelta(seconds=age)
    kid = in_force(published, made).signing(NOW + made).kid
    keys = KeySet.from_document(in_force(published, read).document(NOW + read))
    assert keys.verifying(kid, NOW + read) is not None


@given(st.lists(HOURS, min_size=1, max_size=6), HOURS)
def test_who_remembers_the_published_keys_no_longer_than_ahead_knows_every_signer(
    waits: list[timedelta], at: timedelta
) -> None:
    ahead = timedelta(hours=1)
    published = history([(wait, ahead) for wait in waits])
    for remembered in (timedelta(0), timedelta(minutes=30), ahead):
        seen = in_force(published, max(timedelta(0), at - remembered))
        signer = in_force(published, at).signing(NOW + at)
        assert seen.verifying(signer.kid, NOW + at) is not None


@given(STEPS)
def test_retired_keys_do_not_pile_up(steps: list[tuple[timedelta, timedelta]]) -> None:
    passed, keys = history(steps)[-1]
    long_after = NOW + passed + timedelta(days=30)
    assert len(KeySet.from_document(keys.document(long_after)).keys) == 1
    assert len(keys.rotated(number(99), number(99), long_after, timedelta(0)).keys) == 2


@given(STEPS, st.data())
def test_after_a_theft_somebody_still_signs_and_it_is_not_the_stolen_key(
    steps: list[tuple[timedelta, timedelta]], data: st.DataObject
) -> None:
    passed, keys = history(steps)[-1]
    stolen = data.draw(st.sampled_from(keys.keys)).kid
    left = keys.without(stolen, NOW + passed)
    for later in (timedelta(0), data.draw(HOURS), timedelta(days=9)):
        assert left.verifying(stolen, NOW + passed + later) is None
        if left.keys:
            assert left.signing(NOW + passed + later).kid != stolen
            assert sum(key.signs(NOW + passed + later) for key in left.keys) == 1


def test_a_retired_key_verifies_to_the_second_and_is_then_dropped() -> None:
    keys = KeySet(()).rotated(number(0), number(0), NOW, timedelta(0)).rotated(number(1), number(1), NOW, timedelta(0))
    old = keys.keys[0]
    last = NOW + LONGEST + LEEWAY
    assert old.verifies(last - timedelta(seconds=1))
    assert not old.verifies(last)
    assert len(keys.rotated(number(2), number(2), last, timedelta(0)).keys) == 2


def test_a_ring_is_kept_as_text() -> None:
    ring = fresh_ring(NOW).rotated(NOW, timedelta(hours=1))
    assert Ring.from_text(ring.text()) == ring
    assert len({key.pem for key in ring.keys}) == 2
    left = ring.without(ring.keys[0].public.kid, NOW)
    assert left.public.signing(NOW).kid == ring.keys[1].public.kid

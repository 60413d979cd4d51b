"""Who waits, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.errors import Retryable, TooMany
from auricle.identity.lockout import (
    ACCOUNT,
    ADDRESS,
    Attempt,
    Counter,
    Guess,
    Lockout,
    Rule,
    account_key,
    address_key,
    device_proof,
    known_device,
)
from builders.ephemeral import MemoryEphemeral

NAME, ADDRESS_1, ADDRESS_2 = "ada@example.org", "192.0.2.1", "192.0.2.2"
QUARTER, DAY = 15 * 60, 24 * 3600
NOW = datetime(2026, 1, 1, tzinfo=UTC)


unhurried = settings(deadline=None)  # a busy machine is no failure


@pytest.fixture
def store() -> MemoryEphemeral:
    return MemoryEphemeral()


@pytest.fixture
def lockout(store: MemoryEphemeral) -> Lockout:
    return Lockout(store, Guess.PASSWORD)


def waits(lockout: Lockout, attempt: Attempt) -> int:
    """Seconds that the attempt must wait; 0: it was made (and failed)."""
    try:
        lockout.admit(attempt)
    except TooMany as refusal:
        seconds = refusal.extra["retry_after"]
        assert isinstance(seconds, int)
        return seconds
    return 0


def fail(lockout: Lockout, times: int, attempt: Attempt) -> None:
    assert [waits(lockout, attempt) for _ in range(times)] == [0] * times


# Progress


def test_five_failures_lock_for_a_quarter_of_an_hour(store: MemoryEphemeral, lockout: Lockout) -> None:
    fail(lockout, 5, Attempt(NAME, ADDRESS_1))
    assert waits(lockout, Attempt(NAME, ADDRESS_1)) == QUARTER
    store.pass_time(QUARTER - 1)
    assert waits(lockout, Attempt(NAME, ADDRESS_2)) == 1
    store.pass_time(1)
    assert waits(lockout, Attempt(NAME, ADDRESS_1)) == 0


def test_each_lock_is_twice_the_last_up_to_a_day(store: MemoryEphemeral, lockout: Lockout) -> None:
    attempt, seen = Attempt(NAME), []
    for _ in range(10):
        fail(lockout, 5, attempt)
        seen.append(waits(lockout, attempt))
        store.pass_time(seen[-1])
    assert seen == [QUARTER * 2**n for n in range(7)] + [DAY] * 3


def test_locks_are_forgotten_a_day_after_the_last_one(store: MemoryEphemeral, lockout: Lockout) -> None:
    fail(lockout, 5, Attempt(NAME))
    store.pass_time(QUARTER + DAY)
    fail(lockout, 5, Attempt(NAME))
    assert waits(lockout, Attempt(NAME)) == QUARTER


def test_failures_are_forgotten_a_day_after_the_first(store: MemoryEphemeral, lockout: Lockout) -> None:
    fail(lockout, 4, Attempt(NAME))
    store.pass_time(DAY)
    fail(lockout, 4, Attempt(NAME))
    assert lockout.locked_until(NAME) is None


def test_refused_attempts_neither_count_nor_lengthen_a_lock(store: MemoryEphemeral, lockout: Lockout) -> None:
    fail(lockout, 5, Attempt(NAME, ADDRESS_1))
    for _ in range(100):
        assert waits(lockout, Attempt(NAME, ADDRESS_1)) == QUARTER
    assert waits(lockout, Attempt("somebody else", ADDRESS_1)) == 0
    store.pass_time(QUARTER)
    fail(lockout, 5, Attempt(NAME, ADDRESS_2))
    assert waits(lockout, Attempt(NAME, ADDRESS_2)) == 2 * QUARTER


# Success


def test_success_forgets_the_accounts_failures(lockout: Lockout) -> None:
    for _ in range(3):
        fail(lockout, 4, Attempt(NAME))
        lockout.admit(Attempt(NAME))
        lockout.succeeded(Attempt(NAME))
    assert lockout.locked_until(NAME) is None


def test_success_at_the_last_try_leaves_no_lock(lockout: Lockout) -> None:
    fail(lockout, 4, Attempt(NAME, ADDRESS_1))
    lockout.admit(Attempt(NAME, ADDRESS_1))
    assert lockout.locked_until(NAME) is not None
    lockout.succeeded(Attempt(NAME, ADDRESS_1))
    assert lockout.locked_until(NAME) is None


def test_success_does_not_forgive_the_address(lockout: Lockout) -> None:
    for n in range(ADDRESS.tries - 1):
        fail(lockout, 1, Attempt(f"victim {n}", ADDRESS_1))
        lockout.admit(Attempt("the attacker's own", ADDRESS_1))
        lockout.succeeded(Attempt("the attacker's own", ADDRESS_1))
    fail(lockout, 1, Attempt("one more victim", ADDRESS_1))
    assert waits(lockout, Attempt("yet another", ADDRESS_1)) == QUARTER
    assert waits(lockout, Attempt("yet another", ADDRESS_2)) == 0


def test_success_alone_never_locks_an_address(lockout: Lockout) -> None:
    for n in range(ADDRESS.tries * 3):
        lockout.admit(Attempt(f"colleague {n}", ADDRESS_1))
        lockout.succeeded(Attempt(f"colleague {n}", ADDRESS_1))
    assert waits(lockout, Attempt("another colleague", ADDRESS_1)) == 0


def test_what_could_not_be_checked_counts_for_nothing(lockout: Lockout) -> None:
    for _ in range(ADDRESS.tries * 2):
        lockout.admit(Attempt(NAME, ADDRESS_1))
        lockout.withdrawn(Attempt(NAME, ADDRESS_1))
    fail(lockout, 5, Attempt(NAME, ADDRESS_1))
    assert waits(lockout, Attempt(NAME, ADDRESS_1)) == QUARTER


# Addresses


def test_an_address_is_locked_for_all_names(store: MemoryEphemeral, lockout: Lockout) -> None:
    for n in range(ADDRESS.tries):
        fail(lockout, 1, Attempt(f"name {n}", ADDRESS_1))
    assert waits(lockout, Attempt("another", ADDRESS_1)) == QUARTER
    store.pass_time(QUARTER)
    assert waits(lockout, Attempt("another", ADDRESS_1)) == 0


def test_a_locked_address_uses_up_nobodys_attempts(lockout: Lockout) -> None:
    for n in range(ADDRESS.tries):
        fail(lockout, 1, Attempt(f"name {n}", ADDRESS_1))
    for _ in range(20):
        assert waits(lockout, Attempt(NAME, ADDRESS_1)) == QUARTER
    fail(lockout, 5, Attempt(NAME, ADDRESS_2))


def test_a_locked_account_uses_up_nobodys_address(lockout: Lockout) -> None:
    fail(lockout, 5, Attempt(NAME, ADDRESS_2))
    for _ in range(ADDRESS.tries * 2):
        assert waits(lockout, Attempt(NAME, ADDRESS_1)) == QUARTER
    assert waits(lockout, Attempt("somebody else", ADDRESS_1)) == 0


def test_an_unknown_address_is_not_one_address(lockout: Lockout) -> None:
    for n in range(ADDRESS.tries * 2):
        fail(lockout, 1, Attempt(f"name {n}"))


# Unlocking, and who else


def test_an_administrator_unlocks_an_account_with_all_its_devices(lockout: Lockout) -> None:
    fail(lockout, 5, Attempt(NAME))
    fail(lockout, 5, Attempt(NAME, None, "laptop"))
    assert lockout.locked_until(NAME) == lockout.locked_until(NAME, "laptop") == NOW + timedelta(seconds=QUARTER)
    lockout.unlock(NAME)
    assert lockout.locked_until(NAME) is None
    assert lockout.locked_until(NAME, "laptop") is None
    fail(lockout, 5, Attempt(NAME))
    assert waits(lockout, Attempt(NAME)) == QUARTER


def test_an_administrator_unlocks_an_address(lockout: Lockout) -> None:
    for n in range(ADDRESS.tries):
        fail(lockout, 1, Attempt(f"name {n}", ADDRESS_1))
    lockout.unlock_address(ADDRESS_1)
    assert waits(lockout, Attempt("another", ADDRESS_1)) == 0


def test_passwords_and_second_factors_are_counted_apart(store: MemoryEphemeral, lockout: Lockout) -> None:
    fail(lockout, 5, Attempt(NAME))
    assert waits(Lockout(store, Guess.SECOND_FACTOR), Attempt(NAME)) == 0


def test_a_name_is_one_however_it_is_typed(lockout: Lockout) -> None:
    spellings = ["Ada@Example.org", " ada@example.ORG ", "\uff41\uff44\uff41@example.org", "ADA@EXAMPLE.ORG", "ada@example.org"]
    for spelling in spellings:
        assert waits(lockout, Attempt(spelling)) == 0
    assert waits(lockout, Attempt(NAME)) == QUARTER


@given(st.text())
@unhurried
def test_a_names_key_is_its_own_key(name: str) -> None:
    assert account_key(account_key(name)) == account_key(name)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("not an address", "not another", False),
    ],
)
def test_an_address_is_what_one_subscriber_holds(one: str, other: str, same: bool) -> None:
    assert (address_key(one) == address_key(other)) is same


# Closed


def test_nobody_is_admitted_while_the_store_is_away(store: MemoryEphemeral, lockout: Lockout) -> None:
    store.away = True
    with pytest.raises(Retryable):
        lockout.admit(Attempt(NAME, ADDRESS_1))


# Known devices


def test_a_devices_proof_is_for_its_name_and_key_alone() -> None:
    key = b"k" * 32
    proof = device_proof(key, NAME, "0198c0de")
    assert known_device(key, "ADA@example.org", proof) == "0198c0de"
    assert known_device(key, "eve@example.org", proof) is None
    assert known_device(b"x" * 32, NAME, proof) is None


@pytest.mark.parametrize("proof", [None, "", ".", "0198c0de", "0198c0de.", "0198c0de.AAAA", ".AAAA", "\ud800.\ud800", "a.b.c"])
def test_what_is_no_proof_is_a_strangers(proof: str | None) -> None:
    assert known_device(b"k" * 32, NAME, proof) is None


def test_a_proof_for_one_device_is_none_for_another() -> None:
    mac = device_proof(b"k" * 32, NAME, "laptop").rpartition(".")[2]
    assert known_device(b"k" * 32, NAME, f"phone.{mac}") is None


# The rule by itself


RULES = st.builds(
    Rule,
    tries=st.integers(1, 6),
    within=st.timedeltas(timedelta(minutes=1), timedelta(days=1)),
    first=st.timedeltas(timedelta(minutes=1), timedelta(hours=1)),
    longest=st.just(timedelta(hours=24)),
    memory=st.timedeltas(timedelta(hours=1), timedelta(days=2)),
)


@given(RULES, st.lists(st.timedeltas(timedelta(0), timedelta(hours=30)), max_size=40))
@unhurried
def test_no_window_holds_more_failures_than_tries(rule: Rule, gaps: list[timedelta]) -> None:
    counter, now, failed = Counter(), NOW, []
    for gap in gaps:
        now += gap
        counter = counter.current(rule, now)
        if counter.locked(now):
            assert counter.until is not None
            assert counter.until - now <= rule.longest
            continue
        counter = counter.charged(rule, now)
        failed.append(now)
        assert counter.locked(now) == (counter.failures == 0)
    # An unlocked round has fewer than `tries` failures and lasts `within`: so many touch three rounds, or span a lock.
    far_apart = zip(failed, failed[2 * rule.tries - 1 :], strict=False)
    assert all(later - sooner >= min(rule.first, rule.within) for sooner, later in far_apart)


@given(RULES, st.integers(0, 12), st.timedeltas(timedelta(0), timedelta(minutes=1)))
@unhurried
def test_a_refund_undoes_a_charge(rule: Rule, failures: int, late: timedelta) -> None:
    counter, now = Counter(), NOW
    for _ in range(failures):
        counter = counter.current(rule, now)
        if counter.until is not None and counter.locked(now):
            now = counter.until
            counter = counter.current(rule, now)
        counter = counter.charged(rule, now)
    counter = counter.current(rule, now)
    if counter.locked(now):
        return
    after = counter.charged(rule, now).refunded(rule, now + late)
    assert after.failures == counter.failures
    assert not after.locked(now + late)


def test_the_first_and_the_longest_lock_are_what_was_promised() -> None:
    for rule in (ACCOUNT, ADDRESS):
        assert rule.duration(1) == timedelta(minutes=15)
        assert rule.duration(7) == timedelta(hours=16)
        assert rule.duration(8) == rule.duration(1000) == timedelta(hours=24)

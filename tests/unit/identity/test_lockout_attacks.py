"""What attackers try against the lockout, and what an owner under attack can still do."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from auricle.errors import TooMany
from auricle.identity.lockout import ACCOUNT, ADDRESS, Attempt, Guess, Lockout, device_proof, known_device
from builders.ephemeral import MemoryEphemeral

OWNER = "ada@example.org"
DAY = 24 * 3600
KEY = b"k" * 32


@pytest.fixture
def store() -> MemoryEphemeral:
    return MemoryEphemeral()


@pytest.fixture
def lockout(store: MemoryEphemeral) -> Lockout:
    return Lockout(store, Guess.PASSWORD)


def admitted(lockout: Lockout, attempt: Attempt) -> bool:
    try:
        lockout.admit(attempt)
    except TooMany:
        return False
    return True


def guesses_in(lockout: Lockout, store: MemoryEphemeral, days: int, step: int = 60) -> int:
    """How many guesses a patient attacker gets who has an address for each, and tries again every `step` seconds."""
    addresses, made = count(), 0
    for _ in range(days * DAY // step):
        while admitted(lockout, Attempt(OWNER, f"198.51.{next(addresses) % 256}.{next(addresses) % 256}")):
            made += 1
        store.pass_time(step)
    return made


def test_guesses_made_at_once_do_not_slip_under_the_limit(lockout: Lockout) -> None:
    ready, checked = threading.Barrier(50), []

    def guess(n: int) -> None:
        ready.wait()
        if admitted(lockout, Attempt(OWNER, f"192.0.2.{n}")):
            checked.append(n)  # here the password would be compared

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(guess, range(50)))
    assert len(checked) == ACCOUNT.tries


def test_a_patient_attacker_gets_few_guesses_in_a_month(lockout: Lockout, store: MemoryEphemeral) -> None:
    # Eight locks take 55.75 hours in all, then one lasts a day.
    assert guesses_in(lockout, store, days=30, step=900) <= ACCOUNT.tries * (8 + 29)


def test_spreading_guesses_over_accounts_meets_the_addresss_limit(lockout: Lockout) -> None:
    made = sum(admitted(lockout, Attempt(f"person {n}", "192.0.2.9")) for n in range(1000))
    assert made == ADDRESS.tries


def test_an_address_in_the_same_ipv6_network_is_the_same(lockout: Lockout) -> None:
    made = sum(admitted(lockout, Attempt(f"person {n}", f"2001:db8::{n:x}")) for n in range(1000))
    assert made == ADDRESS.tries


def test_an_owner_under_attack_for_weeks_signs_in_on_a_known_device(lockout: Lockout, store: MemoryEphemeral) -> None:
    proof = device_proof(KEY, OWNER, "laptop")
    for _ in range(21):
        guesses_in(lockout, store, days=1, step=3600)
        assert lockout.locked_until(OWNER) is not None
        attempt = Attempt(OWNER, "203.0.113.5", known_device(KEY, OWNER, proof))
        assert admitted(lockout, attempt)
        lockout.succeeded(attempt)


def test_an_owner_behind_the_attackers_address_signs_in_on_a_known_device(lockout: Lockout) -> None:
    numbers = count()
    while admitted(lockout, Attempt(f"person {next(numbers)}", "192.0.2.9")):
        pass
    assert not admitted(lockout, Attempt(OWNER, "192.0.2.9"))
    assert admitted(lockout, Attempt(OWNER, "192.0.2.9", "laptop"))


def test_an_owners_success_gives_strangers_no_new_guesses(lockout: Lockout, store: MemoryEphemeral) -> None:
    while admitted(lockout, Attempt(OWNER, None)):
        pass
    before = lockout.locked_until(OWNER)
    lockout.admit(Attempt(OWNER, None, "laptop"))
    lockout.succeeded(Attempt(OWNER, None, "laptop"))
    assert lockout.locked_until(OWNER) == before is not None
    assert not admitted(lockout, Attempt(OWNER, None))


def test_a_stolen_proof_buys_as_few_guesses_as_none(lockout: Lockout) -> None:
    stolen = sum(admitted(lockout, Attempt(OWNER, f"192.0.2.{n}", "laptop")) for n in range(200))
    assert stolen == ACCOUNT.tries
    assert admitted(lockout, Attempt(OWNER, "203.0.113.5", "phone"))


def test_a_forged_proof_is_counted_with_the_strangers(lockout: Lockout) -> None:
    made = 0
    for n in range(200):
        device = known_device(KEY, OWNER, device_proof(b"guessed".ljust(32), OWNER, f"device {n}"))
        made += admitted(lockout, Attempt(OWNER, f"192.0.2.{n}", device))
    assert made == ACCOUNT.tries


def test_a_proof_for_the_attackers_own_account_opens_no_counter_on_another(lockout: Lockout) -> None:
    proof = device_proof(KEY, "eve@example.org", "eves")
    assert known_device(KEY, OWNER, proof) is None


@pytest.mark.parametrize("right", [True, False], ids=["then-right", "then-wrong"])
def test_unknown_accounts_cost_the_same_calls_and_get_the_same_words(right: bool) -> None:
    told: dict[str, list[str]] = {}
    asked: dict[str, list[str]] = {}
    for name in (OWNER, "nobody@example.org"):  # the lockout is never told which of them exists
        store = MemoryEphemeral()
        lockout, told[name] = Lockout(store, Guess.PASSWORD), []
        for _ in range(7):
            try:
                lockout.admit(Attempt(name, "192.0.2.1"))
            except TooMany as refusal:
                told[name].append(str(refusal))
        if right:
            lockout.succeeded(Attempt(name, "192.0.2.1"))
        asked[name] = store.calls
    assert told[OWNER] == told["nobody@example.org"]
    assert len(told[OWNER]) == 2
    assert asked[OWNER] == asked["nobody@example.org"]


def test_a_refusal_says_nothing_of_the_name(lockout: Lockout) -> None:
    while admitted(lockout, Attempt(OWNER, None)):
        pass
    with pytest.raises(TooMany) as refusal:
        lockout.admit(Attempt(OWNER, None))
    assert "ada" not in str(refusal.value)
    assert set(refusal.value.extra) == {"retry_after"}

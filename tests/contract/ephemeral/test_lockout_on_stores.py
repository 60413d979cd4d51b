"""The lockout on every store: what is pure elsewhere is atomic here."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from auricle.errors import Retryable, TooMany
from auricle.identity.lockout import ACCOUNT, ADDRESS, Attempt, Guess, Lockout
from auricle.ports.ephemeral import Ephemeral
from builders.ephemeral import Place


def admitted(lockout: Lockout, attempt: Attempt) -> bool:
    try:
        lockout.admit(attempt)
    except TooMany:
        return False
    return True


def networks() -> list[str]:
    """Fifty addresses that nobody else uses."""
    return [str(uuid.uuid4()) for _ in range(50)]


def test_fifty_guesses_at_once_through_two_processes_are_five(place: Place, store: Ephemeral) -> None:
    name, both = f"{uuid.uuid4()}@example.org", [Lockout(s, Guess.PASSWORD) for s in (place.store, place.again)]
    with ThreadPoolExecutor(50) as pool:
        made = list(pool.map(lambda n: admitted(both[n[0] % 2], Attempt(name, n[1])), enumerate(networks())))
    assert sum(made) == ACCOUNT.tries
    assert both[0].locked_until(name) == both[1].locked_until(name) is not None


def test_fifty_names_at_once_from_one_address_are_its_limit(place: Place, store: Ephemeral) -> None:
    address, both = str(uuid.uuid4()), [Lockout(s, Guess.PASSWORD) for s in (place.store, place.again)]
    with ThreadPoolExecutor(50) as pool:
        made = list(pool.map(lambda n: admitted(both[n % 2], Attempt(f"{address} {n}", address)), range(50)))
    assert sum(made) == ADDRESS.tries


def test_success_and_unlocking_are_seen_by_everybody(place: Place, store: Ephemeral) -> None:
    here, there = Lockout(place.store, Guess.PASSWORD), Lockout(place.again, Guess.PASSWORD)
    attempt = Attempt(f"{uuid.uuid4()}@example.org")
    for _ in range(ACCOUNT.tries):
        here.admit(attempt)
    there.succeeded(attempt)  # the last one was right after all
    for _ in range(ACCOUNT.tries):
        here.admit(attempt)
    assert not admitted(there, attempt)
    there.unlock(attempt.name)
    here.admit(attempt)


def test_nobody_is_admitted_while_the_store_is_away(place: Place, store: Ephemeral) -> None:
    place.lose()
    with pytest.raises(Retryable):
        Lockout(store, Guess.PASSWORD).admit(Attempt("ada@example.org"))

"""The ephemeral store behind a real pgbouncer in transaction mode, where no two transactions have the same session."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from auricle.adapters.ephemeral.postgres import PostgresEphemeral
from auricle.errors import TooMany
from auricle.identity.lockout import ACCOUNT, Attempt, Guess, Lockout
from auricle.ports.ephemeral import Limit, Revocable
from auricle.runtime.database import migrate
from builders import pgbouncer_server
from builders.ephemeral import postgres_store

pytestmark = pytest.mark.services
PROCESSES = 10


@pytest.fixture(scope="module")
def stores(database_url: str, app_database_url: str) -> Iterator[list[PostgresEphemeral]]:
    """Ten processes' stores, which share two connections to the database."""
    migrate(database_url)
    with pgbouncer_server.in_front_of(app_database_url, connections=2) as url:
        stores = [postgres_store(url, timeout=20) for _ in range(PROCESSES)]
        yield stores
        for store in stores:
            store.close()


def test_many_processes_count_as_one(stores: list[PostgresEphemeral]) -> None:
    key, limit = str(uuid.uuid4()), Limit(count=7, seconds=3600, burst=7)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda n: stores[n % PROCESSES].hit(key, limit).allowed, range(200)))
    assert sum(answers) == 7


def test_many_questions_at_once_are_not_mixed_up(stores: list[PostgresEphemeral]) -> None:
    """What would happen if parse and execution of a statement met different sessions."""

    def ask(n: int) -> bool:
        store, word, user = stores[n % PROCESSES], f"word {n} {uuid.uuid4()}", uuid.uuid4()
        store.put(word, word.encode(), 60)
        store.revoke(Revocable.TOKEN, word, datetime.now(UTC) + timedelta(minutes=1))
        epoch = store.bump(user)
        standing = stores[(n + 1) % PROCESSES].standing(user, [(Revocable.TOKEN, word)])
        first, again = store.once(word, 60), stores[(n + 3) % PROCESSES].once(word, 60)
        taken = stores[(n + 5) % PROCESSES].take(word)
        return (standing.epoch, standing.revoked, first, again, taken) == (epoch, True, True, False, word.encode())

    with ThreadPoolExecutor(30) as pool:
        assert all(pool.map(ask, range(150)))


def test_guesses_at_once_are_locked_out(stores: list[PostgresEphemeral]) -> None:
    name = str(uuid.uuid4())

    def guess(n: int) -> bool:
        try:
            Lockout(stores[n % PROCESSES], Guess.PASSWORD).admit(Attempt(name))
        except TooMany:
            return False
        return True

    with ThreadPoolExecutor(50) as pool:
        assert sum(pool.map(guess, range(50))) == ACCOUNT.tries

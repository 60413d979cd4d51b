"""New people beside the first owner: an address belongs to one of them, also when two come at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from auricle.access.model import PrincipalId
from auricle.access.permissions import Role
from auricle.contract.ids import uuid7
from auricle.identity.model import Account, AccountState
from auricle.identity.passwords import Kept
from auricle.identity.store import IdentityStore
from auricle.runtime.database import Database, engine_for, migrate


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[Database]:
    migrate(database_url)
    made = Database(engine_for(database_url, 4))
    yield made
    made.close()


def account(email: str, **more: object) -> Account:
    return Account(id=PrincipalId(uuid7()), email=email, display_name="Ann", role=Role.MEMBER, **more)  # type: ignore[arg-type]


def test_an_address_belongs_to_one_person_however_it_is_typed(database: Database) -> None:
    first = account("Ann@new.example", state=AccountState.PENDING)
    with database.work() as db:
        added = IdentityStore(db).add_account(first, Kept(hashes=("hash",), must_change=True))
        assert added is not None
        assert IdentityStore(db).add_account(account(" ann@NEW.example")) is None
    with database.work() as db:
        found = IdentityStore(db).by_email("ANN@new.example")
    assert found is not None
    assert (found.id, found.state, found.password_hash, found.must_change) == (first.id, AccountState.PENDING, "hash", True)


def test_of_two_who_come_with_one_address_at_once_one_is_let_in(database: Database) -> None:
    barrier, added = threading.Barrier(2), []

    def come() -> None:
        barrier.wait()
        with database.work() as db:
            added.append(IdentityStore(db).add_account(account("twice@new.example")))

    both = [threading.Thread(target=come) for _ in "12"]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted(one is not None for one in added) == [False, True]


def test_people_without_an_address_do_not_meet(database: Database) -> None:
    with database.work() as db:
        store = IdentityStore(db)
        assert store.add_account(account("")) is not None
        assert store.add_account(account("")) is not None
        assert store.by_email("") is None

"""What the store on PostgreSQL promises beyond the contract: to requests in a unit of work, and to the disk."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

import auricle.schema
from auricle.adapters.ephemeral.postgres import PostgresEphemeral, _literal
from auricle.ports.ephemeral import SKEW, Changed, Limit, Revocable
from auricle.runtime.database import engine_for, migrate
from builders.ephemeral import postgres_socket, postgres_store, through
from builders.postgres_server import Server
from builders.relay import Relay

ONE = Limit(count=1, seconds=60, burst=1)
LOGGED = {"ephemeral_marks", "ephemeral_states", "ephemeral_epochs"}
UNLOGGED = {"ephemeral_rates", "ephemeral_secrets"}


@pytest.fixture(scope="module")
def store(database_url: str, app_database_url: str) -> Iterator[PostgresEphemeral]:
    """One connection, as in a pod."""
    migrate(database_url)
    store = postgres_store(app_database_url)
    yield store
    store.close()


@pytest.fixture(scope="module")
def units(store: PostgresEphemeral, app_database_url: str) -> Iterator[Engine]:
    """The pool of requests' units of work, as small as in a pod."""
    units = engine_for(app_database_url, 2)
    yield units
    units.dispose()


def test_what_was_counted_survives_the_requests_rollback(store: PostgresEphemeral, units: Engine) -> None:
    key = str(uuid.uuid4())
    with units.connect() as connection, connection.begin() as unit:
        connection.execute(text("select 1"))
        assert store.hit(key, ONE).allowed
        assert store.once(key, 60)
        store.revoke(Revocable.TOKEN, key, datetime.now(UTC) + timedelta(minutes=1))
        store.change(key, lambda now, value: Changed(b"1", 60, None))
        unit.rollback()
    assert not store.hit(key, ONE).allowed
    assert not store.once(key, 60)
    assert store.revoked(Revocable.TOKEN, key)
    assert store.change(key, lambda now, value: Changed(value, 60, value)) == b"1"


def test_requests_that_hold_all_connections_can_still_count(store: PostgresEphemeral, units: Engine) -> None:
    key, limit = str(uuid.uuid4()), Limit(count=100, seconds=60, burst=100)

    def request(_: int) -> bool:
        with units.begin() as unit:
            unit.execute(text("select 1"))
            return store.hit(key, limit).allowed

    with ThreadPoolExecutor(8) as pool:  # eight threads, two connections, one more for the store
        assert all(pool.map(request, range(80)))


def end_others(units: Engine) -> None:
    """The server ends everybody else's connections, as when it restarts."""
    with units.begin() as unit:
        unit.execute(
            text("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and usename = user")
        )


def test_a_connection_that_the_server_ended_is_replaced(store: PostgresEphemeral, units: Engine) -> None:
    key = str(uuid.uuid4())
    assert store.once(key, 60)
    end_others(units)
    assert not store.once(key, 60)


def test_a_connection_that_is_reset_while_it_is_tried_is_replaced(store: PostgresEphemeral, app_database_url: str) -> None:
    key, relay = str(uuid.uuid4()), Relay(lambda: postgres_socket(app_database_url))
    through_relay = postgres_store(through(app_database_url, relay.port))
    assert through_relay.once(key, 60)
    relay.slam()
    assert not through_relay.once(key, 60)
    relay.cut()
    through_relay.close()


def test_a_connection_lost_between_looking_and_changing_is_replaced(store: PostgresEphemeral, units: Engine) -> None:
    key, asked = str(uuid.uuid4()), []

    def count(now: datetime, value: bytes | None) -> Changed[None]:
        asked.append(value)
        end_others(units)
        return Changed(b"%d" % len(asked), 60, None)

    store.change(key, count)
    store.change(key, count)
    assert asked == [None, b"1"]
    assert store.change(key, lambda now, value: Changed(value, 60, value)) == b"2"


def test_missing_rights_are_a_fault_and_not_a_yes(store: PostgresEphemeral, database_url: str) -> None:
    owner = engine_for(database_url, 1)
    with owner.begin() as db:
        db.execute(text("revoke all on ephemeral_marks from auricle_app"))
    try:
        with pytest.raises(DBAPIError, match="permission denied"):
            store.once("k", 60)
    finally:
        with owner.begin() as db:
            db.execute(text("grant select, insert, update, delete on ephemeral_marks to auricle_app"))
        owner.dispose()


def test_only_what_may_be_lost_is_unlogged(units: Engine) -> None:
    with units.begin() as db:
        rows = db.execute(
            text("select relname, relpersistence from pg_class where relname like 'ephemeral%' and relkind = 'r'")
        )
        kinds = {row.relname: row.relpersistence for row in rows}
    assert {name for name, kind in kinds.items() if kind == "u"} == UNLOGGED
    assert {name for name, kind in kinds.items() if kind == "p"} == LOGGED


def test_the_tables_may_go_and_come_back(postgres_server: Server) -> None:
    url = postgres_server.owner_url(postgres_server.new_database())
    migrate(url)
    engine = engine_for(url, 1)
    config = Config()
    config.set_main_option("script_location", str(auricle.schema.__path__[0]))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0003")
        left = connection.execute(text("select count(*) from pg_class where relname like 'ephemeral%'")).scalar_one()
    assert left == 0
    migrate(url)
    engine.dispose()
    store = postgres_store(url)
    assert store.once("k", 60)
    store.close()


def test_a_sweep_removes_what_has_expired_and_nothing_else(store: PostgresEphemeral) -> None:
    keys = [str(uuid.uuid4()) for _ in range(25)]
    past = datetime.now(UTC) - SKEW - timedelta(seconds=1)
    for key in keys:
        store.once(key, 0.001)
        store.put(key, b"v", 0.001)
        store.revoke(Revocable.TOKEN, key, past)
        store.change(key, lambda now, value: Changed(b"1", 0.001, None))
        store.hit(key, Limit(count=1_000_000, seconds=1, burst=1))
    kept, user = str(uuid.uuid4()), uuid.uuid4()
    store.once(kept, 60)
    store.put(kept, b"v", 60)
    store.revoke(Revocable.TOKEN, kept, datetime.now(UTC))
    store.change(kept, lambda now, value: Changed(b"1", 60, None))
    store.hit(kept, ONE)
    epoch = store.bump(user)

    assert store.sweep() >= 5 * len(keys)
    assert store.sweep() == 0

    assert not store.once(kept, 60)
    assert not store.hit(kept, ONE).allowed
    assert store.revoked(Revocable.TOKEN, kept)
    assert store.change(kept, lambda now, value: Changed(value, 60, value)) == b"1"
    assert store.take(kept) == b"v"
    assert store.epoch(user) == epoch


def test_a_sweep_waits_for_nobody(store: PostgresEphemeral, units: Engine) -> None:
    store.once("swept while held", 0.001)
    with units.begin() as unit:
        unit.execute(text("select 1 from ephemeral_marks for update"))
        store.sweep()
    assert store.sweep() >= 1


@given(st.text(max_size=50))
@settings(max_examples=50, deadline=None)
@example("'; drop table ephemeral_marks; --")
@example("{key}")
@example("%s \\x00 \x00")
def test_no_word_is_read_as_sql(store: PostgresEphemeral, word: str) -> None:
    word = word.encode(errors="replace").decode()
    mark = f"{word}{uuid.uuid4()}"
    assert store.once(mark, 60)
    assert not store.once(mark, 60)
    store.put(mark, word.encode(), 60)
    store.revoke(Revocable.SESSION, mark, datetime.now(UTC))
    assert store.revoked(Revocable.SESSION, mark)
    assert not store.revoked(Revocable.SESSION, f"{mark}.")
    assert store.change(mark, lambda now, value: Changed(word.encode() + b"'", 60, value)) is None
    assert store.change(mark, lambda now, value: Changed(value, 60, value)) == word.encode() + b"'"
    assert store.take(mark) == word.encode()


@pytest.mark.parametrize("value", ["text", None, float("nan"), float("inf"), datetime.now(UTC)])
def test_only_bytes_and_numbers_are_written_into_statements(value: Any) -> None:
    with pytest.raises(TypeError, match="no value for a statement"):
        _literal(value)


def test_another_key_reads_nothing(store: PostgresEphemeral, app_database_url: str) -> None:
    other, word = postgres_store(app_database_url, key=bytes(32)), str(uuid.uuid4())
    store.put(word, b"secret", 60)
    assert other.take(word) is None
    assert store.take(word) == b"secret"
    other.close()


def test_a_short_key_is_refused(app_database_url: str) -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        postgres_store(app_database_url, key=b"short")

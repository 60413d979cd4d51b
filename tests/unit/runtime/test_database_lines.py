"""A line to the database that breaks is a database that is away, whatever the driver makes of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from sqlalchemy import make_url, text

from auricle.errors import Retryable
from auricle.runtime.database import Database, engine_for
from builders.relay import Relay


@pytest.fixture
def relay(database_url: str) -> Relay:
    path = make_url(database_url).query["unix_sock"]

    def connect() -> socket.socket:
        line = socket.socket(socket.AF_UNIX)
        line.connect(path)
        return line

    return Relay(connect)


@pytest.fixture
def database(database_url: str, relay: Relay) -> Iterator[Database]:
    over = make_url(database_url).difference_update_query(["unix_sock"]).set(host="127.0.0.1", port=relay.port)
    made = Database(engine_for(over.render_as_string(hide_password=False), 1))
    yield made
    made.close()
    relay.cut()


def asked(database: Database) -> int:
    with database.work() as connection:
        return int(connection.execute(text("select 1")).scalar_one())


def test_a_line_that_is_reset_while_it_is_tried_is_replaced_or_told_as_away(database: Database, relay: Relay) -> None:
    assert asked(database) == 1
    relay.slam()
    try:
        assert asked(database) == 1
    except Retryable:
        assert asked(database) == 1


def test_a_line_that_is_reset_in_the_middle_is_told_as_away_and_then_replaced(database: Database, relay: Relay) -> None:
    def cut_short() -> None:
        with database.work() as connection:
            connection.execute(text("select 1"))
            relay.slam()
            connection.execute(text("select 2"))

    with pytest.raises(Retryable):
        cut_short()
    assert asked(database) == 1


def test_a_database_that_is_gone_is_told_as_away_until_it_is_back(database: Database, relay: Relay) -> None:
    assert asked(database) == 1
    relay.cut()
    with pytest.raises(Retryable, match="Nothing is lost"):
        asked(database)
    relay.mend()
    assert asked(database) == 1


def test_an_error_of_the_work_itself_is_its_own(database: Database) -> None:
    with pytest.raises(ConnectionResetError, match="another line"), database.work():
        raise ConnectionResetError("another line")

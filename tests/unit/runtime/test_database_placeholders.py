"""Placeholders are looked for once per statement, and what is found is what pg8000 finds."""

from __future__ import annotations

import pytest
from pg8000 import legacy
from pg8000.dbapi import convert_paramstyle
from sqlalchemy import text

from auricle.runtime.database import Database, engine_for

STATEMENTS = (
    "select 1",
    "select %s, %s::text, %s",
    "select '100%%', \"a%%b\", %s -- 50%% of %s\n, %s",
    "select $$ %s $$, E'it''s \\' %s', %s",
    "update t set a = %s where b %% 2 = 1",
)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_becomes_what_the_driver_makes_of_it(statement: str, database_url: str) -> None:
    engine_for(database_url, 1).dispose()
    for args in ((), (1, 2, 3), [4, 5, 6]):
        assert legacy.convert_paramstyle("format", statement, args) == convert_paramstyle("format", statement, args)
    assert legacy.convert_paramstyle("named", "select :a, :b, :a", {"a": 1, "b": 2}) == ("select $1, $2, $1", (1, 2))


def test_the_same_statement_takes_each_times_values(database_url: str) -> None:
    database = Database(engine_for(database_url, 1))
    with database.work() as connection:
        query = text("select cast(:a as int) + cast(:b as int), '100%'")
        assert [tuple(connection.execute(query, {"a": n, "b": 1}).one()) for n in range(3)] == [
            (n + 1, "100%") for n in range(3)
        ]
    database.close()

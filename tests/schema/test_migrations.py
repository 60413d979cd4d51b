"""The migrations make exactly the tables that the rooms describe, and the functions' role can use and not alter them."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

import auricle.schema
from auricle.deploy.catalogue import load
from auricle.runtime import httpdoor, inbox, outbox
from auricle.runtime.database import engine_for, migrate
from auricle.schema import metadata

load()
DESCRIBED_BY_DOORS = (httpdoor, inbox, outbox)  # importing them describes their tables


@pytest.fixture(scope="module")
def migrated(database_url: str) -> str:
    migrate(database_url)
    return database_url


def test_migrations_and_descriptions_agree(migrated: str) -> None:
    with engine_for(migrated, 1).connect() as connection:
        ours = {table.name for table in metadata.sorted_tables if not table.name.startswith("test_")}
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, parents: kind != "table" or name in ours}
        )
        mentioned = [
            change
            for change in compare_metadata(context, metadata)
            if "effects" not in str(change) and "notes" not in str(change)
        ]
    assert mentioned == []


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory(str(auricle.schema.__path__[0])).get_heads()) == 1


def test_migrating_again_changes_nothing(migrated: str) -> None:
    assert migrate(migrated) == migrate(migrated)


def test_the_functions_role_writes_rows_and_alters_nothing(migrated: str, app_database_url: str) -> None:
    with engine_for(app_database_url, 1).connect() as connection:
        connection.execute(text("insert into principals (id, kind, name) values (gen_random_uuid(), 'local', 'probe')"))
        connection.execute(text("delete from principals where name = 'probe'"))
        with pytest.raises(ProgrammingError, match=r"must be owner|permission denied"):
            connection.execute(text("alter table principals add column x int"))

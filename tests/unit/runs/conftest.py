"""The room on a real database, for its tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from auricle.runtime.database import Database, engine_for
from auricle.schema import metadata
from builders.conducted_rooms import Room


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[Database]:
    """A database with the tables, and connections enough for two at once."""
    engine = engine_for(database_url, 6)
    metadata.create_all(engine)
    made = Database(engine)
    yield made
    made.close()


@pytest.fixture
def room(database: Database) -> Room:
    """An owner of their own, and nothing running."""
    made = Room(database)
    made.sql("truncate runs cascade")
    return made

"""What tests of one room ask for: a database that forgets, real blobs in a folder, a bus that remembers, two people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine

from auricle.access.model import Principal, PrincipalId
from auricle.access.store import TokenStore
from auricle.adapters.blobs.filesystem import FilesystemBlobs
from auricle.admin.audit.trail import SYSTEM, Facts, Trail
from auricle.contract.event import Envelope, Fact
from auricle.files.store import FileStore
from auricle.notifications.store import EventLogStore
from auricle.runtime.database import engine_for
from auricle.schema import metadata


class RememberedBus:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.ids: list[str | None] = []

    def publish(self, fact: Fact, *, id: str | None = None, subject: str | None = None) -> None:
        """Remember it."""
        self.facts.append(fact)
        self.ids.append(id)

    def republish(self, event: Envelope) -> None:
        """Remember which one."""
        self.ids.append(event.id)


@pytest.fixture(scope="module")
def engine(database_url: str) -> Iterator[Engine]:
    """A pool on this module's database, with every table."""
    engine = engine_for(database_url, 4)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def db(engine: Engine) -> Iterator[Connection]:
    """A transaction that is undone."""
    with engine.connect() as connection:
        transaction = connection.begin()
        yield connection
        transaction.rollback()


@pytest.fixture
def files(db: Connection) -> FileStore:
    return FileStore(db)


@pytest.fixture
def log(db: Connection) -> EventLogStore:
    return EventLogStore(db)


def trail_within(db: Connection) -> Trail:
    """The audit trail as a timer writes it."""
    return Trail(Facts(function="timers"), lambda: datetime.now(UTC), str, db, SYSTEM)


@pytest.fixture
def trail(db: Connection) -> Trail:
    return trail_within(db)


@pytest.fixture
def bus() -> RememberedBus:
    return RememberedBus()


@pytest.fixture
def blobs(tmp_path: Path) -> FilesystemBlobs:
    return FilesystemBlobs(tmp_path, "http://blobs.test", "http://blobs.test", b"k" * 32)


@pytest.fixture
def ann(db: Connection) -> Principal:
    return TokenStore(db).principal_named(PrincipalId(uuid4()), "local", "ann")


@pytest.fixture
def bob(db: Connection) -> Principal:
    return TokenStore(db).principal_named(PrincipalId(uuid4()), "local", "bob")

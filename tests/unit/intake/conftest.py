"""What tests of intake ask for besides `builders.one_room`."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from auricle.intake.model import UploadLimits
from auricle.intake.store import IntakeStore
from builders.one_room import ann, blobs, bob, bus, db, engine, files, log

__all__ = ["ann", "blobs", "bob", "bus", "db", "engine", "files", "log"]


class SameUnit:
    """Units that are all the test's one transaction."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def unit(self) -> SameUnit:
        """It."""
        return self

    def __enter__(self) -> Connection:
        return self._db

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def units(db: Connection) -> SameUnit:
    return SameUnit(db)


@pytest.fixture
def intake(db: Connection) -> IntakeStore:
    return IntakeStore(db)


@pytest.fixture
def limits() -> UploadLimits:
    return UploadLimits(max_bytes=1000, part_bytes=10, hours=24)

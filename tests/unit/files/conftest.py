"""What tests of files ask for besides `builders.one_room`."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from auricle.transcripts.store import TranscriptStore
from builders.one_room import ann, blobs, bob, bus, db, engine, files, log, trail

__all__ = ["ann", "blobs", "bob", "bus", "db", "engine", "files", "log", "trail"]


@pytest.fixture
def transcripts(db: Connection) -> TranscriptStore:
    return TranscriptStore(db)

"""A trail and a blob store for the tests of the audit trail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builders.audit_trail import Trail
from builders.memory_blobs import MemoryBlobs
from builders.postgres_server import Server


@pytest.fixture(scope="module")
def opened_trail(postgres_server: Server, database_name: str) -> Iterator[Trail]:
    """The module's database, migrated."""
    trail = Trail(postgres_server, database_name)
    yield trail
    trail.close()


@pytest.fixture
def trail(opened_trail: Trail) -> Trail:
    """An empty trail."""
    opened_trail.empty()
    return opened_trail


@pytest.fixture
def blobs() -> MemoryBlobs:
    """An empty store."""
    return MemoryBlobs()

"""What every test may ask for: real databases, fast."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from builders.postgres_server import Server, running

# The same examples every time, so that a red test means a change. HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile(
    "same", derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)  # a busy machine is no finding
settings.register_profile("explore", print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


LONGEST = ("test_one_process", "test_permission_table", "test_host", "test_planted_faults", "test_imports", "test_limits")
"""Files that take minutes. They begin first: two workers share the tests file by file, and neither shall wait for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest first."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """One embedded PostgreSQL for the whole session (per xdist worker)."""
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def database_name(postgres_server: Server) -> str:
    """A fresh, empty database for this module: roles and the vector extension, no tables."""
    return postgres_server.new_database()


@pytest.fixture(scope="module")
def database_url(postgres_server: Server, database_name: str) -> str:
    """That database as its owner `auricle_migrate`, who may create tables."""
    return postgres_server.owner_url(database_name)


@pytest.fixture(scope="module")
def app_database_url(postgres_server: Server, database_name: str) -> str:
    """That database as a login of `auricle_app`, who may do what migrations granted."""
    return postgres_server.app_url(database_name)

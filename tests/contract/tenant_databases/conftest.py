"""The servers under contract: memory, and a PostgreSQL of this suite's own, because roles are a whole server's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from builders.postgres_server import Server, running
from builders.tenant_databases import MemorySite, PostgresSite, Site

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    """One PostgreSQL."""
    with running() as started:
        yield started


@pytest.fixture(scope="package")
def postgres(server: Server) -> Iterator[PostgresSite]:
    """The adapter on it."""
    site = PostgresSite(server)
    yield site
    site.databases.close()


@pytest.fixture(params=["memory", "postgres"])
def site(request: pytest.FixtureRequest) -> Site:
    """Every server."""
    return MemorySite() if request.param == "memory" else request.getfixturevalue("postgres")


@pytest.fixture
def tenant() -> str:
    """A new tenant's name, with dashes."""
    return f"acme-labs-{next(_numbers)}"


@pytest.fixture
def other() -> str:
    """Another tenant, whose name begins as the first one's."""
    return f"acme-labs-{next(_numbers)}-a"

"""The stores under contract; Redis only in the services lane."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from auricle.ports.ephemeral import Ephemeral
from auricle.runtime.database import migrate
from builders.ephemeral import PLACES, Place


@pytest.fixture(scope="module", params=["memory", "postgres", pytest.param("redis", marks=pytest.mark.services)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Every store; one for a module, so tests use words of their own as keys."""
    url = ""
    if request.param == "postgres":
        migrate(request.getfixturevalue("database_url"))
        url = request.getfixturevalue("app_database_url")
    with PLACES[request.param](url) as opened:
        yield opened


@pytest.fixture
def store(place: Place) -> Iterator[Ephemeral]:
    """The store, reachable whatever the last test did to its network."""
    place.regain()
    yield place.store
    place.regain()

"""A vault with an owner and many others, at whose door each hole is tried."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builders.house import House
from builders.newcomers import vault


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    """One for each file of cases."""
    with vault(database_url) as made:
        yield made

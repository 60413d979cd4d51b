"""The stores under contract; S3 only in the services lane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auricle.ports.blobs import BlobStore
from builders.blob_shops import SHOPS, Shop

S3 = pytest.param("s3", marks=pytest.mark.services)


@pytest.fixture(params=["memory", "filesystem", S3])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """Every store, empty."""
    with SHOPS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture(params=["filesystem", S3])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """Every store with real HTTP in front of it, empty."""
    with SHOPS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def store(shop: Shop) -> BlobStore:
    """Every store, empty."""
    return shop.store

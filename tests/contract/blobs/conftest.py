"""The stores under contract; S3 only in the services lane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auricle.ports.blobs import BlobStore
from builders.blob_shops import SHOPS, Shop

S3 = pytest.param("s3", marks=pytest.mark.services)
MINIO = pytest.param("minio", marks=pytest.mark.services)


@pytest.fixture(params=["memory", "filesystem", S3, MINIO])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """Every store, empty."""
    with SHOPS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture(params=["filesystem", S3, MINIO])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """Every store with real HTTP in front of it, empty."""
    with SHOPS[request.param](tmp_path) as opened:
        yield opened


DIFFERENT = {
    "test_a_key_may_begin_another[minio]": "MinIO keeps keys as folders: what is under a key is readable, but not listed.",
    "test_forgetting_a_prefix_forgets_its_unfinished_uploads[minio]": "MinIO lists unfinished uploads by whole key only.",
}
"""Where a real store falls short of the contract. Strict: a store that mends its ways fails here, and the line goes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.name in DIFFERENT:
            item.add_marker(pytest.mark.xfail(reason=DIFFERENT[item.name], strict=True))


@pytest.fixture
def store(shop: Shop) -> BlobStore:
    """Every store, empty."""
    return shop.store

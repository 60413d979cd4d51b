"""The stores under contract: memory, and real ones in the services lane."""

from __future__ import annotations

import itertools
import secrets

import pytest

from auricle_operator.outside import AccessKey
from builders import minio_server, s3_server
from builders.tenant_stores import MemoryStore, RealStore, Store

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def minio() -> RealStore:
    """A real MinIO."""
    return RealStore(minio_server.shared(), "minio")


@pytest.fixture(scope="package")
def ceph() -> RealStore:
    """A real RADOS Gateway."""
    return RealStore(s3_server.shared(), "ceph")


@pytest.fixture(params=[pytest.param("minio", marks=pytest.mark.services), pytest.param("ceph", marks=pytest.mark.services)])
def real(request: pytest.FixtureRequest) -> RealStore:
    """Every real store."""
    found: RealStore = request.getfixturevalue(request.param)
    return found


@pytest.fixture(
    params=["memory", pytest.param("minio", marks=pytest.mark.services), pytest.param("ceph", marks=pytest.mark.services)]
)
def store(request: pytest.FixtureRequest) -> Store:
    """Every store."""
    return MemoryStore() if request.param == "memory" else request.getfixturevalue(request.param)


@pytest.fixture
def bucket() -> str:
    """A new bucket's name."""
    return f"auricle-acme-labs-{next(_numbers)}"


@pytest.fixture
def other() -> str:
    """Another tenant's, whose name begins as the first one's."""
    return f"auricle-acme-labs-{next(_numbers)}-a"


def new_key() -> AccessKey:
    """As the operator makes them."""
    return AccessKey(id=secrets.token_hex(10), secret=secrets.token_urlsafe(24))


@pytest.fixture
def first() -> AccessKey:
    """A key."""
    return new_key()


@pytest.fixture
def second() -> AccessKey:
    """The key that follows it."""
    return new_key()

"""Real peers."""

from __future__ import annotations

import pytest

from builders import minio_server, s3_server
from builders.minio_server import MinioServer
from builders.s3_server import S3Server


@pytest.fixture(scope="session")
def s3() -> S3Server:
    """A real S3 server (Ceph), the same one for the whole run."""
    return s3_server.shared()


@pytest.fixture(scope="session")
def minio() -> MinioServer:
    """A real MinIO that nobody hears; skips where there is none."""
    return minio_server.shared()

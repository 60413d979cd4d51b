"""Real peers."""

from __future__ import annotations

import pytest

from builders import s3_server
from builders.s3_server import S3Server


@pytest.fixture(scope="session")
def s3() -> S3Server:
    """A real S3 server (Ceph), the same one for the whole run."""
    return s3_server.shared()

"""What a reconcile is given: everything it may reach, and the time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from auricle_operator.cluster import Cluster
from auricle_operator.outside import Databases, ObjectStores
from auricle_operator.settings import Settings


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Of one operator."""

    cluster: Cluster
    databases: Databases
    stores: ObjectStores
    settings: Settings
    now: Callable[[], datetime]

    def namespace(self, tenant: str) -> str:
        """Of a tenant."""
        return self.settings.prefix + tenant

    def bucket(self, tenant: str) -> str:
        """Of a tenant."""
        return self.settings.bucket_prefix + tenant


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)

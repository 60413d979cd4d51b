"""Which databases and which object store an installation has."""

from __future__ import annotations

from auricle.errors import Invalid
from auricle_operator.outside import Databases, ObjectStores
from auricle_operator.settings import Settings


def databases(settings: Settings) -> Databases:
    """The server that `database_url` names."""
    from auricle_operator.adapters.postgres import PostgresDatabases

    if not settings.database_url:
        raise Invalid("Set AURICLE_OPERATOR_DATABASE_URL: it says where a superuser makes databases.")
    return PostgresDatabases(settings)


def stores(settings: Settings) -> ObjectStores:
    """The store that `store` names."""
    if settings.store == "minio":
        from auricle_operator.adapters.minio import MinioStores

        return MinioStores(settings)
    if settings.store == "ceph":
        from auricle_operator.adapters.ceph import CephStores

        return CephStores(settings)
    raise Invalid(f"AURICLE_OPERATOR_STORE is “{settings.store}”: it can be minio or ceph.")

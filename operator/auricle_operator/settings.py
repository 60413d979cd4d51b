"""What an installation of the operator may choose, read from its environment (`AURICLE_OPERATOR_…`) here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from auricle.errors import Invalid

PREFIX = "AURICLE_OPERATOR_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Variable: the field's name in capitals, with `AURICLE_OPERATOR_` before it."""

    namespace: str = "auricle-system"
    """Where the operator lives, with the servers that tenants share, releases, plans and master keys."""
    prefix: str = "auricle-"
    """A tenant's namespace is this and its name."""
    bucket_prefix: str = "auricle-"
    """A tenant's bucket is this and its name."""
    database_url: str = ""
    """`postgresql+pg8000://…` of a superuser, for making databases and roles (pgvector is no trusted extension)."""
    database_host: str = "postgres.auricle-system.svc.cluster.local:5432"
    """host:port of the database server, as tenants' jobs reach it."""
    pooler_host: str = ""
    """host:port of pgbouncer, as tenants' functions reach it. Empty: they go to the server."""
    database_sslmode: str = "disable"
    """`disable`, or `verify-full` where the server has a certificate."""

    database_prefix: str = "tenant_"
    """A tenant's database is this and its name, with _ for -."""

    database_connections: int = 40
    """Sessions in one tenant's database at most: one tenant alone must not fill the server."""

    pooler_password: str = ""
    """Of `auricle_pooler`, the role by which pgbouncer asks who logs in. Empty: there is no pooler."""
    store: str = "minio"
    """Which object store: `minio` or `ceph` (RADOS Gateway)."""
    store_webhook: str = "AURICLE"
    """Name of MinIO's webhook (`MINIO_NOTIFY_WEBHOOK_…_<name>`), which is told of new objects. Empty: nobody is."""

    store_endpoint: str = "http://object-store.auricle-system.svc.cluster.local:9000"
    """The object store, as the operator and pods reach it."""
    store_access_key_id: str = ""
    """Of its administrator."""
    store_secret_access_key: str = ""
    """Of its administrator."""
    store_region: str = "us-east-1"
    """Region that signatures name."""
    gpu_pool: int = 0
    """Devices that the GPU pool can grow to, where nodes come and go by themselves. 0: what the nodes there are offer."""
    gpu_resource: str = "nvidia.com/gpu"
    """What a device is called on nodes."""
    image: str = ""
    """The operator's own image, as nodes pull it, for jobs that fetch models and send dumps. Empty: its Deployment's."""
    at_once: int = 8
    """Resources reconciled at once."""
    resync: float = 300.0
    """Seconds after which everything is looked at again, whatever happened or did not."""
    port: int = 8080
    """Where `/healthz` answers; `/metrics` is one above."""
    peering: str = ""
    """Name of a ClusterKopfPeering, where two operators run. Empty: this one is alone."""
    priority: int = 100
    """Of several operators the one with the highest works; each has its own. 0: by chance, anew at each start."""
    die_at: int = 0
    """For tests: leave without a word at that await of each reconcile, counted over all. 0: never."""


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Settings out of variables; a value of the wrong type is named."""
    found = {
        name: environment[PREFIX + name.upper()]
        for name in Settings.__struct_fields__
        if environment.get(PREFIX + name.upper())
    }
    try:
        return msgspec.convert(found, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"A setting of the operator cannot be read: {error}. Correct that environment variable.") from error


def settings() -> Settings:
    """This process's settings."""
    return from_environment(os.environ)


def snapshot_target() -> str:
    """Where the job that keeps a dump puts it: a signed URL, which is why it comes from a Secret."""
    return os.environ["TARGET"]

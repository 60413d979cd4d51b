"""What the operator makes databases and buckets in: a PostgreSQL and a MinIO on this machine, at the node's address.

Pods of the lane reach processes of the machine there and nowhere else; nobody outside the machine does.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from auricle.runtime.local.postgres import SUPERUSER, Postgres
from builders import minio_server
from builders.minio_server import MinioServer
from builders.postgres_server import wait_ready
from cluster.deployment import NODE_IP

CONNECTIONS = 400
"""Of PostgreSQL: five tenants with all their functions take about 60 each."""


@dataclass(frozen=True)
class Servers:
    """Both, running."""

    postgres: Postgres
    database_port: int
    store: MinioServer

    @property
    def database_host(self) -> str:
        """host:port, for pods and for us."""
        return f"{NODE_IP}:{self.database_port}"

    @property
    def database_url(self) -> str:
        """As superuser, over TCP."""
        return (
            f"postgresql+pg8000://{SUPERUSER}:{self.postgres.keys[SUPERUSER]}@{self.database_host}/{SUPERUSER}?sslmode=disable"
        )

    @property
    def settings(self) -> dict[str, str]:
        """As the operator's settings name them."""
        return {
            "database_url": self.database_url,
            "database_host": self.database_host,
            "store": "minio",
            "store_endpoint": self.store.url,
            "store_access_key_id": self.store.access_key,
            "store_secret_access_key": self.store.secret_key,
        }


@contextmanager
def running_servers() -> Iterator[Servers]:
    """Fresh ones, which are stopped and forgotten afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="auricle-operator-"))
    (folder / "database").mkdir()
    (folder / "store").mkdir()
    postgres, port = Postgres(folder / "database", durable=False), minio_server.free_port(NODE_IP)
    postgres.prepare()
    with (postgres.cluster / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 scram-sha-256\n")
    listen = {"listen_addresses": NODE_IP, "port": str(port), "max_connections": str(CONNECTIONS)}
    store = minio_server.start(folder / "store", address=NODE_IP)
    with (folder / "database" / "postgres.log").open("ab") as log:
        process = postgres.spawn(log, listen)
    try:
        wait_ready(postgres, process)
        yield Servers(postgres, port, store)
    finally:
        postgres.stop(process)
        postgres.forget_sockets()
        store.stop()
        shutil.rmtree(folder, ignore_errors=True)

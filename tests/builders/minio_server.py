"""A real MinIO for tests, beside Ceph: it encrypts at rest and tells arrivals by a webhook, as the cluster's store does.

`tests/services/minio.sh` builds it; without it whatever asks for one is skipped.
"""

from __future__ import annotations

import atexit
import base64
import functools
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builders.s3_server import S3Server

WEBHOOK = "AURICLE"
"""The name of the webhook, which is also what the deployment's job expects."""
START_SECONDS = 60


def program() -> Path:
    """Where MinIO is; skips the test that asks when it is nowhere."""
    cache = Path(os.environ.get("AURICLE_CACHE") or Path.home() / ".cache" / "auricle")
    found = shutil.which("minio", path=f"{cache / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("MinIO is not built here: tests/services/minio.sh does that, in about ten minutes.")
    return Path(found)


@dataclass
class MinioServer(S3Server):
    """A running MinIO; `disk` is where it keeps what it was given."""

    disk: Path = field(default_factory=Path)


@functools.cache
def shared() -> MinioServer:
    """The one server of this test process, with encryption and nobody to tell; it ends with it."""
    program()
    folder = Path(tempfile.mkdtemp(prefix="auricle-minio-"))
    server = start(folder)

    @atexit.register
    def end() -> None:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)

    return server


def start(
    folder: Path,
    *,
    hear_at: str = "",
    token: str = "",
    origin: str = "",
    more: Mapping[str, str] | None = None,
    address: str = "127.0.0.1",
) -> MinioServer:
    """Start one that keeps its data in `folder` and listens at `address`.

    `hear_at` is told what arrives, presenting `token`; pages of `origin` may call it; `more` are variables of its own.
    """
    port = free_port(address)
    server = MinioServer(f"http://{address}:{port}", "tests", secrets.token_hex(20), disk=folder / "disk")
    server.disk.mkdir(parents=True, exist_ok=True)
    webhook = {"ENABLE": "on", "ENDPOINT": hear_at, "AUTH_TOKEN": token, "QUEUE_DIR": str(folder / "untold")}
    environment = {
        "MINIO_ROOT_USER": server.access_key,
        "MINIO_ROOT_PASSWORD": server.secret_key,
        "MINIO_KMS_SECRET_KEY": f"tests:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "HOME": str(folder),
        **({"MINIO_API_CORS_ALLOW_ORIGIN": origin} if origin else {}),
        **({f"MINIO_NOTIFY_WEBHOOK_{name}_{WEBHOOK}": value for name, value in webhook.items()} if hear_at else {}),
        **(more or {}),
    }
    _child(server, folder, f"{address}:{port}", environment)
    return server


def _child(server: MinioServer, folder: Path, listen: str, environment: Mapping[str, str]) -> None:
    command = ["setpriv", "--pdeathsig", "KILL", str(program()), "server", "--quiet", "--address", listen]
    with (folder / "minio.out").open("wb") as out:
        server.children.append(
            subprocess.Popen([*command, str(server.disk)], env=environment, stdout=out, stderr=subprocess.STDOUT, cwd=folder)
        )
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{server.url}/minio/health/ready", timeout=5):
                return
        except OSError as error:
            if server.children[-1].poll() is not None or time.monotonic() > end:
                server.stop()
                raise RuntimeError(f"MinIO did not come up: {(folder / 'minio.out').read_text()[-500:]}") from error
            time.sleep(0.05)


def free_port(address: str = "127.0.0.1") -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])

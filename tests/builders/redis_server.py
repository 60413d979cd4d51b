"""A real Redis for tests (Debian's redis-server): its own port and password, nothing on disk but its log.

`tests/services/install.sh` installs it; without it whatever asks for one is skipped.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis, RedisError

START_SECONDS = 30


@dataclass
class RedisServer:
    """A server that can be stopped and started again: with `durable` it keeps its data, else it comes back empty."""

    folder: Path
    durable: bool = False
    port: int = 0
    password: str = field(default_factory=lambda: secrets.token_hex(12))
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address and password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def client(self) -> Redis:
        """A plain client, for looking."""
        return Redis.from_url(self.url)

    def start(self) -> None:
        """Start it; returns when it answers."""
        self.port = self.port or _free_port()
        command = ["setpriv", "--pdeathsig", "KILL", _program(), "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--dir", str(self.folder), "--requirepass", self.password, "--save", "", "--daemonize", "no"]
        command += ["--appendonly", "yes" if self.durable else "no", "--appendfsync", "always"]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        with contextlib.closing(self.client()) as client:
            while True:
                with contextlib.suppress(RedisError):
                    client.ping()
                    return
                assert self.process.poll() is None, (self.folder / "redis.log").read_text()[-800:]
                assert time.monotonic() < end, f"redis-server was not ready after {START_SECONDS} s"
                time.sleep(0.02)

    def stop(self) -> None:
        """End it at once, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@contextmanager
def running(*, durable: bool = False) -> Iterator[RedisServer]:
    """A server, ended and forgotten afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="auricle-redis-"))
    server = RedisServer(folder, durable)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _program() -> str:
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("redis-server is not installed: tests/services/install.sh does that.")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""A whole Auricle for the length of one command: `auricle up` on a free port, in a folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from auricle.cli.client import Server, ServerError
from auricle.runtime.settings import child_environment

START_SECONDS = 120
STOP_SECONDS = 10


@contextmanager
def embedded_host(data: Path | None = None, environment: Mapping[str, str] | None = None, *arguments: str) -> Iterator[Server]:
    """A server that is ready; it is gone afterwards, and its folder too unless `data` names one."""
    with tempfile.TemporaryDirectory(prefix="auricle-", ignore_cleanup_errors=True) as temporary:
        folder = data or Path(temporary) / "data"
        folder.mkdir(parents=True, exist_ok=True)
        log_path = folder / "up.log"
        port = free_port()
        command = [sys.executable, "-m", "auricle.cli", "up", "--port", str(port), "--data", str(folder), *arguments]
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child_environment(environment or {}),
                start_new_session=True,  # Ctrl-C reaches us alone; we then stop it in good order
            )
        try:
            yield _ready(process, port, folder, log_path)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(process: subprocess.Popen[bytes], port: int, folder: Path, log: Path) -> Server:
    token_file = folder / "owner-token"
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise click.ClickException(f"The embedded host did not start:\n{log.read_text(errors='replace')[-3000:]}")
        if token_file.exists() and (token := token_file.read_text().strip()):
            server = Server(f"http://127.0.0.1:{port}", token)
            try:
                if server.call("GET", "/health")["status"] == "ok":
                    return server
            except ServerError:
                pass
        time.sleep(0.1)
    raise click.ClickException(f"The embedded host was not ready in {START_SECONDS} s. Its log: {log}")

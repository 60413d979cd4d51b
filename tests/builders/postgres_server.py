"""A throw-away embedded PostgreSQL for tests: started once, a fresh database for whoever asks."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from auricle.runtime.local.postgres import Postgres
from auricle.runtime.local.roles import ensure_database
from auricle.runtime.local.stepwords import LOGINS, OWNER

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `process` is the postmaster."""

    postgres: Postgres
    process: subprocess.Popen[bytes]

    @property
    def passwords(self) -> Mapping[str, str]:
        """Those of the roles that log in."""
        return {role: self.postgres.keys[role] for role in (OWNER, *LOGINS)}

    def new_database(self) -> str:
        """The name of a fresh database with roles and extension, no tables."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        ensure_database(self.postgres.superuser_url, name, self.passwords)
        return name

    def owner_url(self, database: str) -> str:
        """As `auricle_migrate`: may create and alter tables."""
        return self.postgres.url(OWNER, database)

    def app_url(self, database: str) -> str:
        """As a login of `auricle_app`: reads and writes rows, once migrations have granted it."""
        return self.postgres.url(LOGINS[0], database)


def wait_ready(postgres: Postgres, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Until `process` takes connections; an assertion fails if it ends or takes longer."""
    until = time.monotonic() + seconds
    while not postgres.ready(process):
        assert process.poll() is None, f"postgres ended with {process.returncode}: see the log in {postgres.directory}"
        assert time.monotonic() < until, f"postgres was not ready after {seconds:.0f} s"
        time.sleep(0.02)


@contextmanager
def running(directory: Path | None = None) -> Iterator[Server]:
    """A server in `directory` (a temporary one of its own by default), stopped and removed afterwards."""
    folder = directory or Path(tempfile.mkdtemp(prefix="auricle-pg-"))
    postgres = Postgres(folder, durable=False)
    postgres.prepare()
    with (folder / "postgres.log").open("ab") as log:
        process = postgres.spawn(log)
    try:
        wait_ready(postgres, process)
        yield Server(postgres, process)
    finally:
        postgres.stop(process)
        postgres.forget_sockets()
        if directory is None:
            shutil.rmtree(folder, ignore_errors=True)

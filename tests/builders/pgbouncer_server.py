"""A real PgBouncer for tests (Debian's pgbouncer), in transaction mode, in front of the tests' own PostgreSQL.

`tests/services/install.sh` installs it; without it whatever asks for one is skipped.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from builders.ephemeral import through

START_SECONDS = 30


@contextmanager
def in_front_of(database_url: str, connections: int) -> Iterator[str]:
    """Addresses of the same database and role through a pooler that has `connections` to it, for all clients together."""
    port = _free_port()
    with _running(port, lambda folder: _write(folder, database_url, port, connections)):
        yield through(database_url, port)


@contextmanager
def configured(text: str, users: Mapping[str, str]) -> Iterator[int]:
    """The port of one that is configured as `text` says, apart from places; `users`: name to password, as its list has them."""
    port = _free_port()

    def write(folder: Path) -> None:
        (folder / "users.txt").write_text("".join(f'"{name}" "{password}"\n' for name, password in users.items()))
        places = {"listen_addr": "127.0.0.1", "listen_port": str(port), "auth_file": f"{folder}/users.txt"}
        for name in places:
            assert len(found := re.findall(rf"(?m)^{name} = .*$", text)) == 1, f"{name} is there {len(found)} times"
        (folder / "pgbouncer.ini").write_text(
            re.sub(r"(?m)^(listen_addr|listen_port|auth_file) = .*$", lambda line: f"{line[1]} = {places[line[1]]}", text)
        )

    with _running(port, write):
        yield port


@contextmanager
def _running(port: int, write: Callable[[Path], None]) -> Iterator[None]:
    program = shutil.which("pgbouncer", path=f"/usr/sbin:{os.environ.get('PATH', '')}")
    if program is None:
        pytest.skip("pgbouncer is not installed: tests/services/install.sh does that.")
    folder = Path(tempfile.mkdtemp(prefix="auricle-pgbouncer-"))
    write(folder)
    with (folder / "out.log").open("wb") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", program, str(folder / "pgbouncer.ini")],
            stdout=log,
            stderr=log,
            **_account(folder),
        )
    try:
        _wait(process, port, folder)
        yield
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, database_url: str, port: int, connections: int) -> None:
    parts = urlsplit(database_url)
    sockets = Path(parse_qs(parts.query)["unix_sock"][0]).parent
    name = parts.path.lstrip("/")
    (folder / "users.txt").write_text(f'"{parts.username}" "{parts.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"""
[databases]
{name} = host={sockets} port=5432 dbname={name} user={parts.username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 200
server_reset_query =
"""
    )


def _account(folder: Path) -> dict[str, str]:
    """PgBouncer refuses to be root; PostgreSQL's socket is its owner's alone, who in tests by root is the same account."""
    if os.geteuid() != 0:
        return {}
    from auricle.runtime.local.account import SYSTEM_USER

    account = pwd.getpwnam(SYSTEM_USER)
    for path in (folder, *folder.iterdir()):
        os.chown(path, account.pw_uid, account.pw_gid)
    return {"user": SYSTEM_USER, "group": SYSTEM_USER}


def _wait(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, (folder / "out.log").read_text()[-800:]
            assert time.monotonic() < end, f"pgbouncer was not ready after {START_SECONDS} s"
            time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

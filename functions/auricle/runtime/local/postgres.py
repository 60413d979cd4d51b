"""The embedded PostgreSQL: the wheel's programs as a foreground child of whoever calls, on a private socket, never on TCP."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from auricle.runtime.local.account import MAJOR, account_for, programs_for
from auricle.runtime.local.errors import CannotStart
from auricle.runtime.local.keys import Keys
from auricle.runtime.local.tether import ends_with_parent

SUPERUSER = "postgres"
SOCKET_NAME = ".s.PGSQL.5432"
MAX_SOCKET_PATH = 100
"""Bytes. A socket's address holds 107 on Linux and 103 on macOS; the rest is a margin."""

SETTINGS = {
    "listen_addresses": "",  # no TCP: nobody else on this machine even sees it
    "unix_socket_permissions": "0700",
    "shared_buffers": "32MB",  # the whole idle host is to stay under 250 MB; the system's cache does the rest
    "max_connections": "120",  # API 12, broker 10, workers 3 each; every function its own process with --isolate
    "superuser_reserved_connections": "3",
    "work_mem": "4MB",
    "maintenance_work_mem": "48MB",
    "max_wal_size": "256MB",  # a laptop's disk is not a server's; recovery stays short, too
    "min_wal_size": "32MB",
    "wal_level": "minimal",  # nothing replicates from here: less to write
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",  # one process less
    "max_worker_processes": "2",
    "max_parallel_workers": "0",  # the cores belong to the speech workers
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "io_method": "sync",  # three processes less
    "autovacuum_max_workers": "1",
    "autovacuum_worker_slots": "1",
    "jit": "off",
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
    "restart_after_crash": "on",  # one killed backend does not take the server away
}
"""Given on the command line, not in a file: each release brings its own, and nobody edits them into surprises."""

ENDING = ((signal.SIGINT, 1.8), (signal.SIGQUIT, 0.6))
"""Signals that end a server and the seconds that each is given: all sessions are cut off and everything is written down;
or nothing is, and the next start recovers. The whole host stops within 5 s."""

EPHEMERAL = {"fsync": "off", "full_page_writes": "off"}
"""For tests whose data nobody misses. What is committed still survives a killed server, though not a killed machine."""


class Postgres:
    """One cluster in `directory/postgres`, its passwords in `directory/secrets.json`.

    `prepare()` once, then `spawn()` as often as it dies. The caller owns the process: it waits for `ready()`, restarts and
    stops it. Nothing here waits for long but `prepare()` (a second, on the first start), `stop()`, and `spawn()` where an
    earlier, killed host left its server running.
    """

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        """`directory` exists and is ours. Without `durable` a crash of the machine may destroy the cluster (tests)."""
        self.directory = directory.resolve()
        self.cluster = self.directory / "postgres"
        self.keys = Keys(self.directory / "secrets.json")
        self.account = account_for(self.cluster)
        self.programs = programs_for(self.account)
        self.durable = durable

    @property
    def sockets(self) -> Path:
        """The folder of the socket: in `directory` where its path is short enough and the server's account gets there."""
        inside = self.directory / "run"
        if self.account is None and len(os.fsencode(inside / SOCKET_NAME)) <= MAX_SOCKET_PATH:
            return inside
        name = f"auricle-{hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]}"
        return _short_folder() / name

    @property
    def superuser_url(self) -> str:
        """For migrations' first step (roles, extensions) only: no function ever sees it."""
        return self.url(SUPERUSER, SUPERUSER)

    def url(self, role: str, database: str) -> str:
        """The SQLAlchemy address of `database` for `role`, whose password is made on first need."""
        return f"postgresql+pg8000://{role}:{self.keys[role]}@/{database}?unix_sock={quote(str(self.sockets / SOCKET_NAME))}"

    def prepare(self) -> None:
        """Make the cluster if there is none; refuse one of another major version."""
        self._own_socket_folder()
        if (self.cluster / "PG_VERSION").exists():
            self._refuse_other_version()
        else:
            self._make_cluster()

    def spawn(self, log: int | IO[Any], more: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start the server as a child that ends with this process; its messages go to `log`, and `more` settings win."""
        self.end_leftover()
        folders = '"' + str(self.sockets).replace('"', '""') + '"'  # a list by its syntax: commas and blanks would divide it
        settings = {**SETTINGS, **({} if self.durable else EPHEMERAL), "unix_socket_directories": folders, **(more or {})}
        command = [str(self.programs / "postgres"), "-D", self._inside(), *(f"--{k}={v}" for k, v in settings.items())]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone: it stops its children in order
            preexec_fn=ends_with_parent(signal.SIGINT),  # cleanly, even then
            **self._as_account(self.cluster),
        )

    def ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether `process` takes connections. False while it recovers from a crash, however long that takes."""
        lines = self._pid_file()
        return len(lines) >= 8 and lines[0] == str(process.pid) and lines[7] == "ready"

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End it: cleanly if it can be soon, else at once (the next start recovers), else by force."""
        for number, patience in (*ENDING, (signal.SIGKILL, 5.0)):
            if process.poll() is not None:
                return
            process.send_signal(number)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                continue

    def forget_sockets(self) -> None:
        """Remove the socket's folder, once the server has ended, where it lies among other people's."""
        if self.sockets.parent != self.directory:
            shutil.rmtree(self.sockets, ignore_errors=True)

    def end_leftover(self) -> None:
        """Stop a server of this cluster that an earlier, killed host left; forget a process id that is somebody else's now."""
        lines = self._pid_file()
        if not lines or not lines[0].isdigit():
            return
        pid = int(lines[0])
        for number, patience in ((signal.SIGINT, 5.0), (signal.SIGQUIT, 2.0), (signal.SIGKILL, 2.0)):
            if not self._serves(pid):
                break
            os.kill(pid, number)
            until = time.monotonic() + patience
            while time.monotonic() < until and self._serves(pid):
                time.sleep(0.02)
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def _pid_file(self) -> list[str]:
        """Lines of `postmaster.pid`: 1 is the process id, 8 the state."""
        try:
            return [line.strip() for line in (self.cluster / "postmaster.pid").read_text().splitlines()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _serves(self, pid: int) -> bool:
        """Whether process `pid` is a living server of this cluster: servers work inside their cluster's folder."""
        import psutil  # only after a crash: the supervisor stays small

        try:
            process = psutil.Process(pid)
            return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == self.cluster
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def _refuse_other_version(self) -> None:
        found = (self.cluster / "PG_VERSION").read_text().strip()
        if found != MAJOR:
            raise CannotStart(
                f"{self.cluster} was written by PostgreSQL {found}, and this Auricle brings PostgreSQL {MAJOR}. Start it with "
                "the Auricle that wrote it, or move that folder away to begin anew. Nothing was changed."
            )

    def _own_socket_folder(self) -> None:
        folder = self.sockets
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise CannotStart(f"The folder {folder} for the database's socket cannot be made: {error.strerror}.") from error
        found = folder.lstat()
        owner = self.account.uid if self.account else os.geteuid()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (owner, os.geteuid()):
            raise CannotStart(f"{folder} belongs to somebody else. Remove it, or give Auricle another --data folder.")
        folder.chmod(0o700)
        if self.account:
            os.chown(folder, self.account.uid, self.account.gid)

    def _make_cluster(self) -> None:
        """initdb into a folder beside, then rename: an interrupted first start leaves nothing half-made."""
        if self.cluster.exists() and any(self.cluster.iterdir()):
            raise CannotStart(
                f"{self.cluster} is not empty and holds no database. Move it away, or choose another --data folder."
            )
        beginning = self.directory / "postgres.new"
        shutil.rmtree(beginning, ignore_errors=True)
        beginning.mkdir(mode=0o700)
        if self.account:
            os.chown(beginning, self.account.uid, self.account.gid)
        password = self.sockets / "password"
        password.touch(mode=0o600)
        try:
            password.write_text(self.keys[SUPERUSER])
            if self.account:
                os.chown(password, self.account.uid, self.account.gid)
            self._initdb(beginning, password)
        finally:
            password.unlink(missing_ok=True)
        beginning.replace(self.cluster)

    def _initdb(self, folder: Path, password: Path) -> None:
        command = [str(self.programs / "initdb"), "-D", self._inside() if self.account else str(folder), "-U", SUPERUSER]
        command += ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--no-instructions"]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]  # the same order on every machine
        if not self.durable:
            command.append("--no-sync")
        elif sys.platform == "linux":
            command.append("--sync-method=syncfs")  # one call instead of a thousand: a second and a half less
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **self._as_account(folder))
        if done.returncode:
            said = next((line for line in done.stderr.splitlines() if "error" in line.lower()), done.stderr.strip())
            raise CannotStart(f"The database could not be made in {folder.parent}: {said}.")

    def _inside(self) -> str:
        """How the server names its folder: the way it is, or the way past closed folders above it (see `account`)."""
        return "/proc/self/cwd" if self.account else str(self.cluster)

    def _as_account(self, folder: Path) -> dict[str, Any]:
        """What starts a program inside `folder` under the right account, with a bare environment."""
        chosen: dict[str, Any] = {"cwd": folder, "umask": 0o077, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}}
        if self.account:
            chosen |= {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        return chosen


def _short_folder() -> Path:
    """Where short-lived sockets go: the user's runtime folder, `/run` for root, else `/tmp`."""
    if os.geteuid() == 0 and os.access("/run", os.W_OK):
        return Path("/run")
    runtime = Path(f"/run/user/{os.geteuid()}")
    return runtime if os.access(runtime, os.W_OK) else Path("/tmp")  # noqa: S108  (the folder made in it is checked and 0700)

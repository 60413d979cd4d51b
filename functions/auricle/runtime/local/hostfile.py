"""Who runs the host of a data folder, and where: `DIR/lock` says whether, `DIR/run/host.json` says what."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

import msgspec

from auricle.runtime.local.errors import CannotStart


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the host. `since` is Unix time in seconds."""

    name: str
    pid: int
    since: float
    restarts: int = 0


class HostFile(msgspec.Struct, frozen=True, kw_only=True):
    """The running host. `ready` turns true once the last process answers."""

    supervisor: int
    url: str
    broker_url: str
    since: float
    database: str  # `embedded` or `yours` (DATABASE_URL)
    isolated: bool = False
    ready: bool = False
    processes: tuple[Running, ...] = ()


def host_path(data: Path) -> Path:
    """Where the host file of `data` is."""
    return data / "run" / "host.json"


def write(path: Path, host: HostFile) -> None:
    """Replace the file whole, so that readers never see half of it."""
    partial = path.with_suffix(".new")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(host), indent=2))
    partial.replace(path)


def read(data: Path) -> HostFile | None:
    """The host of `data`, if one runs; None too while it has only just begun."""
    if holder(data) is None:
        return None
    try:
        return msgspec.json.decode(host_path(data).read_bytes(), type=HostFile)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def holder(data: Path) -> int | None:
    """The process id of the host that holds `data`'s lock; None when nobody does, whatever files were left behind."""
    try:
        with (data / "lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdigit() else 0
            return None
    except FileNotFoundError:
        return None


class Lock:
    """The right to be the host of a data folder. The kernel gives it up with the process, however that ends."""

    def __init__(self, data: Path) -> None:
        """Nothing is taken before `with`."""
        self._data = data
        self._file = -1

    def __enter__(self) -> Lock:
        """Take it, or say who has it."""
        self._file = os.open(self._data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            pid = holder(self._data)
            who = f" (process {pid})" if pid else ""
            raise CannotStart(
                f"Auricle is already running on {self._data}{who}. See `auricle status`, stop it with `auricle down`, "
                "or give this one another --data folder and --port."
            ) from None
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{os.getpid()}\n".encode())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give it up."""
        os.close(self._file)

"""Ports and addresses on this machine, without any library for them: the supervisor stays small."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from auricle.runtime.local.errors import CannotStart

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not listened on
"""Where a server that listens everywhere is reached from here."""


@contextlib.contextmanager
def claimed(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket (any free port for 0), or a sentence about who is in the way."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((host, port))
            opened.listen(256)
        except OSError as error:
            raise CannotStart(
                f"Port {port} on {host} cannot be used: {(error.strerror or str(error)).lower()}. "
                "Stop what listens there, or choose another port with --port."
            ) from error
        yield opened


def answers(host: str, port: int, path: str) -> bool:
    """Whether `GET path` gives a 2xx. By hand: an HTTP library would double the supervisor's size."""
    local = EVERYWHERE.get(host, host)
    try:
        with socket.create_connection((local, port), timeout=1.0) as line:
            line.sendall(f"GET {path} HTTP/1.0\r\nHost: {local}\r\n\r\n".encode())
            return line.recv(64)[9:10] == b"2"  # after `HTTP/1.x `
    except OSError:
        return False


def driver_named(url: str) -> str:
    """A PostgreSQL address with the driver that we use; other programs' addresses (`postgres://`) are understood."""
    scheme, separator, rest = url.partition("://")
    if scheme not in ("postgres", "postgresql", "postgresql+pg8000") or not separator:
        raise CannotStart("DATABASE_URL is not an address of PostgreSQL: postgresql://user:password@host:5432/database.")
    return f"postgresql+pg8000://{rest}"

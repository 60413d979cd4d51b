"""A directory over LDAPS that knows nobody, and remembers what it was asked: the filters of searches, as it understood them."""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from builders.pki import Authority

SUCCESS, INVALID_CREDENTIALS = 0, 49
BIND, SEARCH = 0x60, 0x63
"""Tags of the two operations that it answers (RFC 4511, 4.2 and 4.5.1); the answers' are one and two higher."""
AND, OR, EQUAL = 0xA0, 0xA1, 0xA3


@dataclass
class DirectoryEar:
    """Where it is, and what it heard. `values`: what each search looked for; `shapes`: the filters without the values."""

    port: int
    ca_pem: str
    values: list[str] = field(default_factory=list)
    shapes: set[str] = field(default_factory=set)
    bound: list[str] = field(default_factory=list)

    def heard(self, message: bytes) -> bytes | None:
        """The answer to one message: binds of the service account succeed, searches find nothing."""
        (_, number), (operation, asked), *_ = parts(message)
        fields = list(parts(asked))
        if operation == BIND:
            self.bound.append(fields[1][1].decode())
            right = self.bound[-1].startswith("cn=auricle,")
            return _answer(number, BIND + 1, SUCCESS if right else INVALID_CREDENTIALS)
        if operation == SEARCH:
            self.shapes.add(self._shape(*fields[6]))
            return _answer(number, SEARCH + 2, SUCCESS)
        return None

    def _shape(self, tag: int, value: bytes) -> str:
        if tag in (AND, OR):
            return f"({'&' if tag == AND else '|'}{''.join(self._shape(*part) for part in parts(value))})"
        if tag == EQUAL:
            (_, name), (_, wanted) = parts(value)
            self.values.append(wanted.decode())
            return f"({name.decode()}=…)"
        return f"({tag:x})"


def parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """What stands in a sequence: tags with values (BER, definite lengths)."""
    while data:
        size, start = _length(data)
        yield data[0], data[start : start + size]
        data = data[start + size :]


def _length(data: bytes) -> tuple[int, int]:
    """Of the first value, and where it begins."""
    if data[1] < 0x80:
        return data[1], 2
    more = data[1] & 0x7F
    return int.from_bytes(data[2 : 2 + more]), 2 + more


def _answer(number: bytes, operation: int, code: int) -> bytes:
    result = bytes((operation, 7, 0x0A, 1, code, 4, 0, 4, 0))
    named = bytes((2, len(number))) + number
    return bytes((0x30, len(named) + len(result))) + named + result


@contextmanager
def listening() -> Iterator[DirectoryEar]:
    """One that listens on loopback, with a certificate that `ca_pem` vouches for."""
    authority = Authority.root(now=datetime.now(UTC).replace(microsecond=0))
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        certificate, key = authority.server("localhost", "127.0.0.1").write(Path(folder))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        ear = DirectoryEar(listener.getsockname()[1], authority.pem)

        def serve(line: socket.socket) -> None:
            try:
                with context.wrap_socket(line, server_side=True) as safe:
                    waiting = b""
                    while data := safe.recv(65536):
                        waiting += data
                        size, start = _length(waiting)
                        if len(waiting) < start + size:
                            continue
                        message, waiting = waiting[start : start + size], waiting[start + size :]
                        if (said := ear.heard(message)) is not None:
                            safe.sendall(said)
            except OSError:
                return

        def accept() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(line,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield ear
        finally:
            listener.shutdown(socket.SHUT_RDWR)

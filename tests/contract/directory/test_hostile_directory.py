"""Servers that refuse TLS, break off, or speak out of turn: whatever they do, no password is sent in clear."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from auricle.adapters.directory.ldap3 import Ldap3Directory
from auricle.errors import Permanent, Retryable
from auricle.ports.directory import Check, DirectoryConnection, Encryption, ServerAddress
from builders.pki import Authority

STARTTLS_OID = b"1.3.6.1.4.1.1466.20037"
CA = Authority.root()


@dataclass
class Heard:
    """All that was sent to a server without TLS, connection by connection."""

    port: int
    connections: list[bytearray] = field(default_factory=list)

    @property
    def everything(self) -> bytes:
        """All of it."""
        return b"|".join(bytes(said) for said in self.connections)


def number(request: bytes) -> bytes:
    """The message id of a request, as it stands in it."""
    start = 2 if request[1] < 0x80 else 2 + (request[1] & 0x7F)
    return request[start : start + 2 + request[start + 1]]


def message(number: bytes, operation: bytes) -> bytes:
    return bytes((0x30, len(number) + len(operation))) + number + operation


def extended(number: bytes, code: int) -> bytes:
    return message(number, bytes((0x78, 7, 0x0A, 1, code, 4, 0, 4, 0)))


def following(number: bytes) -> bytes:
    """The message id after this one."""
    return number[:2] + (int.from_bytes(number[2:], "big") + 1).to_bytes(len(number) - 2, "big")


def bound(number: bytes) -> bytes:
    """A bind's success."""
    return message(number, bytes((0x61, 7, 0x0A, 1, 0, 4, 0, 4, 0)))


@contextmanager
def saying(answer: Callable[[socket.socket, bytes], None]) -> Iterator[Heard]:
    """A server that hands each thing it hears to `answer`."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard = Heard(listener.getsockname()[1])

    def serve(line: socket.socket) -> None:
        said = bytearray()
        heard.connections.append(said)
        with line:
            try:
                while data := line.recv(4096):
                    said += data
                    answer(line, data)
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
        yield heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def directory(port: int, encryption: Encryption = Encryption.STARTTLS, **other: object) -> Ldap3Directory:
    settings: dict[str, object] = {
        "servers": (ServerAddress(host="127.0.0.1", port=port, encryption=encryption),),
        "bind_dn": "cn=auricle,dc=test",
        "bind_password": "service-secret",
        "ca_pem": CA.pem,
        "people": "dc=test",
        "groups": "dc=test",
        "seconds": 1,
    }
    return Ldap3Directory(DirectoryConnection(**{**settings, **other}))  # type: ignore[arg-type]


def refuse(line: socket.socket, request: bytes) -> None:
    line.sendall(extended(number(request), 2))


def not_now(line: socket.socket, request: bytes) -> None:
    line.sendall(extended(number(request), 52))


def agree_and_bind_at_once(line: socket.socket, request: bytes) -> None:
    """Answers in clear what will be asked under TLS only: what somebody on the way would do."""
    if STARTTLS_OID in request:
        line.sendall(extended(number(request), 0) + bound(following(number(request))))


def agree_and_hang_up(line: socket.socket, request: bytes) -> None:
    if STARTTLS_OID in request:
        line.sendall(extended(number(request), 0))
    line.shutdown(socket.SHUT_RDWR)


def agree_and_go_on_in_clear(line: socket.socket, request: bytes) -> None:
    line.sendall(extended(number(request), 0) if STARTTLS_OID in request else bound(b"\x02\x01\x02"))


def agree_to_anything(line: socket.socket, request: bytes) -> None:
    """Says yes to whatever is asked, in clear."""
    line.sendall(extended(number(request), 0) if STARTTLS_OID in request else bound(number(request)))


@pytest.mark.parametrize(
    "answer",
    [refuse, not_now, agree_and_bind_at_once, agree_and_hang_up, agree_and_go_on_in_clear, agree_to_anything],
    ids=lambda answer: answer.__name__,
)
def test_no_password_is_sent_before_tls_stands(answer: Callable[[socket.socket, bytes], None]) -> None:
    with saying(answer) as server, pytest.raises((Permanent, Retryable)):
        directory(server.port).sign_in("alice", "alice-secret")
    assert STARTTLS_OID in server.everything
    assert b"secret" not in server.everything
    assert b"cn=auricle" not in server.everything


@pytest.mark.parametrize("answer", [refuse, not_now], ids=lambda answer: answer.__name__)
def test_a_server_that_refuses_starttls_is_refused_with_a_reason(answer: Callable[[socket.socket, bytes], None]) -> None:
    with saying(answer) as server, pytest.raises(Permanent, match="does not start TLS"):
        directory(server.port).sign_in("alice", "alice-secret")


def test_a_server_without_tls_is_refused_on_the_port_for_it() -> None:
    with saying(lambda line, _: line.sendall(bound(b"\x02\x01\x01"))) as server, pytest.raises(Permanent, match="TLS"):
        directory(server.port, Encryption.LDAPS).sign_in("alice", "alice-secret")
    assert b"secret" not in server.everything


def test_a_server_that_says_nothing_is_not_waited_for_for_ever() -> None:
    with saying(lambda line, request: None) as server, pytest.raises(Retryable):
        directory(server.port).sign_in("alice", "alice-secret")


def test_nobody_there_is_said_without_names() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = directory(unused.getsockname()[1])
        with pytest.raises(Retryable) as caught:
            gone.sign_in("alice", "alice-secret")
        assert "alice" not in str(caught.value)
        assert [(finding.check, finding.passed) for finding in gone.test_connection()] == [(Check.CONNECTION, False)]


def test_what_cannot_be_a_password_reaches_no_server() -> None:
    with saying(refuse) as server:
        found = directory(server.port)
        assert [found.sign_in("alice", password) for password in ("", "\0", "\u00ad", "x" * 2000)] == [None] * 4
        assert [found.sign_in(login, "p") for login in ("", "  ", "a\0b", "a\nb", "x" * 300)] == [None] * 5
        assert server.connections == []


def test_authorities_that_cannot_be_read_are_said_at_once() -> None:
    with pytest.raises(Permanent, match="CA certificates"):
        directory(1, ca_pem="-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")


def test_settings_show_no_password() -> None:
    settings = directory(1)._settings
    assert "service-secret" not in repr(settings)

"""A real SMTP server (aiosmtpd) on loopback, with TLS, passwords, and recipients that cause trouble."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USER, PASSWORD = "auricle", "correct horse"
TROUBLE = {
    "later@example.org": "451 4.3.0 Try again later",
    "full@example.org": "452 4.2.2 later@secret.example has no room",
    "nobody@example.org": "550 5.1.1 nobody@example.org does not exist",
}
"""What is said to RCPT TO these."""
AFTER_DATA = {"spam@example.org": "554 5.7.1 Not this", "greylisted@example.org": "451 4.7.1 Come back"}
HANG_UP = "lost@example.org"
"""The connection ends when the letter for this one has been sent, before it is taken."""


@dataclass
class Letter:
    """What arrived: envelope and headers."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    encrypted: bool
    user: str | None


@dataclass
class SmtpServer:
    """A server and what it has got."""

    port: int = 0
    letters: list[Letter] = field(default_factory=list)

    def authenticate(self, server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        """One user, one password."""
        good = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode()) == (USER, PASSWORD)
        return AuthResult(success=good, handled=False, auth_data=USER if good else None)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take the recipient, unless it is one of trouble."""
        if address in TROUBLE:
            return TROUBLE[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep the letter."""
        first = envelope.rcpt_tos[0]
        if first == HANG_UP:
            assert server.transport is not None
            server.transport.abort()
            return "250 never said"
        if first in AFTER_DATA:
            return AFTER_DATA[first]
        message = message_from_bytes(envelope.content or b"", policy=default)  # type: ignore[arg-type]
        assert isinstance(message, EmailMessage)
        user = session.auth_data if session.authenticated else None
        self.letters.append(Letter(envelope.mail_from or "", envelope.rcpt_tos, message, session.ssl is not None, user))
        return "250 taken"


@contextmanager
def running(certificate: ssl.SSLContext | None, *, implicit: bool = False, passwords: bool = False) -> Iterator[SmtpServer]:
    """A server: STARTTLS with a `certificate`, TLS from the first byte if `implicit`, in the clear without a certificate."""
    found = SmtpServer()
    loop = asyncio.new_event_loop()
    options: dict[str, Any] = {"loop": loop, "hostname": "mail.test"}
    if certificate is not None and not implicit:
        options |= {"tls_context": certificate, "require_starttls": True}
    if passwords:
        options |= {
            "authenticator": found.authenticate,
            "auth_required": True,
            "auth_require_tls": certificate is not None and not implicit,
        }

    async def listen() -> asyncio.Server:
        return await loop.create_server(lambda: SMTP(found, **options), "127.0.0.1", 0, ssl=certificate if implicit else None)

    server = loop.run_until_complete(listen())
    found.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@dataclass(frozen=True)
class Authority:
    """A certificate authority of our own, and certificates of servers signed by it."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def file(self) -> Path:
        """What clients trust it by (PEM)."""
        return self.folder / "ca.pem"

    def context(self, *names: str, days: int = 1) -> ssl.SSLContext:
        """For a server of these names (host names or addresses); `days` below zero have passed already."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [_name(name) for name in names]
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        built = _builder(names[0], self.certificate.subject, key, days)
        built = built.add_extension(x509.SubjectAlternativeName(alternatives), critical=False).add_extension(
            usage, critical=False
        )
        built = built.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        folder = self.folder / f"{names[0]}-{days}"
        folder.mkdir(exist_ok=True)
        _write(folder / "cert.pem", built.sign(self.key, hashes.SHA256()))
        (folder / "key.pem").write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        return context


def authority(folder: Path) -> Authority:
    """A new one, in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
    built = _builder("Test CA", subject, key, 2).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    built = built.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = built.add_extension(usage, critical=True).sign(key, hashes.SHA256())
    _write(folder / "ca.pem", certificate)
    return Authority(folder, key, certificate)


def _builder(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    end = datetime.now(UTC) + timedelta(days=days)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=10))
        .not_valid_after(end)
    )


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

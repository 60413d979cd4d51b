"""Certificate authorities for tests: whatever a certificate, a revocation list or an OCSP answer can be, right or wrong."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
    ObjectIdentifier,
)

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
MOMENT = datetime(2040, 6, 1, 12, tzinfo=UTC)
"""The moment of tests that need no real clock. Far ahead, because OCSP answers are always produced by the real one."""
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
OCSP_SIGNING = ExtendedKeyUsageOID.OCSP_SIGNING
UPN = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
FASC_N = ObjectIdentifier("2.16.840.1.101.3.6.6")
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def upn(value: str) -> x509.OtherName:
    """A user principal name as Windows writes it: an otherName that holds a UTF8String."""
    return x509.OtherName(UPN, _tlv(0x0C, value.encode()))


def fasc_n(value: bytes) -> x509.OtherName:
    """A PIV card's FASC-N: an otherName that holds an OCTET STRING."""
    return x509.OtherName(FASC_N, _tlv(0x04, value))


def name(common: str | None, *more: tuple[ObjectIdentifier, str]) -> x509.Name:
    """A distinguished name of our tests' organization."""
    parts = [(NameOID.ORGANIZATION_NAME, "Tests"), *more, *([(NameOID.COMMON_NAME, common)] if common else [])]
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


def usage(**allowed: bool) -> x509.KeyUsage:
    """A key usage with nothing but `allowed`."""
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{**dict.fromkeys(every, False), **allowed})


@dataclass
class Holder:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> str:
        """The certificate."""
        return self.certificate.public_bytes(PEM).decode()

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def write(self, folder: Path, *chain: Holder) -> tuple[Path, Path]:
        """Certificate (with `chain` after it) and key as PEM files."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / "tls.crt", folder / "tls.key"
        certificate.write_text(self.pem + "".join(other.pem for other in chain))
        key.write_bytes(self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return certificate, key


@dataclass
class Authority(Holder):
    """One that signs: certificates, lists of revoked ones, OCSP answers. `crl` and `ocsp`: the addresses it writes into them."""

    now: datetime = MOMENT
    crl: str | None = None
    ocsp: str | None = None
    revoked: dict[int, datetime] = field(default_factory=dict)

    @classmethod
    def root(cls, common: str = "Test Root", *, now: datetime = MOMENT, path_length: int | None = None) -> Authority:
        """One that nobody stands above."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(
            name(common),
            key,
            name(common),
            key,
            None,
            (now - 365 * DAY, now + 3650 * DAY),
            [
                (x509.BasicConstraints(ca=True, path_length=path_length), True),
                (usage(key_cert_sign=True, crl_sign=True), True),
            ],
        )
        return cls(made, key, now)

    def under(
        self,
        common: str = "Test Issuing",
        *,
        path_length: int | None = None,
        signs_lists: bool = True,
        is_ca: bool = True,
        more: Sequence[tuple[x509.ExtensionType, bool]] = (),
        valid: tuple[datetime, datetime] | None = None,
    ) -> Authority:
        """An authority that this one vouches for."""
        key = ec.generate_private_key(ec.SECP256R1())
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=is_ca, path_length=path_length), True),
            (usage(key_cert_sign=True, crl_sign=signs_lists), True),
            *self._sources(),
            *more,
        ]
        period = valid or (self.now - 30 * DAY, self.now + 365 * DAY)
        made = _certificate(name(common), key, self.certificate.subject, self.key, self.certificate, period, extensions)
        return Authority(made, key, self.now)

    def client(
        self,
        common: str | None = "ada.test",
        *names: x509.GeneralName,
        subject: x509.Name | None = None,
        purposes: Sequence[ObjectIdentifier] | None = (CLIENT,),
        key_usage: x509.KeyUsage | None = None,
        valid: tuple[datetime, datetime] | None = None,
        key: Key | None = None,
        more: Sequence[tuple[x509.ExtensionType, bool]] = (),
        constraints: x509.BasicConstraints | None = None,
        serial: int | None = None,
    ) -> Holder:
        """A person's certificate; `purposes` None leaves the extended key usage out."""
        own = key or ec.generate_private_key(ec.SECP256R1())
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (constraints or x509.BasicConstraints(ca=False, path_length=None), True),
            (key_usage or usage(digital_signature=True), True),
            *self._sources(),
            *more,
        ]
        if purposes is not None:
            extensions.append((x509.ExtendedKeyUsage(purposes), False))
        if names:
            extensions.append((x509.SubjectAlternativeName(names), False))
        period = valid or (self.now - DAY, self.now + 30 * DAY)
        called = name(common) if subject is None else subject
        made = _certificate(called, own, self.certificate.subject, self.key, self.certificate, period, extensions, serial)
        return Holder(made, own)

    def server(self, *hosts: str) -> Holder:
        """A server's certificate for names and IP addresses."""
        names: list[x509.GeneralName] = []
        for host in hosts:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        return self.client(hosts[0], *names, purposes=[SERVER])

    def revoke(self, holder: Holder, at: datetime | None = None) -> None:
        """From now on its lists and OCSP answers say so."""
        self.revoked[holder.certificate.serial_number] = at or self.now - HOUR

    def revocation_list(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        signer: Holder | None = None,
        number: int = 1,
        more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> bytes:
        """A CRL in DER; `signer` signs in this authority's name."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(since or self.now - HOUR)
            .next_update(until or self.now + DAY)
            .add_extension(x509.CRLNumber(number), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)
        )
        for extension, critical in more:
            builder = builder.add_extension(extension, critical)
        for serial, at in self.revoked.items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign((signer or self).key, hashes.SHA256()).public_bytes(DER)

    def responder(
        self,
        common: str = "Test Responder",
        *,
        purposes: Sequence[ObjectIdentifier] = (OCSP_SIGNING,),
        no_check: bool = True,
        valid: tuple[datetime, datetime] | None = None,
    ) -> Holder:
        """Somebody who may answer OCSP for this authority."""
        more: list[tuple[x509.ExtensionType, bool]] = [(x509.OCSPNoCheck(), False)] if no_check else []
        return self.client(common, purposes=purposes, more=more, valid=valid)

    def answer(
        self,
        request: bytes,
        *,
        signer: Holder | None = None,
        certificates: Iterable[Holder] = (),
        known: Iterable[int] = (),
        nonce: bytes | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        about: Holder | None = None,
        with_until: bool = True,
        by_name: bool = False,
    ) -> bytes:
        """An OCSP answer in DER. `nonce` None repeats the one asked with, b"" leaves it out; `about` answers of another one."""
        asked = ocsp.load_der_ocsp_request(request)
        serial = about.certificate.serial_number if about else asked.serial_number
        revoked = self.revoked.get(serial)
        status = ocsp.OCSPCertStatus.GOOD if serial in set(known) else ocsp.OCSPCertStatus.UNKNOWN
        if revoked is not None:
            status = ocsp.OCSPCertStatus.REVOKED
        by = signer or self
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response_by_hash(
                issuer_name_hash=asked.issuer_name_hash,
                issuer_key_hash=asked.issuer_key_hash,
                serial_number=serial,
                algorithm=asked.hash_algorithm,
                cert_status=status,
                this_update=since or self.now - HOUR,
                next_update=(until or self.now + DAY) if with_until else None,
                revocation_time=revoked,
                revocation_reason=None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.NAME if by_name else ocsp.OCSPResponderEncoding.HASH, by.certificate)
        )
        carried = [holder.certificate for holder in certificates]
        if carried:
            builder = builder.certificates(carried)
        repeated = _nonce(asked) if nonce is None else nonce
        if repeated:
            builder = builder.add_extension(x509.OCSPNonce(repeated), False)
        return builder.sign(by.key, hashes.SHA256()).public_bytes(DER)

    def _sources(self) -> list[tuple[x509.ExtensionType, bool]]:
        found: list[tuple[x509.ExtensionType, bool]] = []
        if self.crl:
            point = x509.DistributionPoint([x509.UniformResourceIdentifier(self.crl)], None, None, None)
            found.append((x509.CRLDistributionPoints([point]), False))
        if self.ocsp:
            place = x509.UniformResourceIdentifier(self.ocsp)
            found.append(
                (x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)]), False)
            )
        return found


@dataclass
class Publisher:
    """A web server of authorities: `lists` by path, and `responder`, which answers every POST; None is silence (503)."""

    url: str = ""
    lists: dict[str, bytes | None] = field(default_factory=dict)
    responder: Callable[[bytes], bytes | None] | None = None
    heard: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, body: bytes) -> bytes | None:
        """What there is at `path`."""
        self.heard.append(f"{method} {path}")
        if method == "POST":
            return self.responder(body) if self.responder else None
        return self.lists.get(path)


@contextmanager
def publishing() -> Iterator[Publisher]:
    """A publisher on loopback."""
    publisher = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found = publisher.answer(self.command, self.path, body)
            self.send_response(503 if found is None else 200)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    publisher.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield publisher
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _nonce(request: ocsp.OCSPRequest) -> bytes:
    try:
        return request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return b""


def _certificate(
    subject: x509.Name,
    key: Key,
    issuer: x509.Name,
    issuer_key: Key,
    issuer_certificate: x509.Certificate | None,
    period: tuple[datetime, datetime],
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    serial: int | None = None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(period[0])
        .not_valid_after(period[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    if issuer_certificate is not None:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(identifier, False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _tlv(tag: int, value: bytes) -> bytes:
    """A DER value of fewer than 128 bytes."""
    assert len(value) < 128
    return bytes((tag, len(value))) + value

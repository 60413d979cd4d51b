"""The gateway's real nginx on this machine: its own files, with places and ports of ours as an overlay would give them."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

FILES = Path(__file__).parents[2] / "manifests" / "base" / "gateway"
TENANTS = FILES.parents[1] / "components" / "gateway-tenants"
KEY = "5a" * 32
PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Pair:
    """A self-signed certificate, its key (PEM files), and the SHA-256 of the certificate in hex."""

    certificate: Path
    key: Path
    fingerprint: str


def certificate(folder: Path, name: str) -> Pair:
    """A certificate for 127.0.0.1 and `name`, which may also act as a client's."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests")])
    names: list[x509.GeneralName] = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    pair = Pair(folder / "tls.crt", folder / "tls.key", made.fingerprint(hashes.SHA256()).hex())
    pair.certificate.write_bytes(made.public_bytes(PEM))
    pair.key.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return pair


@dataclass
class Answer:
    """What came back; header names in lower case, each with all its values."""

    status: int
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        """The one value of a header; "" without it."""
        values = self.headers.get(name.lower(), [""])
        assert len(values) == 1, f"{name} came {len(values)} times: {values}"
        return values[0]


@dataclass
class Nginx:
    """A running gateway."""

    folder: Path
    http: int
    https: int
    tls: Pair
    process: subprocess.Popen[bytes]
    relay: int = 0
    neighbours: Iterator[int] = field(default_factory=lambda: iter(range(2, 250)))

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://127.0.0.1:{self.https}"

    def address(self) -> str:
        """A client's address of its own on this machine, with its own share of the rates."""
        return f"127.0.7.{next(self.neighbours)}"

    def connection(self, source: str = "127.0.0.1", mine: Pair | None = None) -> HTTPSConnection:
        """A connection over TLS from `source`, perhaps with a client certificate."""
        context = ssl.create_default_context(cafile=str(self.folder / "tls" / "tls.crt"))
        if mine is not None:
            context.load_cert_chain(mine.certificate, mine.key)
        return HTTPSConnection("127.0.0.1", self.https, timeout=30, context=context, source_address=(source, 0))

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        *,
        source: str = "127.0.0.1",
        mine: Pair | None = None,
        **headers: str,
    ) -> Answer:
        """One request over TLS; underscores in header names are hyphens."""
        return _ask(self.connection(source, mine), method, path, body, headers)

    def ask_plainly(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """One request to the port without TLS."""
        return _ask(HTTPConnection("127.0.0.1", self.http, timeout=30), method, path, None, headers)

    def tell(self, body: bytes, method: str = "POST", path: str = "/api/bucket-events", **headers: str) -> Answer:
        """One request to the port that is the object store's."""
        return _ask(HTTPConnection("127.0.0.1", self.relay, timeout=60), method, path, body, headers)

    def log(self, name: str) -> str:
        """What it has written to `access` or `error`."""
        return (self.folder / f"{name}.log").read_text()


def _ask(connection: HTTPConnection, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return read(connection.getresponse())
    finally:
        connection.close()


def read(response: HTTPResponse) -> Answer:
    """The whole of an answer."""
    found: dict[str, list[str]] = {}
    for name, value in response.getheaders():
        found.setdefault(name.lower(), []).append(value)
    return Answer(response.status, found, response.read())


@contextmanager
def nginx(
    folder: Path,
    place: str,
    *,
    files: Mapping[str, str] | None = None,
    key: str = KEY,
    over: Path | None = None,
    relay: int | None = None,
) -> Iterator[Nginx]:
    """The gateway with `place` as its place.conf (what `places` makes), a component's files `over` its own, and `files` in place
    of others. What a pod has mounted in /etc/auricle lies in `folder`. `relay`: port of the object store's listener."""
    http, https, free = _free_ports(3)
    relay = relay or free
    for name in ("nginx", "here", "key", "tmp", "hosts", "keys", "certificates", "relay"):
        (folder / name).mkdir(parents=True)
    for path in (p for source in (FILES, over) if source for p in source.iterdir() if p.suffix in (".conf", ".js")):
        shutil.copy(path, folder / "nginx")
    pair = certificate(folder / "tls", "gateway.test")
    (folder / "key" / "GATEWAY_KEY").write_text(key)
    (folder / "here" / "here.conf").write_text('resolver 127.0.0.1:9;\nmap "" $auricle_home { default vault; }\n')
    main = (folder / "nginx" / "nginx.conf").read_text()
    main, count = re.subn(r"listen (8080|8443)", lambda m: f"listen 127.0.0.1:{http if m[1] == '8080' else https}", main)
    main = main.replace("access_log /dev/stdout line;", f"access_log {folder}/access.log line;")
    assert count == 2
    for name, text in {"nginx.conf": main, "place.conf": place, **(files or {})}.items():
        (folder / "nginx" / name).write_text(text)
    for path in (folder / "nginx").glob("*.conf"):
        text = path.read_text().replace("/etc/auricle", str(folder)).replace("listen 8090", f"listen 127.0.0.1:{relay}")
        path.write_text(text)
    command = ["nginx", "-p", f"{folder}/tmp/", "-c", f"{folder}/nginx/nginx.conf"]
    if os.geteuid() == 0:
        command += ["-g", "user root;"]  # else its workers become `nobody`, who may not read our folder
    with (folder / "error.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    made = Nginx(folder, http, https, pair, process, relay)
    try:
        _wait(made)
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def places(functions: Mapping[str, str] | str, objects: str = "127.0.0.1:9") -> str:
    """A place.conf: Knative Service (or all of them) → host:port, and the object store's host:port."""
    table = {"default": functions} if isinstance(functions, str) else {**functions, "default": "127.0.0.1:9"}
    kept = (FILES / "place.conf").read_text()
    maps = {"$auricle_service $auricle_functions": table, '"" $auricle_objects': {"default": objects}}
    for head, rows in maps.items():
        body = "".join(f"    {name} {address};\n" for name, address in rows.items())
        kept, count = re.subn(rf"map {re.escape(head)} {{[^}}]*}}", f"map {head} {{\n{body}}}", kept)
        assert count == 1
    return kept


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _wait(made: Nginx) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert made.process.poll() is None, made.log("error")
        try:
            if made.ask_plainly("/healthz").status == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nginx does not answer:\n{made.log('error')}")


def address(url: str) -> str:
    """host:port of a URL."""
    return url.partition("://")[2].rstrip("/")

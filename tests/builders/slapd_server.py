"""A real OpenLDAP for tests (Debian's slapd): its own ports, authority and people, nothing of the system's configuration.

`tests/services/install.sh` installs it; without it whatever asks for one is skipped.
"""

from __future__ import annotations

import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auricle.ports.directory import DirectoryConnection, Encryption, ServerAddress
from builders.directory import BASE, GROUPS, PEOPLE, Seed
from builders.pki import Authority

START_SECONDS = 30
ROOT, ROOT_PASSWORD = f"cn=admin,{BASE}", "admin-of-tests"
SERVICE, SERVICE_PASSWORD = f"cn=auricle,{BASE}", "service-of-tests"
SCHEMAS = Path("/etc/ldap/schema")
CONFIGURATION = """\
include {schemas}/core.schema
include {schemas}/cosine.schema
include {schemas}/inetorgperson.schema
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.2.840.113556.1.4.2 NAME 'objectGUID' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
objectclass ( 1.3.6.1.4.1.99999.1 NAME 'testAccount' SUP top AUXILIARY
  MAY ( userAccountControl $ sAMAccountName $ objectGUID ) )
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {folder}/pid
{tls}{more}
database mdb
suffix "{base}"
rootdn "{root}"
rootpw {password}
directory {folder}/db
maxsize 67108864
index objectClass,uid,mail,member eq
overlay memberof
memberof-group-oc groupOfNames
memberof-dangling ignore
access to attrs=userPassword by self write by anonymous auth by * none
access to * by dn.exact="{service}" read by self read by * none
"""


@dataclass
class SlapdServer:
    """A server that can be stopped and started again with the same data."""

    folder: Path
    authority: Authority
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    tls: bool = True
    more: str = ""
    port: int = 0
    tls_port: int = 0
    process: subprocess.Popen[bytes] | None = None
    seeded: bool = field(default=False)

    def address(self, encryption: Encryption = Encryption.STARTTLS, host: str = "localhost") -> ServerAddress:
        """Where it listens."""
        return ServerAddress(
            host=host, port=self.tls_port if encryption is Encryption.LDAPS else self.port, encryption=encryption
        )

    def connection(self, **other: object) -> DirectoryConnection:
        """How Auricle reaches it, with `other` in place of what usually holds."""
        usual: Mapping[str, object] = {
            "servers": (self.address(),),
            "bind_dn": SERVICE,
            "bind_password": SERVICE_PASSWORD,
            "ca_pem": self.authority.pem,
            "people": PEOPLE,
            "groups": GROUPS,
            "person_filter": "(objectClass=inetOrgPerson)",
            "login_attributes": ("uid", "mail"),
        }
        return DirectoryConnection(**{**usual, **other})  # type: ignore[arg-type]

    def start(self) -> None:
        """Start it; returns when it answers."""
        if not self.port:
            self.port, self.tls_port = _free_ports(2)
            self._configure()
        command = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            _program("slapd"),
            "-f",
            str(self.folder / "slapd.conf"),
            "-d",
            "stats,config,none",
        ]
        command += ["-h", f"ldap://127.0.0.1:{self.port}/ " + (f"ldaps://127.0.0.1:{self.tls_port}/" if self.tls else "")]
        with (self.folder / "slapd.log").open("ab") as log:
            # slapd sizes its tables by the number of files that it may open.
            limited = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))  # noqa: E731
            self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=limited)
        end = time.monotonic() + START_SECONDS
        while not _answers(self.port):
            assert self.process.poll() is None, self.log()[-1500:]
            assert time.monotonic() < end, f"slapd was not ready after {START_SECONDS} s"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it at once, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def add(self, ldif: str) -> None:
        """Put entries into it, as its administrator."""
        self._as_root("ldapadd", ldif)

    def change(self, ldif: str) -> None:
        """Change entries."""
        self._as_root("ldapmodify", ldif)

    def log(self) -> str:
        """What it has written: each operation with its result."""
        return (self.folder / "slapd.log").read_text()

    def _as_root(self, program: str, ldif: str) -> None:
        command = [_program(program), "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", ROOT, "-w", ROOT_PASSWORD]
        done = subprocess.run(command, input=ldif.encode(), capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr.decode()

    def _configure(self) -> None:
        (self.folder / "db").mkdir()
        tls = ""
        if self.tls:
            certificate, key = self.authority.server(*self.hosts).write(self.folder)
            (self.folder / "ca.pem").write_text(self.authority.pem)
            tls = f"TLSCACertificateFile {self.folder}/ca.pem\nTLSCertificateFile {certificate}\nTLSCertificateKeyFile {key}\n"
        text = CONFIGURATION.format(
            schemas=SCHEMAS,
            folder=self.folder,
            tls=tls,
            more=self.more,
            base=BASE,
            root=ROOT,
            password=ROOT_PASSWORD,
            service=SERVICE,
        )
        (self.folder / "slapd.conf").write_text(text)


@contextmanager
def running(
    seed: Seed | None = None,
    *,
    authority: Authority | None = None,
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
    tls: bool = True,
    more: str = "",
) -> Iterator[SlapdServer]:
    """A server with `seed` in it, ended and forgotten afterwards. `more`: lines of configuration before the database."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="auricle-slapd-")))
        server = SlapdServer(folder, authority or Authority.root(now=datetime.now(UTC)), hosts, tls, more)
        stack.callback(server.stop)
        server.start()
        server.add(_tree() + (seed.ldif() if seed else ""))
        yield server


def _tree() -> str:
    units = "".join(f"dn: {dn}\nobjectClass: organizationalUnit\n\n" for dn in (PEOPLE, GROUPS))
    return (
        f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\n\n{units}"
        f"dn: {SERVICE}\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\nuserPassword: {SERVICE_PASSWORD}\n\n"
    )


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
    if found is None or not SCHEMAS.is_dir():
        pytest.skip("slapd and ldap-utils are not installed: tests/services/install.sh does that.")
    return found


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]

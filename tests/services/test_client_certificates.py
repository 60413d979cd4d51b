"""Client certificates from the handshake to a person: the gateway's real nginx, a real PKI, headers nobody else may write."""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auricle.adapters.certificates.x509 import X509Checker
from auricle.identity.oidc.admission import Admission
from auricle.identity.pki import CertificateConfiguration, Field, as_external, presented, trust
from auricle.identity.trustedheader import Disbelief, HeaderBody, TrustedHeader, changed, identify
from auricle.ports.certificates import CertificateIdentity, Refused, Revocation, Silence, Source
from auricle.ports.oidc import ExternalIdentity
from auricle.runtime.clientheaders import PREFIX, Client, ClientHeaders
from builders.nginx_gateway import FILES, KEY, Answer, Nginx, Pair, address, nginx, places
from builders.pki import DAY, SERVER, Authority, Holder, Publisher, publishing, upn
from builders.scripted_http import Heard, Line, Script, playing

pytestmark = pytest.mark.services
SIGN_IN = "/api/session/certificate"
CERTIFICATE = f"{PREFIX}Certificate"
COMPONENT = FILES.parents[1] / "components" / "client-certificates" / "site.conf"
DOOR = {"X-Request-Id": "0af7651916cd43dd8448eb211c80319c", "Content-Type": "application/json"}
UPNS = {"ada": "ada@corp.test", "eve": "eve@corp.test"}


@dataclass
class House:
    """A gateway that asks for certificates, the function behind it, and the authorities."""

    folder: Path
    gateway: Nginx
    functions: Script
    root: Authority
    issuing: Authority
    web: Publisher

    def pair(self, holder: Holder, *chain: Holder) -> Pair:
        """A certificate as a client presents it: with the authorities between."""
        certificate, key = holder.write(self.folder / holder.fingerprint[:12], *(chain or (self.issuing,)))
        return Pair(certificate, key, holder.fingerprint)

    def person(self, name: str) -> Holder:
        """Somebody with a user principal name."""
        return self.issuing.client(name, upn(UPNS[name]))

    def configuration(self, **revocation: object) -> CertificateConfiguration:
        """What an administrator has set up."""
        return CertificateConfiguration(
            id="corp",
            name="Corp",
            anchors_pem=self.root.pem,
            intermediates_pem=self.issuing.pem,
            field=Field.UPN,
            revocation=Revocation(**revocation),  # type: ignore[arg-type]
            admission=Admission(),
        )

    def signs_in(self, heard: Heard, **revocation: object) -> ExternalIdentity | Refused | None:
        """What the sign-in makes of a request, as the function does: the gateway's word, the certificate, the person."""
        client = self.client(heard)
        if client is None or client.certificate is None:
            return None
        pem = presented(told(heard).get(CERTIFICATE, ""), client.certificate.fingerprint)
        if isinstance(pem, Refused):
            return pem
        configured = self.configuration(**revocation)
        found = X509Checker(trust(configured)).check(pem, datetime.now(UTC))
        return as_external(configured, found) if isinstance(found, CertificateIdentity) else found

    def client(self, heard: Heard) -> Client | None:
        """Who asked, as the door believes it."""
        return ClientHeaders(KEY).client(told(heard), heard.method, heard.path.encode())

    def ask(self, mine: Pair | None = None, path: str = SIGN_IN, source: str = "127.0.0.1", **headers: str) -> Answer:
        """One request; what the function heard is in `functions.heard`."""
        self.functions.heard.clear()
        return self.gateway.ask(path, mine=mine, source=source, **headers)

    @property
    def heard(self) -> Heard:
        """The one request that came through."""
        (heard,) = self.functions.heard
        return heard


def told(heard: Heard) -> dict[str, str]:
    """A request's headers as a function's door has them."""
    return {name.title(): value for name, value in heard.headers.items()}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """All of it, on loopback."""
    folder = tmp_path_factory.mktemp("certificates")
    with ExitStack() as stack:
        web = stack.enter_context(publishing())
        functions = stack.enter_context(playing(Line(200, b"{}", DOOR)))
        root = Authority.root(now=datetime.now(UTC).replace(microsecond=0))
        root.crl = f"{web.url}/root.crl"
        issuing = root.under()
        issuing.crl = f"{web.url}/issuing.crl"
        authority = folder / "clients.crt"
        authority.write_text(root.pem)
        site = COMPONENT.read_text().replace("../clients/ca.crt", str(authority))
        assert str(authority) in site
        gateway = stack.enter_context(nginx(folder / "gateway", places(address(functions.url)), files={"site.conf": site}))
        yield House(folder, gateway, functions, root, issuing, web)


@pytest.fixture(autouse=True)
def _published(house: House) -> None:
    """Nobody is revoked, and the lists are there."""
    house.issuing.revoked.clear()
    house.root.revoked.clear()
    publish(house)


def publish(house: House) -> None:
    """The lists as they are now."""
    house.web.lists = {"/root.crl": house.root.revocation_list(), "/issuing.crl": house.issuing.revocation_list()}


# People


def test_whoever_has_a_certificate_is_known_by_it(house: House) -> None:
    ada = house.person("ada")
    assert house.ask(house.pair(ada)).status == 200
    client = house.client(house.heard)
    assert client is not None
    assert client.certificate is not None
    assert client.certificate.fingerprint == ada.fingerprint
    who = house.signs_in(house.heard)
    assert isinstance(who, ExternalIdentity)
    assert (who.issuer, who.subject) == ("pki:corp", "upn:ada@corp.test")


def test_the_same_over_http_2(house: House) -> None:
    mine = house.pair(house.person("ada"))
    house.functions.heard.clear()
    command = ["curl", "--silent", "--http2", "--cacert", house.gateway.tls.certificate, "--cert", mine.certificate]
    command += ["--key", mine.key, "--write-out", "%{http_version}", f"{house.gateway.url}{SIGN_IN}"]
    assert subprocess.run(command, capture_output=True, timeout=20, check=True).stdout == b"{}2"
    assert isinstance(house.signs_in(house.heard), ExternalIdentity)


def test_whoever_has_none_is_nobody_and_gets_everything_else(house: House) -> None:
    assert house.ask().status == 200
    assert house.signs_in(house.heard) is None
    assert CERTIFICATE.lower() not in house.heard.headers


def test_a_revoked_certificate_is_refused_though_tls_takes_it(house: House) -> None:
    eve = house.person("eve")
    mine = house.pair(eve)
    house.ask(mine)
    assert isinstance(house.signs_in(house.heard), ExternalIdentity)
    house.issuing.revoke(eve)
    publish(house)
    assert house.ask(mine).status == 200
    refused = house.signs_in(house.heard)
    assert isinstance(refused, Refused)
    assert refused.reason == "revoked"


def test_a_revoked_authority_signs_nobody_in(house: House) -> None:
    house.root.revoke(house.issuing)
    publish(house)
    house.ask(house.pair(house.person("ada")))
    refused = house.signs_in(house.heard)
    assert isinstance(refused, Refused)
    assert refused.reason == "revoked"


def test_a_responder_says_the_same(house: House) -> None:
    ada, eve = (
        Authority(house.issuing.certificate, house.issuing.key, house.issuing.now, ocsp=f"{house.web.url}/ocsp").client(
            name, upn(UPNS[name])
        )
        for name in ("ada", "eve")
    )
    house.issuing.revoke(eve)
    house.web.responder = lambda request: house.issuing.answer(request, known=[ada.certificate.serial_number])
    found = []
    for holder in (ada, eve):
        house.ask(house.pair(holder))
        who = house.signs_in(house.heard)
        found.append(who.reason.value if isinstance(who, Refused) else None)
    assert found == [None, "revoked"]


def test_when_nobody_can_say_it_is_as_was_configured(house: House) -> None:
    house.web.lists.clear()
    house.ask(house.pair(house.person("ada")))
    refused = house.signs_in(house.heard)
    assert isinstance(refused, Refused)
    assert refused.reason == "undetermined"
    allowed = house.signs_in(house.heard, sources=(Source.CRL,), silence=Silence.ALLOW)
    assert isinstance(allowed, ExternalIdentity)


@pytest.mark.parametrize("kind", ["expired", "another-authority", "for-servers", "self-made-authority", "no-chain"])
def test_the_gateway_refuses_what_no_authority_vouches_for(house: House, kind: str) -> None:
    now = house.root.now
    stranger = Authority.root("Test Root", now=now).under()
    ada = house.person("ada")
    holder, chain = {
        "expired": (house.issuing.client(valid=(now - 9 * DAY, now - DAY)), house.issuing),
        "another-authority": (stranger.client(), stranger),
        "for-servers": (house.issuing.client(purposes=[SERVER]), house.issuing),
        "self-made-authority": (Authority(ada.certificate, ada.key, now).client("root"), ada),
        "no-chain": (house.issuing.client(), stranger),
    }[kind]
    answer = house.ask(house.pair(holder, chain))
    assert answer.status == 400
    assert house.functions.heard == []


def test_a_session_that_is_taken_up_again_still_has_its_certificate(house: House) -> None:
    ada = house.person("ada")
    mine = house.pair(ada)
    context = ssl.create_default_context(cafile=str(house.gateway.tls.certificate))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(mine.certificate, mine.key)
    session = None
    for turn in range(2):
        house.functions.heard.clear()
        with (
            socket.create_connection(("127.0.0.1", house.gateway.https), 10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as line,
        ):
            line.sendall(f"GET {SIGN_IN} HTTP/1.1\r\nHost: vault.test\r\nConnection: close\r\n\r\n".encode())
            while line.recv(4096):
                pass
            assert line.session_reused == bool(turn)
            session = line.session
        assert isinstance(house.signs_in(house.heard), ExternalIdentity)


# Headers


def spoofed(holder: Holder) -> dict[str, str]:
    """What somebody writes who has another's certificate (it is no secret) and not the key."""
    der = base64.b64encode(ssl.PEM_cert_to_DER_cert(holder.pem)).decode()
    return {
        "X_Auricle_Client_Certificate": der,
        "X_Auricle_Client_Certificate_Fingerprint": holder.fingerprint,
        "X_Auricle_Client_Certificate_Subject": "CN=ada",
        "X_Auricle_Client_Signature": "1:" + "0" * 64,
        "X_SSL_Client_Cert": der,
        "X_Client_Cert": der,
        "SSL_CLIENT_VERIFY": "SUCCESS",
    }


def test_a_client_without_a_certificate_cannot_write_one(house: House) -> None:
    assert house.ask(**spoofed(house.person("ada"))).status == 200
    assert not [name for name in house.heard.headers if name.startswith(f"{CERTIFICATE.lower()}")]
    client = house.client(house.heard)
    assert client is not None
    assert client.certificate is None
    assert house.signs_in(house.heard) is None


def test_a_client_with_a_certificate_cannot_write_anothers(house: House) -> None:
    ada, eve = house.person("ada"), house.person("eve")
    assert house.ask(house.pair(eve), **spoofed(ada)).status == 200
    assert ada.fingerprint not in str(house.heard.headers)
    who = house.signs_in(house.heard)
    assert isinstance(who, ExternalIdentity)
    assert who.subject == "upn:eve@corp.test"


def test_underscores_and_repeated_headers_come_in_no_more_than_others(house: House) -> None:
    ada = house.person("ada")
    der = base64.b64encode(ssl.PEM_cert_to_DER_cert(ada.pem)).decode()
    house.functions.heard.clear()
    command = ["curl", "--silent", "--cacert", str(house.gateway.tls.certificate), f"{house.gateway.url}{SIGN_IN}"]
    for name in ("X_Auricle_Client_Certificate", CERTIFICATE, CERTIFICATE.lower(), CERTIFICATE.upper(), CERTIFICATE):
        command += ["--header", f"{name}: {der}"]
    subprocess.run(command, capture_output=True, timeout=20, check=True)
    assert der not in str(house.heard.headers)
    assert house.signs_in(house.heard) is None


def test_only_identity_is_handed_the_certificate_itself(house: House) -> None:
    ada = house.person("ada")
    house.ask(house.pair(ada), path="/api/files")
    assert CERTIFICATE.lower() not in house.heard.headers
    client = house.client(house.heard)
    assert client is not None
    assert client.certificate is not None
    assert client.certificate.fingerprint == ada.fingerprint


def test_whoever_reaches_a_function_past_the_gateway_is_nobody(house: House) -> None:
    """Headers of a real request, sent on with another certificate, another path or method, or without the signature."""
    ada, eve = house.person("ada"), house.person("eve")
    house.ask(house.pair(eve))
    heard = house.heard
    other = base64.b64encode(ssl.PEM_cert_to_DER_cert(ada.pem)).decode()
    swapped = Heard(heard.method, heard.path, {**heard.headers, CERTIFICATE.lower(): other}, b"")
    assert isinstance(house.signs_in(swapped), Refused)
    print_ = f"{CERTIFICATE}-Fingerprint".lower()
    both = Heard(heard.method, heard.path, {**swapped.headers, print_: ada.fingerprint}, b"")
    assert house.signs_in(both) is None
    unsigned = {name: value for name, value in both.headers.items() if not name.endswith("signature")}
    for method, path, headers in (
        ("POST", heard.path, heard.headers),
        (heard.method, "/api/tokens", heard.headers),
        (heard.method, heard.path, unsigned),
    ):
        assert house.signs_in(Heard(method, path, headers, b"")) is None


# A proxy's header

PROXY_SECRET = "of-this-proxy-and-us-alone-0123456789"


def proxy(**other: object) -> TrustedHeader:
    """Sign-in by the header of a proxy at 127.0.7.9."""
    usual: dict[str, object] = {"enabled": True, "addresses": ("127.0.7.9",), "proxy_secret": PROXY_SECRET}
    return changed(TrustedHeader(), HeaderBody(**{**usual, **other}))  # type: ignore[arg-type]


def said(house: House, settings: TrustedHeader) -> ExternalIdentity | Disbelief:
    """What the header of the request that came through is worth."""
    client = house.client(house.heard)
    return identify(settings, client.address if client else None, told(house.heard))


def test_a_proxys_header_counts_from_the_proxy_alone(house: House) -> None:
    house.ask(source="127.0.7.9", Remote_User="ada", X_Proxy_Secret=PROXY_SECRET)
    assert said(house, proxy()) == ExternalIdentity(issuer="proxy", subject="ada")
    assert said(house, proxy(enabled=False)) is Disbelief.OFF
    house.ask(source="127.0.7.9", Remote_User="ada")
    assert said(house, proxy()) is Disbelief.SECRET


@pytest.mark.parametrize("claim", ["X_Forwarded_For", "X_Real_IP", "Forwarded", "X_Auricle_Client_Address"])
def test_a_header_from_anywhere_else_is_nobodys_whatever_address_it_claims(house: House, claim: str) -> None:
    house.ask(source="127.0.7.10", Remote_User="ada", X_Proxy_Secret=PROXY_SECRET, **{claim: "127.0.7.9"})
    assert said(house, proxy()) is Disbelief.ADDRESS


def test_a_header_past_the_gateway_is_nobodys(house: House) -> None:
    house.ask(source="127.0.7.9", Remote_User="ada", X_Proxy_Secret=PROXY_SECRET)
    real = house.heard
    direct = {name: value for name, value in real.headers.items() if not name.startswith("x-auricle-client-")}
    forged = {**direct, f"{PREFIX}Address".lower(): "127.0.7.9", f"{PREFIX}Signature".lower(): "1:" + "0" * 64}
    for headers in (direct, forged):
        house.functions.heard[:] = [Heard(real.method, real.path, headers, b"")]
        assert said(house, proxy()) is Disbelief.UNVERIFIED

"""A provider, or what answers in its place, that is slow, huge, elsewhere or not to be trusted."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from auricle.adapters.oidc.http import Limits, Web
from auricle.adapters.oidc.metadata import why_unusable
from auricle.adapters.oidc.provider import OpenIdProvider
from auricle.adapters.oidc.providers import OpenIdProviders
from auricle.errors import Permanent, Retryable
from auricle.ports.oidc import SignIn
from builders.oidc_provider import REDIRECT, REMOVED, Instead, SmallProvider, small_provider

Walk = Callable[..., SignIn]
DISCOVERY = "/.well-known/openid-configuration"
PATHS = [DISCOVERY, "/jwks", "/token", "/userinfo"]
QUICK = Limits(connect=2, silence=0.8, total=1.0, bytes=32 * 1024)


def misbehaving(small: SmallProvider, path: str, instead: Instead) -> OpenIdProvider:
    small.manners.instead[path] = instead
    small.manners.claims = {"email": REMOVED}  # so that userinfo is asked
    return OpenIdProvider(small.connection(), limits=QUICK)


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_without_end_is_not_read(path: str, walk: Walk, small: SmallProvider) -> None:
    with pytest.raises(Permanent, match="more than 32768 bytes"):
        walk(misbehaving(small, path, Instead(body=b"[" + b" " * 200_000)), small)


@pytest.mark.parametrize("path", PATHS)
def test_a_silent_provider_is_not_waited_for(path: str, walk: Walk, small: SmallProvider) -> None:
    done = threading.Event()
    try:
        with pytest.raises(Retryable, match="does not answer in time"):
            walk(misbehaving(small, path, Instead(wait=done)), small)
    finally:
        done.set()


@pytest.mark.parametrize("path", PATHS)
def test_a_provider_that_drips_is_not_waited_for(path: str, walk: Walk, small: SmallProvider) -> None:
    with pytest.raises(Retryable, match="too slowly"):
        walk(misbehaving(small, path, Instead(drip=True)), small)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_leads_to_another_host(path: str, status: int, walk: Walk, small: SmallProvider) -> None:
    with small_provider() as attacker:
        headers = {"Location": f"{attacker.url}{path}"}
        with pytest.raises(Permanent, match="redirects"):
            walk(misbehaving(small, path, Instead(status=status, headers=headers)), small)
        assert attacker.requests == []


def test_a_redirect_within_the_provider_is_followed_and_not_for_ever(small: SmallProvider) -> None:
    moved = Instead(status=301, headers={"Location": DISCOVERY})
    small.manners.instead["/a"] = moved
    assert Web(limits=QUICK).get(f"{small.url}/a").document()["issuer"] == small.url
    small.manners.instead[DISCOVERY] = moved
    with pytest.raises(Permanent, match="circles"):
        Web(limits=QUICK).get(f"{small.url}/a")


@pytest.mark.parametrize("path", PATHS[:2])
@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b"\xff\xfe", b"[" * 30_000, b'{"a":' * 6_000, b"null"])
def test_a_document_that_is_none(path: str, body: bytes, walk: Walk, small: SmallProvider) -> None:
    with pytest.raises(Permanent):
        walk(misbehaving(small, path, Instead(body=body)), small)


@pytest.mark.parametrize(
    ("status", "kind"), [(404, Permanent), (401, Permanent), (500, Retryable), (503, Retryable), (429, Retryable)]
)
def test_a_failing_provider_is_told_from_a_wrong_address(
    status: int, kind: type[Exception], walk: Walk, small: SmallProvider
) -> None:
    with pytest.raises(kind):
        walk(misbehaving(small, DISCOVERY, Instead(status=status)), small)


def test_a_provider_that_is_away(small: SmallProvider) -> None:
    gone = small.connection(issuer="http://127.0.0.1:9")
    with pytest.raises(Retryable, match="accepts no connection"):
        OpenIdProvider(gone, limits=QUICK).begin(REDIRECT)


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://attacker.test"},
        {"issuer": REMOVED},
        {"issuer": 7},
        {"token_endpoint": REMOVED},
        {"jwks_uri": REMOVED},
        {"token_endpoint": "http://attacker.test/token"},
        {"token_endpoint": "http://169.254.169.254/token"},
        {"jwks_uri": "https://169.254.169.254/latest"},
        {"jwks_uri": "https://[fe80::1]/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://user:password@attacker.test/"},
        {"authorization_endpoint": "https://attacker.test/#fragment"},
        {"authorization_endpoint": "//attacker.test/"},
        {"userinfo_endpoint": "http://attacker.test\\@127.0.0.1/"},
        {"end_session_endpoint": "data:text/html,hello"},
        {"end_session_endpoint": "https://attacker.test:99999/"},
        {"response_types_supported": ["id_token"]},
        {"code_challenge_methods_supported": ["plain"]},
    ],
)
def test_a_discovery_document_that_is_not_believed(discovery: dict[str, object], small: SmallProvider) -> None:
    small.manners.discovery = discovery
    with pytest.raises(Permanent) as refused:
        OpenIdProvider(small.connection(), limits=QUICK).begin(REDIRECT)
    assert "attacker" not in str(refused.value)


@pytest.mark.parametrize("different", ["/", "/realms/house"])
def test_the_issuer_is_the_configured_one_to_the_letter(different: str, small: SmallProvider) -> None:
    small.manners.discovery = {"issuer": small.url + different}
    with pytest.raises(Permanent, match="another issuer"):
        OpenIdProvider(small.connection(), limits=QUICK).begin(REDIRECT)


@pytest.mark.parametrize(
    ("url", "plain", "fine"),
    [
        ("https://id.example.org/realms/x", False, True),
        ("https://id.example.org:8443", False, True),
        ("https://10.0.0.7/", False, True),
        ("http://127.0.0.1:8080/x", True, True),
        ("http://[::1]:8080/x", True, True),
        ("http://127.0.0.1:8080/x", False, False),
        ("http://id.example.org", True, False),
        ("http://127.0.0.1.attacker.test", True, False),
        ("http://localhost.attacker.test", True, False),
        ("https://", False, False),
        ("https://ex ample.org", False, False),
        ("https://exаmple.org", False, False),
        ("https://example.org\r\nHost: x", False, False),
        ("ftp://example.org", False, False),
        ("https://example.org:0/", False, False),
        ("https://[::1", False, False),
    ],
)
def test_which_addresses_are_used(url: str, plain: bool, fine: bool) -> None:
    assert (why_unusable(url, plain=plain) is None) is fine


class Counted:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_discovery_is_read_once_an_hour(small: SmallProvider) -> None:
    clock = Counted()
    provider = OpenIdProvider(small.connection(), monotonic=clock)
    for _ in range(5):
        provider.begin(REDIRECT)
    assert small.requests.count(DISCOVERY) == 1
    clock.seconds = 3601
    provider.begin(REDIRECT)
    assert small.requests.count(DISCOVERY) == 2


def test_a_provider_that_is_down_is_not_asked_by_everybody(small: SmallProvider) -> None:
    clock = Counted()
    small.manners.instead[DISCOVERY] = Instead(status=503)
    provider = OpenIdProvider(small.connection(), monotonic=clock)
    for _ in range(5):
        with pytest.raises(Retryable):
            provider.begin(REDIRECT)
    assert small.requests.count(DISCOVERY) == 1
    small.manners.instead.clear()
    clock.seconds = 6
    assert provider.begin(REDIRECT).url


def test_several_providers_at_once_and_each_with_its_own_cache(walk: Walk, small: SmallProvider) -> None:
    providers = OpenIdProviders()
    with small_provider() as other:
        assert walk(providers.for_(small.connection()), small).identity.issuer == small.url
        assert walk(providers.for_(other.connection()), other).identity.issuer == other.url
        assert providers.for_(small.connection()) is providers.for_(small.connection())
        assert providers.for_(small.connection(client_secret="new")) is not providers.for_(small.connection())
        with pytest.raises(Exception, match="not from the identity provider"):  # one's answer at the other's door
            walk(providers.for_(small.connection()), small, change=lambda pairs: [*pairs[:1], ("iss", other.url), *pairs[2:]])


def test_naming_the_providers_loads_no_protocol() -> None:
    program = "import sys, auricle.adapters.oidc.providers; print(sorted({'authlib', 'joserfc', 'urllib3'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_old_configurations_are_forgotten(small: SmallProvider) -> None:
    providers = OpenIdProviders()
    first = providers.for_(small.connection())
    for number in range(40):
        providers.for_(small.connection(client_secret=str(number)))
    assert providers.for_(small.connection()) is not first


def certificate(folder: Path, name: x509.GeneralName) -> tuple[ssl.SSLContext, str]:
    """A server's TLS with a certificate of its own authority for `name`, and that authority in PEM."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.pem").write_bytes(secret + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    return context, pem.decode()


def test_tls_is_verified_against_the_configured_authority(walk: Walk, tmp_path: Path) -> None:
    context, pem = certificate(tmp_path, x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    with small_provider(context) as secure:
        with pytest.raises(Permanent, match="not trusted"):
            OpenIdProvider(secure.connection(), limits=QUICK).begin(REDIRECT)
        trusting = OpenIdProvider(secure.connection(ca_pem=pem))
        assert trusting.begin(REDIRECT).url.startswith("https://127.0.0.1")
        assert trusting.probe().usable_keys == 1


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    context, pem = certificate(tmp_path, x509.DNSName("id.example.org"))
    with small_provider(context) as secure, pytest.raises(Permanent, match="not trusted"):
        OpenIdProvider(secure.connection(ca_pem=pem), limits=QUICK).begin(REDIRECT)


def test_an_authority_that_is_none_is_told(small: SmallProvider) -> None:
    with pytest.raises(Permanent, match="PEM"):
        OpenIdProvider(small.connection(ca_pem="-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----"))

"""The gateway's certificate and address: what a browser meets first."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from cryptography import x509

from auricle.cli.clusterdoctor.seen import Seen, Sight, holds, names, reason
from auricle.cli.clusterdoctor.table import Said, check, note, ok, problem
from auricle.cli.clusterdoctor.walls import TLS

PUBLIC_URL = "BLOBS_PUBLIC_URL"
SOON = 14
"""Days before the end of a certificate, when a person should know."""


def public_url(seen: Seen) -> str:
    """Auricle's address as the functions are told it."""
    found = (seen.world.environment(c).get(PUBLIC_URL, "") for p in seen.world.services for c in p.containers(init=False))
    return next((url for url in found if url), "")


@check(Sight.SERVICES, Sight.CONFIG_MAPS)
def address(seen: Seen) -> Iterator[Said]:
    """The address that signed links carry, and the gateway's own."""
    url = urlsplit(public_url(seen))
    if not seen.world.services:
        return
    if url.scheme != "https" or not url.hostname:
        yield problem(
            f"{PUBLIC_URL} is {public_url(seen) or 'not set'}: browsers can neither upload nor play.",
            f"Set {PUBLIC_URL} in the overlay's auricle-settings to https:// and the gateway's name.",
        )
        return
    gateway = next((s for s in seen.of(Sight.KUBERNETES_SERVICES) if s.name == "gateway"), None)
    balanced = gateway is not None and (gateway / "spec" / "type").text == "LoadBalancer"
    if gateway is not None and balanced and not list((gateway / "status" / "loadBalancer" / "ingress").each()):
        yield note(
            "The gateway waits for a load balancer: nobody outside reaches it but by port-forward.",
            f"See what the cluster offers: {seen.kubectl('describe service gateway')}",
        )
        return
    yield ok(url.geturl())


@check(Sight.SECRETS, Sight.SERVICES)
def certificate(seen: Seen) -> Iterator[Said]:
    """The gateway's certificate: for its name, valid now, and for how long."""
    secret = seen.named(Sight.SECRETS, TLS)
    if secret is None:
        return  # told by `secrets`
    make = f"create secret tls {TLS} --cert=cert.pem --key=key.pem --dry-run=client -o yaml"
    renew = f"{seen.kubectl(make)} | kubectl apply -f -"
    try:
        pem = base64.b64decode((secret / "data" / "tls.crt").text, validate=True)
        chain = x509.load_pem_x509_certificates(pem)
    except (ValueError, binascii.Error):
        yield problem(f"The Secret {TLS} holds no certificate that can be read.", renew)
        return
    now = seen.server_clock if seen.server_clock is not None else seen.now
    leaf, host = chain[0], urlsplit(public_url(seen)).hostname or ""
    days = (leaf.not_valid_after_utc.timestamp() - now) / 86400
    told = _names(leaf)
    fine = True
    if host and not _covers(told, host):
        fine = False
        yield problem(f"The gateway's certificate is for {names(told) or 'nobody'}, and its address is {host}.", renew)
    if days < 0:
        yield problem(f"The gateway's certificate ran out {-days:.0f} days ago.", renew)
    elif leaf.not_valid_before_utc.timestamp() > now:
        yield problem("The gateway's certificate is not valid yet: the clock that made it is ahead.", renew)
    elif days < SOON:
        yield note(f"The gateway's certificate runs out in {days:.0f} days.", renew)
    elif fine:
        yield ok(f"for {host or names(told)}, {days:.0f} days left")


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(a) for a in alternatives.get_values_for_type(x509.IPAddress)]
    return [*alternatives.get_values_for_type(x509.DNSName), *addresses]


def _covers(told: list[str], host: str) -> bool:
    """As browsers compare: addresses exactly, names without case, `*` for the first label."""
    try:
        return str(ipaddress.ip_address(host)) in told
    except ValueError:
        wild = f"*.{host.partition('.')[2]}"
        return any(name.lower() in (host.lower(), wild.lower()) for name in told)


@check(Sight.CERTIFICATES)
def cert_manager(seen: Seen) -> Iterator[Said]:
    """Certificates that cert-manager keeps; nothing to say where there are none."""
    found = seen.of(Sight.CERTIFICATES)
    bad = [c for c in found if not holds(c)]
    for one in bad:
        unset = "unset" in (one / "spec" / "dnsNames").words
        remedy = "Set spec.dnsNames in the overlay." if unset else seen.kubectl(f"describe certificate {one.name}")
        yield problem(f"{one.label} is not Ready: {reason(one)}.", remedy)
    if found and not bad:
        yield ok(f"{len(found)} Ready")

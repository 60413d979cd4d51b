"""Signing in by a header of a proxy that has asked for the password already (Authelia, oauth2-proxy, a corporate gateway).

Off as it stands. Such a header is a claim that anybody can write; it counts only when all of this holds: an administrator
turned it on and named the proxy's addresses; the request's address, as our own gateway vouches for it with its signature, is
one of them; and, where one is set, the proxy gave the secret that only it and we know. Where the gateway itself reads
addresses from that proxy (`real_ip_header`), the address is the person's, never the proxy's: do one or the other.
NIST SP 800-53: IA-2, IA-8 (who vouches), SC-23; CWE-290 (spoofing), CWE-348 (a less trusted source).
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

import msgspec
from msgspec import UNSET, UnsetType

from auricle.contract.http import Body
from auricle.errors import Invalid
from auricle.identity.oidc.admission import Admission, domain_of, role_rules_are_clear
from auricle.ports.oidc import ExternalIdentity

HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,63}")
OURS = (
    "x-auricle-",
    "x-forwarded-",
    "x-envoy-",
    "ce-",
    "k-",
    "knative-",
    "sec-",
    "proxy-",
    "content-",
    "access-control-",
)
"""Beginnings of headers that mean something else here, or that our gateway sets or takes off."""
TAKEN = (
    "authorization",
    "cookie",
    "host",
    "forwarded",
    "x-real-ip",
    "origin",
    "referer",
    "user-agent",
    "accept",
    "idempotency-key",
    "x-request-id",
    "traceparent",
    "if-match",
)
SECRET_HEADER = "X-Proxy-Secret"  # noqa: S105 - a header's name
LEAST_SECRET = 32
MOST_VALUE = 256
MOST_GROUPS = 200
WIDEST = {4: 16, 6: 48}
"""The shortest prefix of a network of proxies, by version: whoever is in it may say to be anybody."""


class Disbelief(StrEnum):
    """Why a header was not believed: for counts and the audit trail."""

    OFF = "off"
    UNVERIFIED = "unverified"  # our gateway vouches for no address
    ADDRESS = "address"
    SECRET = "secret"  # noqa: S105 - the name of a reason
    MISSING = "missing"
    MALFORMED = "malformed"


class HeaderConfiguration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is stored in clear, and what administrators see. As it stands here nothing is believed.

    `addresses`: the proxies' own, single or as networks (`10.0.7.0/28`). The others: names of headers. `separator` stands
    between groups. `mail_is_verified`: the proxy knows that addresses are people's own.
    """

    enabled: bool = False
    addresses: tuple[str, ...] = ()
    user_header: str = "Remote-User"
    email_header: str | None = None
    name_header: str | None = None
    groups_header: str | None = None
    separator: str = ","
    mail_is_verified: bool = False
    admission: Admission = Admission()


class HeaderBody(HeaderConfiguration, Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an administrator sends. Without `proxy_secret` the stored one stays; null forgets it."""

    proxy_secret: str | UnsetType | None = UNSET


class HeaderView(HeaderConfiguration, frozen=True, kw_only=True):
    """What an administrator is shown: whether there is a secret, never which."""

    has_secret: bool


@dataclass(frozen=True, kw_only=True)
class TrustedHeader:
    """The configuration with its secret, as it is used. The secret is stored apart, encrypted."""

    configuration: HeaderConfiguration = field(default_factory=HeaderConfiguration)
    secret: str | None = field(default=None, repr=False)


ISSUER = "proxy"
"""What stands for the proxy where a provider's issuer stands."""


def identify(settings: TrustedHeader, address: str | None, headers: Mapping[str, str]) -> ExternalIdentity | Disbelief:
    """Who a request says to be from, if that is to be believed.

    `address`: of the connection to our gateway, from the headers that it signed (`Client.address`); None: it vouches for
    none, and the peer's address is no replacement. `headers` are looked up without regard to case by their owner.
    """
    has = settings.configuration
    if not has.enabled:
        return Disbelief.OFF
    if address is None:
        return Disbelief.UNVERIFIED
    if not _listed(address, has.addresses):
        return Disbelief.ADDRESS
    if not _secret_holds(settings, address, headers):
        return Disbelief.SECRET
    given = headers.get(has.user_header)
    if given is None or not given.strip():
        return Disbelief.MISSING
    subject = _value(given)
    # A proxy that adds its header beside the client's instead of replacing it makes a list: then nobody knows who wrote what.
    if subject is None or "," in subject or ";" in subject:
        return Disbelief.MALFORMED
    email = _optional(headers, has.email_header)
    return ExternalIdentity(
        issuer=ISSUER,
        subject=subject,
        email=email,
        email_verified=has.mail_is_verified and email is not None and domain_of(email) is not None,
        name=_optional(headers, has.name_header),
        groups=_groups(headers, has),
    )


def view(settings: TrustedHeader) -> HeaderView:
    """As administrators see it."""
    has = {name: getattr(settings.configuration, name) for name in HeaderConfiguration.__struct_fields__}
    return HeaderView(**has, has_secret=settings.secret is not None)


def changed(before: TrustedHeader, body: HeaderBody) -> TrustedHeader:
    """`before` as `body` wants it; `Invalid` with the field that is not acceptable."""
    wanted = HeaderConfiguration(**{name: getattr(body, name) for name in HeaderConfiguration.__struct_fields__})
    secret = _secret(before, body.proxy_secret)
    _check_headers(wanted)
    networks = [_network(address) for address in wanted.addresses]
    if wanted.enabled and not networks:
        _invalid("addresses", "Name the proxy's addresses: from anywhere else, anybody could write the header.")
    if any(network.is_loopback for network in networks) and secret is None:
        _invalid(
            "addresses", "Every program on that machine has this address. Set proxy_secret as well, 32 characters or more."
        )
    if not 1 <= len(wanted.separator) <= 2 or wanted.separator.isalnum() or not wanted.separator.isprintable():
        _invalid("separator", "What stands between groups is one or two signs, such as , or |.")
    _check_admission(wanted)
    return TrustedHeader(configuration=wanted, secret=secret)


def _secret(before: TrustedHeader, given: str | UnsetType | None) -> str | None:
    if given is UNSET:
        return before.secret
    if given is None:
        return None
    if len(given) < LEAST_SECRET or len(given) > 1024 or not given.isascii() or not given.isprintable() or " " in given:
        _invalid("proxy_secret", "The secret is 32 to 1024 ASCII characters without blanks. Make one: openssl rand -hex 32")
    if len(set(given)) == 1:
        _invalid("proxy_secret", "That is a mask, not a secret. Leave proxy_secret out to keep the stored one.")
    return given


def _secret_holds(settings: TrustedHeader, address: str, headers: Mapping[str, str]) -> bool:
    """Loopback counts with a secret only, whatever was stored: every program of the machine is there."""
    if settings.secret is None:
        return not _address(address).is_loopback
    return hmac.compare_digest(headers.get(SECRET_HEADER, "").encode("utf-8", "replace"), settings.secret.encode())


def _listed(address: str, allowed: Iterable[str]) -> bool:
    try:
        found = _address(address)
        return any(found in ipaddress.ip_network(network, strict=False) for network in allowed)
    except ValueError:
        return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; one of IPv4 that is written as IPv6 is the one of IPv4."""
    found = ipaddress.ip_address(text)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _value(raw: str) -> str | None:
    """A header's value as its sender meant it (WSGI hands bytes over as Latin-1); None when it is nothing to be shown."""
    try:
        text = raw.encode("latin-1").decode().strip(" \t")
    except UnicodeError:
        return None
    return text if text and len(text) <= MOST_VALUE and text.isprintable() else None


def _optional(headers: Mapping[str, str], name: str | None) -> str | None:
    return _value(headers.get(name, "")) if name else None


def _groups(headers: Mapping[str, str], has: HeaderConfiguration) -> tuple[str, ...]:
    """The groups, without those that cannot be names."""
    if has.groups_header is None:
        return ()
    parts = headers.get(has.groups_header, "").split(has.separator)[:MOST_GROUPS]
    return tuple(dict.fromkeys(group for part in parts if (group := _value(part))))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        _invalid("addresses", f"{text!r} is not an IP address or network, such as 10.0.7.12 or 10.0.7.0/28.")
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
        _invalid("addresses", f"{text!r} is an address of IPv4. Write it as such.")
    if network.prefixlen < WIDEST[network.version]:
        _invalid("addresses", f"{text!r} is too wide: whoever is in it could say to be anybody. Name the proxies alone.")
    return network


def _check_headers(wanted: HeaderConfiguration) -> None:
    named = {"user_header": wanted.user_header, "email_header": wanted.email_header}
    named |= {"name_header": wanted.name_header, "groups_header": wanted.groups_header}
    seen: set[str] = {SECRET_HEADER.lower()}
    for name, header in named.items():
        if header is None:
            continue
        lower = header.lower()
        if not HEADER.fullmatch(header) or lower.startswith(OURS) or lower in TAKEN:
            _invalid(name, f"{header!r} is not a header that a proxy may speak by. Take one of its own, such as Remote-User.")
        if lower in seen:
            _invalid(name, f"{header!r} is taken already. Take another header.")
        seen.add(lower)


def _check_admission(wanted: HeaderConfiguration) -> None:
    admission = wanted.admission
    if (admission.groups or admission.required_groups or admission.roles) and wanted.groups_header is None:
        _invalid("admission", "Name the header that holds groups: without one, rules for groups let nobody in.")
    for domain in admission.domains:
        if domain_of(f"somebody@{domain}") != domain:
            _invalid("admission", f"{domain!r} is not a domain. Write it in lower case, such as example.org, one by one.")
    if not role_rules_are_clear(admission.roles):
        _invalid("admission", "One group can have one role only. Remove the rules that repeat a group.")


def _invalid(name: str, sentence: str) -> NoReturn:
    raise Invalid(sentence, field=name)

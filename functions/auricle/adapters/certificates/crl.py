"""Revocation lists (RFC 5280, 5 and 6.3): fetched, kept, and believed only when their issuer signed them and they are in date.

Understood: complete lists of one issuer. A list of changes (delta), of several issuers (indirect), of some reasons only or of
attribute certificates says nothing that can be relied on alone, and counts as wrong. An older list never replaces a newer one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID

from auricle.adapters.certificates.path import is_authority
from auricle.adapters.certificates.status import UNREADABLE, Link, Standing, Status, is_strong, may, silent, wrong
from auricle.adapters.certificates.web import Away, Web

MOST_BYTES = 32 * 1024 * 1024
"""Large national authorities publish lists of about 20 MiB."""
KEPT = timedelta(hours=1)
"""How long a list is used without asking for a newer one."""
MOST_LISTS = 8
MOST_QUIET = 1024
QUIET = timedelta(seconds=30)
"""How long an address that did not answer is left alone."""
Key = tuple[str, bytes]
"""An address, and the digest of the issuer's certificate."""
HANDLED = (
    ExtensionOID.CRL_NUMBER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ExtensionOID.ISSUING_DISTRIBUTION_POINT,
)
"""Extensions that may be critical."""


@dataclass(frozen=True)
class Held:
    """A list whose issuer signed it, and when it was fetched."""

    crl: x509.CertificateRevocationList
    fetched: datetime


class Lists:
    """Revocation lists by address and issuer. Safe for threads."""

    def __init__(self, web: Web, configured: Collection[str], skew: timedelta) -> None:
        """`configured`: addresses that are asked for every certificate. `skew`: by how much clocks may differ."""
        self._web = web
        self._configured = tuple(configured)
        self._skew = skew
        self._held: OrderedDict[Key, Held] = OrderedDict()
        self._quiet: OrderedDict[Key, tuple[datetime, Status]] = OrderedDict()
        self._lock = threading.Lock()

    def status(self, link: Link, now: datetime) -> Status:
        """What the lists of this certificate's issuer say of it."""
        addresses = tuple(dict.fromkeys((*_named(link.certificate), *self._configured)))
        if not addresses:
            return silent("it names no revocation list, and none is configured")
        found = [self._ask(url, link, now) for url in addresses]
        for standing in (Standing.REVOKED, Standing.GOOD, Standing.WRONG):
            match = next((status for status in found if status.standing is standing), None)
            if match is not None:
                return match
        return found[0]

    def _ask(self, url: str, link: Link, now: datetime) -> Status:
        """What the list at `url` says: a kept one, while it is fresh or nothing better is to be had."""
        key = (url, link.issuer.fingerprint(hashes.SHA256()))
        with self._lock:
            held, quiet = self._held.get(key), self._quiet.get(key)
        if held is None or not held.fetched <= now < min(held.fetched + KEPT, _until(held.crl, now)):
            if quiet is not None and quiet[0] - KEPT <= now < quiet[0]:
                return self._read(held, url, link, now) if held else quiet[1]
            fetched = self._fetch(key, link, held, now)
            if isinstance(fetched, Status):
                return fetched if held is None else self._read(held, url, link, now)
            held = fetched
        return self._read(held, url, link, now)

    def _read(self, held: Held, url: str, link: Link, now: datetime) -> Status:
        return read(held.crl, link, url, now, self._skew)

    def _fetch(self, key: Key, link: Link, before: Held | None, now: datetime) -> Held | Status:
        """The list, kept from now on; or why there is none."""
        try:
            crl = _parsed(self._web.get(key[0], MOST_BYTES))
        except Away as trouble:
            return self._leave_alone(key, silent(f"the revocation list at {trouble}"), now + QUIET)
        except UNREADABLE:
            return wrong("what is at the address of the revocation list is none")
        if key[0] in self._configured and crl.issuer != link.certificate.issuer:
            return self._leave_alone(key, silent("a configured list is another authority's"), now + KEPT)
        # Looked at before it is kept: a forged list must not take the place of a real one.
        doubt = _forged(crl, link)
        if doubt is not None:
            return doubt
        # Nor must an older one: its signature holds too, so anybody on the way could repeat it.
        older = before is not None and crl.last_update_utc < before.crl.last_update_utc
        held = Held(before.crl if before is not None and older else crl, now)
        with self._lock:
            self._held[key] = held
            self._held.move_to_end(key)
            while len(self._held) > MOST_LISTS:
                self._held.popitem(last=False)
        return held

    def _leave_alone(self, key: Key, status: Status, until: datetime) -> Status:
        with self._lock:
            self._quiet[key] = (until, status)
            while len(self._quiet) > MOST_QUIET:
                self._quiet.popitem(last=False)
        return status


def read(crl: x509.CertificateRevocationList, link: Link, url: str, now: datetime, skew: timedelta) -> Status:
    """What a list whose signature holds says of a certificate, once everything else about the list holds."""
    doubt = _unfit(crl, link, url) or _out_of_date(crl, now, skew)
    if doubt is not None:
        return doubt
    entry = crl.get_revoked_certificate_by_serial_number(link.certificate.serial_number)
    if entry is not None:
        return Status(Standing.REVOKED, f"the authority revoked it on {entry.revocation_date_utc:%Y-%m-%d}")
    return Status(Standing.GOOD, "it is on no revocation list", _until(crl, now))


def _forged(crl: x509.CertificateRevocationList, link: Link) -> Status | None:
    """Whether anybody but the certificate's issuer made it."""
    if crl.issuer != link.certificate.issuer or crl.issuer != link.issuer.subject:
        return wrong("the revocation list is another authority's")
    if not may(link.issuer, "crl_sign"):
        return wrong("the authority may not sign revocation lists")
    try:
        holds = is_strong(crl.signature_hash_algorithm) and crl.is_signature_valid(link.issuer.public_key())  # type: ignore[arg-type]
    except UNREADABLE:
        holds = False
    return None if holds else wrong("the signature of the revocation list does not hold")


def _unfit(crl: x509.CertificateRevocationList, link: Link, url: str) -> Status | None:
    """Whether it is a list of all that its issuer revoked, as far as this certificate goes."""
    for extension in crl.extensions:
        if extension.oid == ExtensionOID.DELTA_CRL_INDICATOR or (extension.critical and extension.oid not in HANDLED):
            return wrong("the revocation list is of a kind that is not understood here")
        if isinstance(extension.value, x509.IssuingDistributionPoint) and not _covers(extension.value, link, url):
            return wrong("the revocation list is not for this certificate")
    return None


def _covers(scope: x509.IssuingDistributionPoint, link: Link, url: str) -> bool:
    partly = scope.indirect_crl or scope.only_contains_attribute_certs or scope.only_some_reasons or scope.relative_name
    if partly:
        return False
    is_ca = is_authority(link.certificate)
    if (scope.only_contains_user_certs and is_ca) or (scope.only_contains_ca_certs and not is_ca):
        return False
    # Else a list of one part, put in another's place, would hide what was revoked in that one (RFC 5280, 6.3.3 (b)(2)).
    places = {name.value for name in scope.full_name or () if isinstance(name, x509.UniformResourceIdentifier)}
    return not scope.full_name or bool(places & {url, *_named(link.certificate)})


def _out_of_date(crl: x509.CertificateRevocationList, now: datetime, skew: timedelta) -> Status | None:
    if crl.next_update_utc is None:
        return silent("the revocation list does not say how long it counts")
    if crl.last_update_utc > now + skew:
        return silent("the revocation list is from the future")
    if now >= crl.next_update_utc + skew:
        return silent("the revocation list is out of date")
    return None


def _until(crl: x509.CertificateRevocationList, now: datetime) -> datetime:
    return crl.next_update_utc or now


def _parsed(data: bytes) -> x509.CertificateRevocationList:
    """The list; raises one of `UNREADABLE` when it is none. Its parts are looked at now: each is read when it is asked for."""
    read_it = x509.load_pem_x509_crl if data.lstrip().startswith(b"-----BEGIN") else x509.load_der_x509_crl
    crl = read_it(data)
    _ = (crl.issuer, crl.last_update_utc, crl.next_update_utc, crl.signature_hash_algorithm, list(crl.extensions))
    return crl


def _named(certificate: x509.Certificate) -> tuple[str, ...]:
    """Addresses of complete lists of its own issuer, as the certificate names them."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return ()
    usable = (point for point in points if not point.reasons and not point.crl_issuer)
    names = (name for point in usable for name in point.full_name or ())
    return tuple(name.value for name in names if isinstance(name, x509.UniformResourceIdentifier))[:4]

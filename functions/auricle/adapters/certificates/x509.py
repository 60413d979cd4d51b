"""`ports.certificates` by cryptography: the chain, revocation of all certificates in it, and what the holder is called."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from auricle.adapters.certificates import names
from auricle.adapters.certificates.crl import Lists
from auricle.adapters.certificates.ocsp import Responders
from auricle.adapters.certificates.path import Path
from auricle.adapters.certificates.status import UNREADABLE, Link, Standing, Status
from auricle.adapters.certificates.web import Web
from auricle.ports.certificates import (
    CertificateChecker,
    CertificateIdentity,
    Refusal,
    Refused,
    Silence,
    Source,
    Trust,
)

log = logging.getLogger(__name__)
MOST_CHARACTERS = 16 * 1024
"""Of a certificate in PEM. A PIV card's has about 3000."""
MAX_KEPT = 16
"""Trusts whose lists are kept."""


class X509Checker:
    """Checks certificates against one trust, and keeps what authorities said for a while."""

    def __init__(self, trust: Trust) -> None:
        """`Permanent` when there is nothing to check against."""
        rules = trust.revocation
        self._path = Path(trust)
        self._silence = rules.silence
        web, skew = Web(rules.origins), timedelta(seconds=rules.skew)
        lists, responders = Lists(web, rules.lists, skew), Responders(web, skew, require_nonce=rules.require_nonce)
        ways = {Source.OCSP: responders.status, Source.CRL: lists.status}
        self._sources = tuple(ways[source] for source in rules.sources)

    def check(self, pem: str, now: datetime) -> CertificateIdentity | Refused:
        """See `ports.certificates.CertificateChecker`."""
        if now.tzinfo is None:
            raise ValueError("a moment without a time zone could be hours away")
        try:
            certificate = _the_one(pem)
            found = self._checked(certificate, now)
        except UNREADABLE:
            return Refused(reason=Refusal.MALFORMED, detail="This is not one certificate in PEM that can be read.")
        if isinstance(found, Refused):
            log.info("a client certificate is not believed (%s): %s", found.reason.value, found.detail)
        return found

    def _checked(self, certificate: x509.Certificate, now: datetime) -> CertificateIdentity | Refused:
        chain = self._path.chain(certificate, now)
        if isinstance(chain, Refused):
            return chain
        unchecked = False
        for below, above in pairwise(chain):
            verdict = self._revocation(Link(below, above), now)
            if isinstance(verdict, Refused):
                return verdict
            unchecked = unchecked or not verdict
        return _identity(certificate, chain[-1], unchecked)

    def _revocation(self, link: Link, now: datetime) -> bool | Refused:
        """True: known not to be revoked; False: nobody could say, and that is allowed."""
        doubts: list[Status] = []
        for source in self._sources:
            status = source(link, now)
            if status.standing is Standing.GOOD:
                return True
            refusal = {Standing.REVOKED: Refusal.REVOKED, Standing.UNKNOWN: Refusal.UNKNOWN}.get(status.standing)
            if refusal is not None:
                return Refused(reason=refusal, detail=_about(link, status.detail))
            doubts.append(status)
        if any(doubt.standing is Standing.WRONG for doubt in doubts):
            return Refused(reason=Refusal.FORGED, detail=_about(link, "; ".join(doubt.detail for doubt in doubts)))
        why = _about(link, "; ".join(doubt.detail for doubt in doubts) or "nobody is asked")
        if self._silence is Silence.REFUSE:
            return Refused(reason=Refusal.UNDETERMINED, detail=why)
        log.warning("revocation could not be determined, which is allowed: %s", why)
        return False


class X509Checkers:
    """`ports.certificates.CertificateCheckers`."""

    def __init__(self) -> None:
        self._kept: dict[Trust, X509Checker] = {}
        self._lock = threading.Lock()

    def for_(self, trust: Trust) -> CertificateChecker:
        """The checker for `trust`."""
        with self._lock:
            found = self._kept.pop(trust, None) or X509Checker(trust)
            self._kept[trust] = found
            while len(self._kept) > MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            return found


def _the_one(pem: str) -> x509.Certificate:
    """The certificate; ValueError unless there is exactly one and nothing more."""
    if len(pem) > MOST_CHARACTERS or pem.count("-----BEGIN") != 1:
        raise ValueError("not one certificate")
    (certificate,) = x509.load_pem_x509_certificates(pem.encode())
    return certificate


def _identity(certificate: x509.Certificate, anchor: x509.Certificate, unchecked: bool) -> CertificateIdentity:
    others = names.alternative_names(certificate)
    return CertificateIdentity(
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        anchor=anchor.fingerprint(hashes.SHA256()).hex(),
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=f"{certificate.serial_number:x}",
        not_after=certificate.not_valid_after_utc,
        common_names=names.common_names(certificate),
        upns=names.upns(others),
        emails=names.emails(others),
        uuids=names.uuids(others),
        fasc_ns=names.fasc_ns(others),
        unchecked=unchecked,
    )


def _about(link: Link, detail: str) -> str:
    return f"{link.certificate.subject.rfc4514_string()}: {detail}."

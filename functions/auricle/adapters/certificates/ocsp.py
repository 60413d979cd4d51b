"""OCSP (RFC 6960): a signed answer of the authority's responder about one certificate, from now.

An answer counts when it is about this certificate, signed by its issuer or by somebody whom the issuer made a responder (a
certificate straight from it with OCSPSigning, in date), in date itself, and with our nonce if it has one. Responders that do
not repeat nonces (most large ones make answers beforehand, RFC 5019) are accepted unless `require_nonce`: their answers are
bounded by their dates. A responder's own certificate must say that it needs no check (id-pkix-ocsp-nocheck): asking about it
would go on without end. RSASSA-PSS and SHA-1 signatures are not accepted.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from auricle.adapters.certificates.status import UNREADABLE, Link, Standing, Status, is_strong, may, silent, wrong
from auricle.adapters.certificates.web import Away, Web

MOST_BYTES = 64 * 1024
NONCE_BYTES = 32
"""RFC 9654, 2.1."""
KEPT = timedelta(minutes=10)
"""How long an answer is repeated without asking."""
WITHOUT_END = timedelta(hours=1)
"""How old an answer may be that does not say until when it counts."""
QUIET = timedelta(seconds=30)
"""How long an address that did not answer is left alone."""
MOST_ANSWERS = 4096
MOST_QUIET = 1024
Key = tuple[bytes, int]


class Responders:
    """Answers by issuer and serial number. Safe for threads."""

    def __init__(self, web: Web, skew: timedelta, *, require_nonce: bool) -> None:
        """`skew`: by how much clocks may differ."""
        self._web = web
        self._skew = skew
        self._require_nonce = require_nonce
        self._kept: OrderedDict[Key, tuple[datetime, Status]] = OrderedDict()
        self._quiet: OrderedDict[str, tuple[datetime, Status]] = OrderedDict()
        self._lock = threading.Lock()

    def status(self, link: Link, now: datetime) -> Status:
        """What the responders that the certificate names say of it."""
        addresses = named(link.certificate)
        if not addresses:
            return silent("it names no OCSP responder")
        key = (link.issuer.fingerprint(hashes.SHA256()), link.certificate.serial_number)
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and kept[1].until is not None and kept[0] <= now < min(kept[0] + KEPT, kept[1].until):
            return kept[1]
        found = [self._ask(url, link, now) for url in addresses]
        best = next((status for status in found if status.standing not in (Standing.SILENT, Standing.WRONG)), None)
        if best is None:
            return next((status for status in found if status.standing is Standing.WRONG), found[0])
        self._keep(key, best, now)
        return best

    def _ask(self, url: str, link: Link, now: datetime) -> Status:
        with self._lock:
            quiet = self._quiet.get(url)
        if quiet is not None and quiet[0] <= now < quiet[0] + QUIET:
            return quiet[1]
        nonce = secrets.token_bytes(NONCE_BYTES)
        # SHA-1 only finds the certificate in the responder's books, and is what all of them know (RFC 6960, B.3).
        asked = ocsp.OCSPRequestBuilder().add_certificate(link.certificate, link.issuer, hashes.SHA1())  # noqa: S303
        request = asked.add_extension(x509.OCSPNonce(nonce), False).build()
        try:
            data = self._web.post(url, request.public_bytes(Encoding.DER), "application/ocsp-request", MOST_BYTES)
        except Away as trouble:
            return self._leave_alone(url, silent(f"the OCSP responder {trouble}"), now)
        return self._read(data, request, nonce, link, now)

    def _read(self, data: bytes, request: ocsp.OCSPRequest, nonce: bytes, link: Link, now: datetime) -> Status:
        try:
            response = ocsp.load_der_ocsp_response(data)
            if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
                return silent(f"the OCSP responder answered {response.response_status.name}")
            doubt = _forged(response, link, now) or self._nonce(response, nonce)
            return doubt or _about(response, request, now, self._skew)
        except UNREADABLE:
            return wrong("the answer of the OCSP responder cannot be read")

    def _nonce(self, response: ocsp.OCSPResponse, nonce: bytes) -> Status | None:
        found = None
        for extension in response.extensions:
            if isinstance(extension.value, x509.OCSPNonce):
                found = extension.value.nonce
            elif extension.critical:
                return wrong("the OCSP answer is of a kind that is not understood here")
        if found is None:
            return silent("the OCSP responder does not repeat our nonce") if self._require_nonce else None
        return None if found == nonce else wrong("the OCSP answer is to another question (nonce)")

    def _leave_alone(self, url: str, status: Status, now: datetime) -> Status:
        with self._lock:
            self._quiet[url] = (now, status)
            while len(self._quiet) > MOST_QUIET:
                self._quiet.popitem(last=False)
        return status

    def _keep(self, key: Key, status: Status, now: datetime) -> None:
        with self._lock:
            self._kept[key] = (now, status)
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_ANSWERS:
                self._kept.popitem(last=False)


def named(certificate: x509.Certificate) -> tuple[str, ...]:
    """The responders that a certificate names."""
    try:
        places = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return ()
    found = (place.access_location for place in places if place.access_method == AuthorityInformationAccessOID.OCSP)
    return tuple(name.value for name in found if isinstance(name, x509.UniformResourceIdentifier))[:2]


def _forged(response: ocsp.OCSPResponse, link: Link, now: datetime) -> Status | None:
    """Whether nobody signed it who may speak for the issuer."""
    signers = [signer for signer in (link.issuer, *response.certificates) if _is_responder(response, signer)]
    for signer in signers:
        if signer != link.issuer and not _authorised(signer, link.issuer, now):
            continue
        if _signed(response, signer):
            return None
    return wrong("the OCSP answer is not signed by anybody who may speak for the authority")


def _is_responder(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    """Whether the answer says to be by this one."""
    if response.responder_name is not None:
        return response.responder_name == signer.subject
    return response.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(signer.public_key()).digest


def _authorised(signer: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    """Whether the issuer itself made this one a responder (RFC 6960, 4.2.2.2)."""
    try:
        signer.verify_directly_issued_by(issuer)
        purposes = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        signer.extensions.get_extension_for_class(x509.OCSPNoCheck)
        strong = is_strong(signer.signature_hash_algorithm)
    except (InvalidSignature, x509.ExtensionNotFound, *UNREADABLE):
        return False
    in_date = signer.not_valid_before_utc <= now <= signer.not_valid_after_utc
    return in_date and strong and ExtendedKeyUsageOID.OCSP_SIGNING in purposes and may(signer, "digital_signature")


def _signed(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, data, signature = signer.public_key(), response.tbs_response_bytes, response.signature
    try:
        digest = response.signature_hash_algorithm
        if not is_strong(digest):
            return False
        if isinstance(key, rsa.RSAPublicKey) and digest is not None:
            key.verify(signature, data, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
            key.verify(signature, data, ec.ECDSA(digest))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey) and digest is None:
            key.verify(signature, data)
        else:
            return False
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _about(response: ocsp.OCSPResponse, request: ocsp.OCSPRequest, now: datetime, skew: timedelta) -> Status:
    """What it says of the certificate that was asked about."""
    single = next((single for single in response.responses if _same(single, request)), None)
    if single is None:
        return wrong("the OCSP answer is about another certificate")
    since, until = single.this_update_utc, single.next_update_utc or single.this_update_utc + WITHOUT_END
    if since > now + skew or response.produced_at_utc > now + skew:
        return silent("the OCSP answer is from the future")
    if now >= until + skew:
        return silent("the OCSP answer is out of date")
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        at = f" on {single.revocation_time_utc:%Y-%m-%d}" if single.revocation_time_utc else ""
        return Status(Standing.REVOKED, f"the authority revoked it{at}", until)
    if single.certificate_status is ocsp.OCSPCertStatus.GOOD:
        return Status(Standing.GOOD, "its responder says that it is good", until)
    return Status(Standing.UNKNOWN, "its authority's responder does not know it")


def _same(single: ocsp.OCSPSingleResponse, request: ocsp.OCSPRequest) -> bool:
    return (
        single.serial_number == request.serial_number
        and single.issuer_key_hash == request.issuer_key_hash
        and single.issuer_name_hash == request.issuer_name_hash
        and single.hash_algorithm.name == request.hash_algorithm.name
    )

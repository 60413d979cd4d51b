"""The chain from a client's certificate to a configured authority, by cryptography's path validation, and what it leaves out.

Done there (RFC 5280, 6.1, in the profile of the web's PKI): signatures, names that chain, times, CA and path length
constraints, key usage and extended key usage of authorities, unknown critical extensions, constraints on DNS, IP and e-mail
names, no SHA-1, RSA of 2048 bits or more in authorities' keys.
Done here: the purpose and key usage must be present, the client's own key is not weak, an anchor is an authority, and
constraints on other kinds of names refuse the chain (critical ones already do): nothing here could hold them.
Not done at all: certificate policies and their mappings (6.1.2), and fetching authorities by AIA; for revocation see `x509`.
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from auricle.adapters.certificates.status import UNREADABLE
from auricle.errors import Permanent
from auricle.ports.certificates import Refusal, Refused, Trust

LEAST_RSA_BITS = 2048
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
UNDERSTOOD = (x509.DNSName, x509.IPAddress, x509.RFC822Name)
"""Kinds of names whose constraints are applied."""
AGNOSTIC = verification.Criticality.AGNOSTIC


class Path:
    """Builds chains to the anchors of one trust."""

    def __init__(self, trust: Trust) -> None:
        """`Permanent` when the anchors or intermediates cannot be read, or are no authorities."""
        self._anchors = authorities(trust.anchors_pem, "trusted authorities")
        if not self._anchors:
            raise Permanent("No authority for client certificates is configured. Give at least one CA certificate in PEM.")
        self._between = authorities(trust.intermediates_pem, "intermediate authorities")
        self._store = verification.Store(self._anchors)
        self._depth = trust.max_between

    def chain(self, certificate: x509.Certificate, now: datetime) -> list[x509.Certificate] | Refused:
        """The certificates from `certificate` up to an anchor, which hold at `now`."""
        doubt = _doubt(certificate, now)
        if doubt is not None:
            return doubt
        policy = verification.PolicyBuilder().store(self._store).time(now).max_chain_depth(self._depth)
        verifier = policy.extension_policies(
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(), ee_policy=_of_people()
        ).build_client_verifier()
        try:
            chain = verifier.verify(certificate, self._between).chain
        except verification.VerificationError as error:
            words = str(error).partition(" (encountered")[0]
            return Refused(reason=Refusal.CHAIN, detail=f"No configured authority vouches for this certificate: {words}.")
        if any(_constrains_otherwise(above) for above in chain[1:]):
            return Refused(
                reason=Refusal.CONSTRAINTS,
                detail="An authority of this certificate limits names of a kind not understood here.",
            )
        return chain


def authorities(pem: str, what: str) -> list[x509.Certificate]:
    """The CA certificates in `pem`; `Permanent` when something in it is none."""
    if not pem.strip():
        return []
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
        usable = all(is_authority(certificate) for certificate in found)
    except UNREADABLE as error:
        raise Permanent(f"The {what} for client certificates cannot be read. Give CA certificates in PEM.") from error
    if not usable:
        raise Permanent(f"Among the {what} for client certificates is one that is no authority. Give CA certificates only.")
    return found


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _of_people() -> verification.ExtensionPolicy:
    """What people's certificates must say: as on the web, but names may be missing and the purpose must not."""
    return (
        verification.ExtensionPolicy.webpki_defaults_ee()
        .may_be_present(x509.SubjectAlternativeName, AGNOSTIC, None)
        .require_present(x509.ExtendedKeyUsage, AGNOSTIC, None)
        .require_present(x509.KeyUsage, AGNOSTIC, None)
    )


def _doubt(certificate: x509.Certificate, now: datetime) -> Refused | None:
    """What is wrong with the certificate by itself, in words of its own; the verifier looks at all of it again."""
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return Refused(reason=Refusal.TIME, detail="This certificate has expired or is not valid yet.")
    if _is_weak(certificate):
        return Refused(reason=Refusal.WEAK, detail="The key of this certificate is too weak or of a kind not accepted.")
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return Refused(reason=Refusal.PURPOSE, detail="This certificate does not say that it is for clients.")
    if ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
        return Refused(reason=Refusal.PURPOSE, detail="This certificate is not for clients (extended key usage).")
    try:
        signs = certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        signs = False
    if not signs:
        return Refused(reason=Refusal.USAGE, detail="The key of this certificate may not sign (key usage).")
    return None


def _is_weak(certificate: x509.Certificate) -> bool:
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return True
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size < LEAST_RSA_BITS
    if isinstance(key, ec.EllipticCurvePublicKey):
        return not isinstance(key.curve, CURVES)
    return not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)


def _constrains_otherwise(authority: x509.Certificate) -> bool:
    try:
        found = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return False
    named = [*(found.permitted_subtrees or ()), *(found.excluded_subtrees or ())]
    return any(not isinstance(name, UNDERSTOOD) for name in named)

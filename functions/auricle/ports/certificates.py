"""Clients' certificates: whether one can be believed now, and what it says of its holder.

That the holder has the key is proved to the gateway by TLS; the certificate comes from there only. Checked here: the chain to
the configured authorities, times, purpose, and at each sign-in whether it was revoked.
Sources: RFC 5280 (certificates, revocation lists), RFC 6960 and 9654 (OCSP and its nonce), FIPS 201-3 (PIV).
NIST SP 800-53: IA-2 (12) (PIV credentials), IA-5 (2) (path validation, revocation, mapping to an account).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec


class Refusal(StrEnum):
    """Why a certificate is not believed: for the audit trail and administrators."""

    MALFORMED = "malformed"
    CHAIN = "chain"  # none of the configured authorities vouches for it, or not for this
    TIME = "time"  # expired, or not valid yet
    PURPOSE = "purpose"  # not made for clients (extended key usage)
    USAGE = "usage"  # its key may not sign (key usage)
    WEAK = "weak"  # a key or signature that can be broken
    CONSTRAINTS = "constraints"  # an authority limits names in a way that is not understood here
    REVOKED = "revoked"
    UNKNOWN = "unknown"  # its authority's responder does not know it
    UNDETERMINED = "undetermined"  # nobody could say whether it was revoked
    FORGED = "forged"  # an answer about revocation did not hold


class Source(StrEnum):
    """Who is asked whether a certificate was revoked."""

    OCSP = "ocsp"
    CRL = "crl"


class Silence(StrEnum):
    """What it means when nobody can say: servers away, lists out of date, no address named. A wrong answer always refuses."""

    REFUSE = "refuse"  # hard fail
    ALLOW = "allow"  # soft fail: the identity says so (`unchecked`)


class Revocation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How revocation is determined: `sources` in their order until one knows, for each certificate below the authority.

    `lists`: addresses of revocation lists besides those that certificates name. `origins` (`http://crl.example`): where may be
    asked at all; empty: wherever certificates of the configured authorities say. `require_nonce`: refuse OCSP answers that were
    made before we asked. `skew` in seconds, for clocks that differ.
    """

    sources: tuple[Source, ...] = (Source.OCSP, Source.CRL)
    silence: Silence = Silence.REFUSE
    lists: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    require_nonce: bool = False
    skew: int = 60


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whom to believe. `anchors_pem`: authorities that need nobody above them; `intermediates_pem`: those between.

    The gateway passes on the client's own certificate alone, so whatever stands between must be configured here.
    `max_between`: how many authorities may stand between an anchor and a person's certificate.
    """

    anchors_pem: str
    intermediates_pem: str = ""
    revocation: Revocation = field(default_factory=Revocation)
    max_between: int = 4


@dataclass(frozen=True, kw_only=True)
class CertificateIdentity:
    """What a believed certificate says of its holder; every field stood in it under its authority's signature.

    `fingerprint`: SHA-256 of the DER form in hex; `anchor` that of the authority it leads to. `subject` and `issuer` as
    RFC 4514 writes them. `serial` in hex. `upns`: Windows' user principal names; `uuids` and `fasc_ns` (hex): those of a
    PIV card. `unchecked`: nobody could say whether it was revoked, and that was allowed.
    """

    fingerprint: str
    anchor: str
    subject: str
    issuer: str
    serial: str
    not_after: datetime
    common_names: tuple[str, ...] = ()
    upns: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    uuids: tuple[str, ...] = ()
    fasc_ns: tuple[str, ...] = ()
    unchecked: bool = False


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Why not, and a sentence for the log and administrators."""

    reason: Refusal
    detail: str


class CertificateChecker(Protocol):
    """Checks certificates against one `Trust`. Safe for threads."""

    def check(self, pem: str, now: datetime) -> CertificateIdentity | Refused:
        """What the one certificate in `pem` says of its holder, if it is to be believed at `now` (with a time zone)."""
        ...


class CertificateCheckers(Protocol):
    """One checker for each trust, with its caches for as long as that stays the same. `Permanent` when it cannot be used."""

    def for_(self, trust: Trust) -> CertificateChecker:
        """The checker for `trust`."""
        ...

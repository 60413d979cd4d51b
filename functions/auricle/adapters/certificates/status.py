"""What one source says of one certificate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

STRONG = (hashes.SHA256, hashes.SHA384, hashes.SHA512, hashes.SHA3_256, hashes.SHA3_384, hashes.SHA3_512)
"""Digests whose signatures count; None stands for Ed25519 and Ed448, which need none."""

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises for certificates, lists and answers that are broken, at once or when a part of them is looked at."""


class Standing(Enum):
    """In words."""

    GOOD = auto()
    REVOKED = auto()
    UNKNOWN = auto()  # the authority's responder has never heard of it
    SILENT = auto()  # no answer, or none that still counts
    WRONG = auto()  # an answer that does not hold: not by whom it should be, not about this one


@dataclass(frozen=True)
class Status:
    """A standing, why, and until when it may be repeated without asking."""

    standing: Standing
    detail: str
    until: datetime | None = None


@dataclass(frozen=True)
class Link:
    """One step of a chain: a certificate and the authority that signed it."""

    certificate: x509.Certificate
    issuer: x509.Certificate


def silent(detail: str) -> Status:
    """Nobody could say."""
    return Status(Standing.SILENT, detail)


def wrong(detail: str) -> Status:
    """Somebody said what does not hold."""
    return Status(Standing.WRONG, detail)


def is_strong(digest: hashes.HashAlgorithm | None) -> bool:
    """Whether signatures over this digest count."""
    return digest is None or isinstance(digest, STRONG)


def may(certificate: x509.Certificate, usage: str) -> bool:
    """Whether the key usage allows `usage`; without the extension it allows everything (RFC 5280, 4.2.1.3)."""
    try:
        return bool(getattr(certificate.extensions.get_extension_for_class(x509.KeyUsage).value, usage))
    except x509.ExtensionNotFound:
        return True

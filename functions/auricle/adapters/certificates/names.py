"""What a certificate says of its holder: names as text, and nothing that could be read in two ways."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

UPN = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
"""szOID_NT_PRINCIPAL_NAME: a user principal name."""
FASC_N = ObjectIdentifier("2.16.840.1.101.3.6.6")
"""pivFASC-N (FIPS 201-3): the card's number in the federal agency smart credential scheme."""
UTF8_STRING, OCTET_STRING = 0x0C, 0x04
URN = re.compile(r"urn:uuid:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE)


def alternative_names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """The subject alternative names; none without the extension."""
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def common_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The CNs of the subject."""
    return _plain(str(part.value) for part in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))


def upns(names: Iterable[x509.GeneralName]) -> tuple[str, ...]:
    """User principal names."""
    return _plain(value.decode(errors="surrogateescape") for value in _others(names, UPN, UTF8_STRING))


def emails(names: Iterable[x509.GeneralName]) -> tuple[str, ...]:
    """E-mail addresses among the alternative names; those in the subject are not constrained by anybody and do not count."""
    return _plain(name.value for name in names if isinstance(name, x509.RFC822Name))


def uuids(names: Iterable[x509.GeneralName]) -> tuple[str, ...]:
    """A card's UUID, as PIV writes it."""
    found = (URN.fullmatch(name.value) for name in names if isinstance(name, x509.UniformResourceIdentifier))
    return tuple(match[1].lower() for match in found if match)


def fasc_ns(names: Iterable[x509.GeneralName]) -> tuple[str, ...]:
    """FASC-Ns in hex."""
    return tuple(value.hex() for value in _others(names, FASC_N, OCTET_STRING) if value)


def _others(names: Iterable[x509.GeneralName], kind: ObjectIdentifier, tag: int) -> list[bytes]:
    """The contents of otherNames of one kind."""
    found = (_content(name.value, tag) for name in names if isinstance(name, x509.OtherName) and name.type_id == kind)
    return [value for value in found if value is not None]


def _content(der: bytes, tag: int) -> bytes | None:
    """What is in a DER value of this tag that fills `der` exactly (X.690, 8.1 and 10.1); None when it is not that."""
    if len(der) < 2 or der[0] != tag:
        return None
    size, start = der[1], 2
    if size >= 0x80:
        octets = size & 0x7F
        start += octets
        if not 1 <= octets <= 2 or len(der) < start or der[2] == 0:
            return None
        size = int.from_bytes(der[2:start], "big")
        if size < 0x80:
            return None
    return der[start:] if len(der) == start + size else None


def _plain(values: Iterable[str]) -> tuple[str, ...]:
    """Values that look to everybody the same: no control characters (a NUL ends names elsewhere), nothing that is not text."""
    return tuple(value for value in values if value.strip() and value.isprintable() and len(value) <= 1024)

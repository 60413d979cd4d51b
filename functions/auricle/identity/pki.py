"""Certificates (CAC, PIV, any X.509): how an administrator sets an authority up, and who a holder is here.

What names a person is one field of a certificate that was checked (`ports.certificates`), chosen once by the administrator, and
must stand there exactly once. Nothing else names anybody: neither a header, nor a name in another field, nor an e-mail address
that an account here happens to have. Who enters and in which role: `identity.oidc.admission`.
NIST SP 800-53: IA-2 (12) (PIV credentials), IA-5 (2) (the verified identity is mapped to an account).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import textwrap
from enum import StrEnum
from typing import NoReturn
from urllib.parse import urlsplit

import msgspec

from auricle.contract.http import Body
from auricle.errors import Invalid
from auricle.identity.oidc.admission import Admission, domain_of
from auricle.ports.certificates import CertificateIdentity, Refusal, Refused, Revocation, Trust
from auricle.ports.oidc import ExternalIdentity

MOST_BYTES = 8 * 1024
"""Of a certificate in DER, as a header carries it."""
MOST_PEM = 256 * 1024
MAX_BETWEEN = 8
MAX_SKEW = 300
EDIPI = re.compile(r"[^.]+(?:\.[^.]+)*\.([0-9]{10})")
"""LAST.FIRST.MIDDLE.1234567890, as the US Department of Defense writes CNs: the last part is the person's number."""


class Field(StrEnum):
    """What names a person. Each counts only as far as the configured authorities check it before they sign."""

    SUBJECT = "subject"  # the whole distinguished name
    UPN = "upn"  # otherName 1.3.6.1.4.1.311.20.2.3
    EMAIL = "email"  # an rfc822Name among the alternative names
    EDIPI = "edipi"  # the number at the end of a CAC's CN
    UUID = "uuid"  # a PIV card's
    FASC_N = "fasc-n"  # a PIV card's


class CertificateConfiguration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Authorities whose certificates sign people in, as stored and as administrators see them: there is no secret in it.

    `id` is part of everybody's identity from there; neither it nor `field` changes afterwards. Trusted authorities must not
    give one name to two people. `mail_is_verified`: they check addresses before they sign them. For the rest see
    `ports.certificates`.
    """

    id: str
    name: str
    anchors_pem: str
    field: Field
    enabled: bool = True
    intermediates_pem: str = ""
    max_between: int = 4
    revocation: Revocation = Revocation()
    mail_is_verified: bool = False
    admission: Admission = Admission()


class CertificateBody(CertificateConfiguration, Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an administrator sends."""


def issuer(configuration: str) -> str:
    """What stands for these authorities where a provider's issuer stands."""
    return f"pki:{configuration}"


def trust(configuration: CertificateConfiguration) -> Trust:
    """Whom to believe."""
    return Trust(
        anchors_pem=configuration.anchors_pem,
        intermediates_pem=configuration.intermediates_pem,
        revocation=configuration.revocation,
        max_between=configuration.max_between,
    )


def presented(certificate: str, fingerprint: str) -> str | Refused:
    """The client's certificate as PEM: what a header says, if it is the one whose SHA-256 the gateway signed.

    `certificate`: DER in base64 (`X-Auricle-Client-Certificate`). `fingerprint`: hex, from a `Client` that was verified; the
    signature covers it, hence this header needs none of its own. Anything else is `Refused`.
    """
    refused = Refused(reason=Refusal.MALFORMED, detail="The certificate is not the one that the gateway vouches for.")
    if not certificate or not fingerprint or len(certificate) > MOST_BYTES * 4 // 3 + 4 or not certificate.isascii():
        return refused
    try:
        der = base64.b64decode(certificate, validate=True)
    except (binascii.Error, ValueError):
        return refused
    if base64.b64encode(der).decode() != certificate:
        return refused  # Python forgives padding too many, by length: one spelling is enough
    if not fingerprint.isascii() or not hmac.compare_digest(hashlib.sha256(der).hexdigest(), fingerprint.lower()):
        return refused
    rows = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN CERTIFICATE-----\n{rows}\n-----END CERTIFICATE-----\n"


def holder(identity: CertificateIdentity, field: Field) -> str | None:
    """What names the holder, by this field alone; None when it is missing or there are two of it."""
    values = {
        Field.SUBJECT: (identity.subject,),
        Field.UPN: tuple(upn.casefold() for upn in identity.upns),
        Field.EMAIL: tuple(email.casefold() for email in identity.emails),
        Field.EDIPI: tuple(match[1] for name in identity.common_names if (match := EDIPI.fullmatch(name))),
        Field.UUID: identity.uuids,
        Field.FASC_N: identity.fasc_ns,
    }[field]
    # A CN with a number beside one without: whoever signed that is not the authority this field is meant for.
    if field is Field.EDIPI and len(values) != len(identity.common_names):
        return None
    found = set(values)
    value = next(iter(found), "")
    return value if len(found) == 1 and value.strip() and value.isprintable() else None


def as_external(configuration: CertificateConfiguration, identity: CertificateIdentity) -> ExternalIdentity | None:
    """The holder as admission's rules see them; None when the certificate does not name anybody by the chosen field."""
    named = holder(identity, configuration.field)
    if named is None:
        return None
    email = identity.emails[0] if len(identity.emails) == 1 else None
    verified = configuration.mail_is_verified and email is not None and domain_of(email) is not None
    return ExternalIdentity(
        issuer=issuer(configuration.id),
        subject=f"{configuration.field.value}:{named}",
        email=email,
        email_verified=verified,
        name=identity.common_names[0] if len(identity.common_names) == 1 else None,
    )


def changed(before: CertificateConfiguration | None, wanted: CertificateConfiguration) -> CertificateConfiguration:
    """`wanted`, if it may take the place of `before` (None: a new one); `Invalid` with the field that is not acceptable."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", wanted.id):
        _invalid("id", "The id is 1 to 32 characters: a letter, then letters, digits and hyphens, all lower case.")
    if before is not None and before.id != wanted.id:
        _invalid("id", "The id stays as it is: it is part of people's identities. Add other authorities instead.")
    if before is not None and before.field is not wanted.field:
        _invalid("field", "What names people stays as it is: it is part of their identities. Add the authorities anew instead.")
    if not 0 < len(wanted.name.strip()) <= 60 or not wanted.name.isprintable():
        _invalid("name", "Give the authorities a name of 1 to 60 characters: people see it.")
    _check_pem(wanted)
    _check_revocation(wanted.revocation)
    if not 0 <= wanted.max_between <= MAX_BETWEEN:
        _invalid("max_between", f"0 to {MAX_BETWEEN} authorities may stand between.")
    _check_admission(wanted.admission)
    return wanted


def _check_pem(wanted: CertificateConfiguration) -> None:
    """The shape only; the adapter says whether they are authorities."""
    begin = "-----BEGIN CERTIFICATE-----"
    for name, pem in (("anchors_pem", wanted.anchors_pem), ("intermediates_pem", wanted.intermediates_pem)):
        if (pem.strip() or name == "anchors_pem") and (begin not in pem or len(pem) > MOST_PEM or "PRIVATE KEY" in pem):
            _invalid(name, "Give CA certificates in PEM: they begin with -----BEGIN CERTIFICATE-----. No keys.")


def _check_revocation(rules: Revocation) -> None:
    if not rules.sources or len(set(rules.sources)) != len(rules.sources):
        _invalid("revocation", "Name who is asked about revocation, each once: ocsp, crl.")
    if not 0 <= rules.skew <= MAX_SKEW:
        _invalid("revocation", f"Clocks may differ by 0 to {MAX_SKEW} seconds.")
    if len(rules.lists) > 16 or len(rules.origins) > 32 or not all(map(_is_http, (*rules.lists, *rules.origins))):
        _invalid("revocation", "Addresses begin with http:// or https:// and name no user; at most 16 lists and 32 origins.")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False


def _check_admission(admission: Admission) -> None:
    if admission.groups or admission.required_groups or admission.roles:
        _invalid("admission", "Certificates name no groups, so rules for groups would let nobody in. Leave them out.")
    for domain in admission.domains:
        if domain_of(f"somebody@{domain}") != domain:
            _invalid("admission", f"{domain!r} is not a domain. Write it in lower case, such as example.org, one by one.")


def _invalid(name: str, sentence: str) -> NoReturn:
    raise Invalid(sentence, field=name)

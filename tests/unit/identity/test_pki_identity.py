"""Who the holder of a certificate is here: by one field that was verified, or nobody."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import pytest

from auricle.errors import Denied, Invalid
from auricle.identity.oidc.admission import Admission, Create, GivenRole, Person, RoleRule, enter
from auricle.identity.pki import CertificateConfiguration, Field, as_external, changed, holder, presented, trust
from auricle.ports.certificates import CertificateIdentity, Refused, Revocation, Silence, Source
from builders.pki import DER, Authority

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CARD = CertificateIdentity(
    fingerprint="ab" * 32,
    anchor="cd" * 32,
    subject="CN=DOE.JANE.Q.1234567890,O=Tests",
    issuer="CN=Test Issuing,O=Tests",
    serial="1f",
    not_after=NOW,
    common_names=("DOE.JANE.Q.1234567890",),
    upns=("1234567890@mil.test",),
    emails=("jane@corp.test",),
    uuids=("0ae8f58d-6f3a-4e1f-9c7c-1d2e3f405162",),
    fasc_ns=("d4e7",),
)
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def configuration(**other: object) -> CertificateConfiguration:
    usual = {"id": "cac", "name": "CAC", "anchors_pem": PEM, "field": Field.EDIPI}
    return CertificateConfiguration(**{**usual, **other})  # type: ignore[arg-type]


def card(**other: object) -> CertificateIdentity:
    return CertificateIdentity(**{**{name: getattr(CARD, name) for name in CARD.__dataclass_fields__}, **other})


# Which certificate


def test_the_certificate_is_the_one_whose_digest_was_signed() -> None:
    own = Authority.root().client("ada")
    header = base64.b64encode(own.certificate.public_bytes(DER)).decode()
    pem = presented(header, own.fingerprint)
    assert isinstance(pem, str)
    assert pem.split() == own.pem.split()
    assert presented(header, own.fingerprint.upper()) == pem


def test_any_other_certificate_is_refused() -> None:
    root = Authority.root()
    ada, eve = root.client("ada"), root.client("eve")
    der = eve.certificate.public_bytes(DER)
    header = base64.b64encode(der).decode()
    wrong = [
        (header, ada.fingerprint),
        (header, ""),
        ("", eve.fingerprint),
        ("", hashlib.sha256(b"").hexdigest()),
        (header + "=", eve.fingerprint),
        (header + "\n", eve.fingerprint),
        (f" {header}", eve.fingerprint),
        (eve.pem, eve.fingerprint),
        (base64.urlsafe_b64encode(der + b"\xff").decode(), eve.fingerprint),
        ("é" * 40, eve.fingerprint),
        (header, "é" * 64),
        ("A" * 100_000, hashlib.sha256(base64.b64decode("A" * 100_000)).hexdigest()),
    ]
    assert all(isinstance(presented(certificate, fingerprint), Refused) for certificate, fingerprint in wrong)


# Who


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (Field.SUBJECT, "CN=DOE.JANE.Q.1234567890,O=Tests"),
        (Field.UPN, "1234567890@mil.test"),
        (Field.EMAIL, "jane@corp.test"),
        (Field.EDIPI, "1234567890"),
        (Field.UUID, "0ae8f58d-6f3a-4e1f-9c7c-1d2e3f405162"),
        (Field.FASC_N, "d4e7"),
    ],
)
def test_each_field_names_the_holder(field: Field, expected: str) -> None:
    assert holder(CARD, field) == expected


@pytest.mark.parametrize(
    ("field", "other"),
    [
        (Field.SUBJECT, {"subject": ""}),
        (Field.UPN, {"upns": ()}),
        (Field.UPN, {"upns": ("ada@corp.test", "root@corp.test")}),
        (Field.EMAIL, {"emails": ()}),
        (Field.EMAIL, {"emails": ("ada@corp.test", "root@corp.test")}),
        (Field.EDIPI, {"common_names": ("Jane Doe",)}),
        (Field.EDIPI, {"common_names": ("1234567890",)}),
        (Field.EDIPI, {"common_names": ("DOE.JANE.123456789",)}),
        (Field.EDIPI, {"common_names": ("DOE.JANE.12345678901",)}),
        (Field.EDIPI, {"common_names": ("DOE.JANE.1234567890 ",)}),
        (Field.EDIPI, {"common_names": ("DOE.JANE.1234567890", "ROE.RON.0987654321")}),
        (Field.EDIPI, {"common_names": ("DOE.JANE.1234567890", "admin")}),
        (Field.EDIPI, {"common_names": ("DOE.JANE.١٢٣٤٥٦٧٨٩٠",)}),
        (Field.UUID, {"uuids": ()}),
        (Field.FASC_N, {"fasc_ns": ("d4e7", "d4e8")}),
    ],
)
def test_a_field_that_is_missing_or_twice_there_names_nobody(field: Field, other: dict[str, object]) -> None:
    assert holder(card(**other), field) is None
    assert as_external(configuration(field=field), card(**other)) is None


def test_no_other_field_steps_in() -> None:
    for field in Field:
        bare = card(subject="", common_names=(), upns=(), emails=(), uuids=(), fasc_ns=())
        everything_but = {
            Field.SUBJECT: {"subject": ""},
            Field.UPN: {"upns": ()},
            Field.EMAIL: {"emails": ()},
            Field.EDIPI: {"common_names": ("Jane Doe",)},
            Field.UUID: {"uuids": ()},
            Field.FASC_N: {"fasc_ns": ()},
        }[field]
        assert holder(bare, field) is None
        assert holder(card(**everything_but), field) is None


def test_names_that_are_written_otherwise_are_the_same_person() -> None:
    assert holder(card(upns=("ADA@Corp.test",)), Field.UPN) == holder(card(upns=("ada@corp.test",)), Field.UPN)
    assert holder(card(upns=("ADA@Corp.test", "ada@corp.test")), Field.UPN) == "ada@corp.test"


def test_one_value_in_two_fields_or_houses_is_two_identities() -> None:
    both = card(upns=("jane@corp.test",))
    seen = {
        (who.issuer, who.subject)
        for id in ("cac", "piv")
        for field in (Field.UPN, Field.EMAIL)
        if (who := as_external(configuration(id=id, field=field), both))
    }
    assert len(seen) == 4


def admitted(configured: CertificateConfiguration, **other: object) -> object:
    who = as_external(configured, CARD)
    assert who is not None
    usual: dict[str, object] = {"known": None, "invitation": None, "email_taken": False, "now": NOW}
    return enter(who, configured.admission, **{**usual, **other})  # type: ignore[arg-type]


def test_a_card_opens_no_account_by_itself() -> None:
    with pytest.raises(Denied):
        admitted(configuration())
    admitted(configuration(), known=Person(id=uuid4()))


def test_an_address_in_a_certificate_takes_over_nobodys_account() -> None:
    rules = Admission(domains=("corp.test",))
    for verified in (False, True):
        with pytest.raises(Denied):
            admitted(configuration(admission=rules, mail_is_verified=verified), email_taken=True)


def test_a_domain_counts_only_where_authorities_check_addresses() -> None:
    rules = Admission(domains=("corp.test",))
    with pytest.raises(Denied):
        admitted(configuration(admission=rules))
    assert admitted(configuration(admission=rules, mail_is_verified=True)) == Create(
        role=GivenRole.MEMBER, email="jane@corp.test", name="DOE.JANE.Q.1234567890", invitation=False
    )


# Settings


def test_settings_become_a_trust() -> None:
    rules = Revocation(silence=Silence.ALLOW, sources=(Source.CRL,))
    made = trust(changed(None, configuration(revocation=rules, intermediates_pem=PEM, max_between=2)))
    assert (made.anchors_pem, made.intermediates_pem, made.max_between, made.revocation) == (PEM, PEM, 2, rules)


def test_silence_refuses_unless_it_is_said_otherwise() -> None:
    assert configuration().revocation == Revocation(sources=(Source.OCSP, Source.CRL), silence=Silence.REFUSE)


def test_settings_survive_being_stored() -> None:
    made = configuration(revocation=Revocation(silence=Silence.ALLOW))
    assert msgspec.json.decode(msgspec.json.encode(made), type=CertificateConfiguration) == made


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "CAC"),
        ("name", ""),
        ("anchors_pem", ""),
        ("anchors_pem", "/etc/ssl/ca.pem"),
        ("anchors_pem", PEM + "-----BEGIN PRIVATE KEY-----"),
        ("intermediates_pem", "nothing"),
        ("revocation", Revocation(sources=())),
        ("revocation", Revocation(sources=(Source.CRL, Source.CRL))),
        ("revocation", Revocation(skew=3600)),
        ("revocation", Revocation(lists=("file:///etc/passwd",))),
        ("revocation", Revocation(origins=("http://user@crl.test",))),
        ("revocation", Revocation(origins=("crl.test",))),
        ("max_between", -1),
        ("max_between", 100),
        ("admission", Admission(groups=("staff",))),
        ("admission", Admission(roles=(RoleRule(group="staff", role=GivenRole.ADMIN),))),
        ("admission", Admission(domains=("Corp.test",))),
    ],
)
def test_what_is_not_acceptable_is_said_with_its_field(field: str, value: object) -> None:
    with pytest.raises(Invalid) as caught:
        changed(None, configuration(**{field: value}))
    assert caught.value.extra["field"] == field
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("other", [{"id": "piv"}, {"field": Field.UPN}])
def test_what_identities_are_made_of_never_changes(other: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        changed(configuration(), configuration(**other))

"""Which certificates are believed: only those that a configured authority made, for clients, now."""

from __future__ import annotations

import base64
import random
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from auricle.adapters.certificates.names import upns
from auricle.adapters.certificates.x509 import X509Checker, X509Checkers
from auricle.errors import Permanent
from auricle.ports.certificates import CertificateIdentity, Refused, Revocation, Silence, Source, Trust
from builders.pki import (
    CLIENT,
    DAY,
    MINUTE,
    MOMENT,
    SERVER,
    Authority,
    fasc_n,
    name,
    upn,
    usage,
)
from builders.pki_house import House, check, reason

CARD = bytes.fromhex("d4e739d821086c1084210d8360d8210842108421084210c3f3")


def test_an_identity_is_what_stands_in_the_certificate(house: House) -> None:
    holder = house.issuing.client(
        "DOE.JANE.Q.1234567890",
        upn("1234567890@mil.test"),
        x509.RFC822Name("jane@corp.test"),
        x509.UniformResourceIdentifier("urn:uuid:0AE8F58D-6F3A-4E1F-9C7C-1D2E3F405162"),
        fasc_n(CARD),
        purposes=[CLIENT, ExtendedKeyUsageOID.SMARTCARD_LOGON],
    )
    assert house.checker().check(holder.pem, MOMENT) == CertificateIdentity(
        fingerprint=holder.fingerprint,
        anchor=house.root.fingerprint,
        subject="CN=DOE.JANE.Q.1234567890,O=Tests",
        issuer="CN=Test Issuing,O=Tests",
        serial=f"{holder.certificate.serial_number:x}",
        not_after=MOMENT + 30 * DAY,
        common_names=("DOE.JANE.Q.1234567890",),
        upns=("1234567890@mil.test",),
        emails=("jane@corp.test",),
        uuids=("0ae8f58d-6f3a-4e1f-9c7c-1d2e3f405162",),
        fasc_ns=(CARD.hex(),),
    )


def test_names_elsewhere_in_a_certificate_do_not_count(house: House) -> None:
    holder = house.issuing.client(
        "ada@corp.test",
        x509.OtherName(ObjectIdentifier("1.2.3.4"), b"\x0c\x05admin"),
        x509.UniformResourceIdentifier("https://corp.test/urn:uuid:0ae8f58d-6f3a-4e1f-9c7c-1d2e3f405162"),
        x509.DNSName("ada.corp.test"),
        subject=name("ada@corp.test", (NameOID.EMAIL_ADDRESS, "root@corp.test")),
    )
    found = house.checker().check(holder.pem, MOMENT)
    assert isinstance(found, CertificateIdentity)
    assert (found.upns, found.emails, found.uuids, found.fasc_ns) == ((), (), (), ())


@pytest.mark.parametrize(
    "value",
    [
        b"\x16\x05admin",  # not a UTF8String
        b"\x0c\x05admin@corp",  # more than it says
        b"\x0c\x7fadmin",  # less than it says
        b"\x0c\x0badmin\x00@corp",
        b"\x0c\x06admin\n",
        b"\x0c\x81\x05admin",  # not as DER writes it
        b"\x0c\x82\x00\x05admin",
        b"\x0c\x80admin\x00\x00",
        b"\x0c\x02\xff\xfe",
        b"\x0c\x01 ",
        b"\x0c\x00",
        b"\x0c",
        b"",
    ],
)
def test_what_is_no_user_principal_name_is_none(value: bytes) -> None:
    assert upns([x509.OtherName(ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), value)]) == ()


@pytest.mark.parametrize("length", [1, 127, 128, 255, 256, 1024])
def test_user_principal_names_of_any_length_are_read(length: int) -> None:
    assert upns([x509.OtherName(ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), asn1.encode_der("a" * length))]) == ("a" * length,)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (MOMENT - DAY - MINUTE, "time"),
        (MOMENT - 30 * MINUTE, None),
        (MOMENT, None),
        (MOMENT + 30 * DAY + MINUTE, "time"),
    ],
)
def test_a_certificate_counts_from_its_first_moment_to_its_last(house: House, moment: datetime, expected: str | None) -> None:
    assert check(house.checker(), house.issuing.client(), moment) == expected


def test_a_moment_without_a_zone_is_a_mistake(house: House) -> None:
    with pytest.raises(ValueError, match="time zone"):
        house.checker().check(house.issuing.client().pem, datetime(2040, 6, 1))  # noqa: DTZ001


def test_it_must_be_made_for_clients(house: House) -> None:
    checker = house.checker()
    every = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
    made = [house.issuing.client(purposes=purposes) for purposes in (None, [SERVER], [every], [SERVER, CLIENT])]
    assert [check(checker, holder) for holder in made] == ["purpose", "purpose", "purpose", None]


def test_its_key_must_be_made_to_sign(house: House) -> None:
    made = [house.issuing.client(key_usage=usage(**{kind: True})) for kind in ("key_encipherment", "key_agreement")]
    assert [check(house.checker(), holder) for holder in made] == ["usage", "usage"]


def test_weak_keys_are_refused_and_strong_ones_of_every_kind_are_not(house: House) -> None:
    keys = [
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.SECP256K1()),
    ]
    assert [check(house.checker(), house.issuing.client(key=key)) for key in keys] == ["weak"] * 3
    keys = [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())]
    assert [check(house.checker(), house.issuing.client(key=key)) for key in keys] == [None] * 2


def test_an_issuer_of_the_same_name_is_another_one(house: House) -> None:
    root = Authority.root("Test Root")
    forged = root.under("Test Issuing")
    assert root.certificate.subject == house.root.certificate.subject
    assert check(house.checker(), forged.client()) == "chain"
    assert check(house.checker(), root.client()) == "chain"


def test_a_certificate_that_signs_itself_is_nobodys(house: House) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    alone = Authority(house.issuing.certificate, key)  # the real authority's name, another key
    assert check(house.checker(), alone.client()) == "chain"


def test_somebodys_certificate_makes_no_others(house: House) -> None:
    ada = house.issuing.client("ada")
    by_ada = Authority(ada.certificate, ada.key).client("root")
    between = Trust(anchors_pem=house.root.pem, intermediates_pem=house.issuing.pem)
    assert check(X509Checker(between), by_ada) == "chain"
    with pytest.raises(Permanent, match="no authority"):
        X509Checker(Trust(anchors_pem=house.root.pem, intermediates_pem=house.issuing.pem + ada.pem))


def test_an_authority_is_no_client(house: House) -> None:
    made = house.issuing.client(
        constraints=x509.BasicConstraints(ca=True, path_length=None),
        key_usage=usage(digital_signature=True, key_cert_sign=True),
    )
    assert check(house.checker(), made) == "chain"
    assert check(house.checker(), house.issuing) == "purpose"


def soft(*chain: Authority, root: Authority, **other: int) -> X509Checker:
    pem = "".join(authority.pem for authority in chain)
    trust = Trust(
        anchors_pem=root.pem, intermediates_pem=pem, revocation=Revocation(sources=(), silence=Silence.ALLOW), **other
    )
    return X509Checker(trust)


def test_an_authority_allows_as_many_below_it_as_it_says() -> None:
    root = Authority.root()
    first = root.under("First", path_length=0)
    second = first.under("Second")
    assert check(soft(first, root=root), first.client()) is None
    assert check(soft(first, second, root=root), second.client()) == "chain"
    closed = Authority.root(path_length=0)
    below = closed.under()
    assert check(soft(root=closed), closed.client()) is None
    assert check(soft(below, root=closed), below.client()) == "chain"


def test_no_more_authorities_stand_between_than_configured() -> None:
    root = Authority.root()
    steps = [root.under("Step 0")]
    for number in range(1, 4):
        steps.append(steps[-1].under(f"Step {number}"))
    holder = steps[-1].client()
    assert check(soft(*steps, root=root, max_between=4), holder) is None
    assert check(soft(*steps, root=root, max_between=3), holder) == "chain"


def test_an_expired_authority_vouches_for_nobody() -> None:
    root = Authority.root()
    past = root.under(valid=(MOMENT - 9 * DAY, MOMENT - DAY))
    assert check(soft(past, root=root), past.client()) == "chain"


def test_an_authority_that_may_not_sign_certificates_vouches_for_nobody() -> None:
    root = Authority.root()
    not_one = root.under(is_ca=False)
    with pytest.raises(Permanent, match="no authority"):
        soft(not_one, root=root)
    servers_only = root.under(more=[(x509.ExtendedKeyUsage([SERVER]), False)])
    assert check(soft(servers_only, root=root), servers_only.client()) == "chain"


def test_limits_on_names_hold_and_those_not_understood_refuse() -> None:
    root = Authority.root()

    def under(limit: x509.GeneralName, critical: bool = True) -> Authority:
        return root.under(more=[(x509.NameConstraints([limit], None), critical)])

    mail = under(x509.RFC822Name("corp.test"))
    inside, outside = (mail.client("a", x509.RFC822Name(f"a@{host}")) for host in ("corp.test", "evil.test"))
    assert (check(soft(mail, root=root), inside), check(soft(mail, root=root), outside)) == (None, "chain")
    for critical, expected in ((True, "chain"), (False, "constraints")):
        named = under(x509.DirectoryName(name("only")), critical)
        assert check(soft(named, root=root), named.client("other")) == expected


def test_what_is_critical_and_not_understood_is_refused(house: House) -> None:
    odd = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert check(house.checker(), house.issuing.client(more=[(odd, True)])) == "chain"
    assert check(house.checker(), house.issuing.client(more=[(odd, False)])) is None


def test_only_one_whole_certificate_is_read(house: House) -> None:
    holder = house.issuing.client()
    key = holder.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    wrong = ["", "nothing", holder.pem * 2, holder.pem + key, key, holder.pem[:-40], "x" * 100_000 + holder.pem]
    checker = house.checker()
    assert [reason(checker.check(pem, MOMENT)) for pem in wrong] == ["malformed"] * len(wrong)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """`data` with one bit changed."""
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def in_pem(der: bytes) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"


@pytest.mark.filterwarnings("ignore:Parsed a serial number:cryptography.utils.CryptographyDeprecationWarning")
def test_damaged_certificates_are_refused_and_never_an_error(house: House) -> None:
    checker, chance = house.checker(), random.Random(7)
    der = house.issuing.client("ada", upn("ada@corp.test")).certificate.public_bytes(serialization.Encoding.DER)
    version = der.index(bytes.fromhex("a003020102"))
    broken = [damaged(der, chance) for _ in range(400)]
    broken += [der[: version + 4] + bytes([number]) + der[version + 5 :] for number in range(256) if number != 2]
    assert all(isinstance(checker.check(in_pem(other), MOMENT), Refused) for other in broken)


def test_damaged_lists_and_answers_are_never_an_error_and_let_nobody_in(house: House) -> None:
    chance = random.Random(8)
    eve = house.issuing.client("eve")
    house.issuing.revoke(eve)
    real = house.issuing.revocation_list()
    for _ in range(60):
        house.web.lists["/issuing.crl"] = damaged(real, chance)
        assert check(house.checker(sources=(Source.CRL,), silence=Silence.ALLOW), eve) in ("forged", "revoked")
    house.issuing.ocsp, house.issuing.crl = f"{house.web.url}/ocsp", None
    odd = house.issuing.client("odd")
    responder = house.issuing.responder()
    house.web.responder = lambda asked: damaged(house.issuing.answer(asked, signer=responder, certificates=[responder]), chance)
    for _ in range(60):
        assert check(house.checker(), odd) in ("forged", "unknown", "undetermined")


def test_a_checker_needs_authorities(house: House) -> None:
    for pem in ("", "nothing", house.issuing.client().pem, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(Permanent):
            X509Checker(Trust(anchors_pem=pem))


def test_a_trust_has_one_checker(house: House) -> None:
    checkers = X509Checkers()
    assert checkers.for_(house.trust()) is checkers.for_(house.trust())
    assert checkers.for_(house.trust()) is not checkers.for_(house.trust(require_nonce=True))


def test_keys_of_ed25519_are_taken_as_they_come(house: House) -> None:
    """cryptography's path validation does not take them (they are not in the web's profile): refused, not an error."""
    holder = house.issuing.client(key=ed25519.Ed25519PrivateKey.generate())  # type: ignore[arg-type]
    assert check(house.checker(), holder) in (None, "chain")

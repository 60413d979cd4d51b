"""Revocation lists: believed when their issuer signed them and they are in date; refused, or passed over, as was said."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from auricle.adapters.certificates.x509 import X509Checker
from auricle.ports.certificates import CertificateIdentity, Revocation, Silence, Source, Trust
from builders.pki import DAY, HOUR, MINUTE, MOMENT, Authority, Holder
from builders.pki_house import House, check

LISTS = {"sources": (Source.CRL,)}
SOFT = {**LISTS, "silence": Silence.ALLOW}


def test_whoever_is_on_no_list_is_let_in_and_whoever_is_revoked_is_not(house: House) -> None:
    ada, eve = house.issuing.client("ada"), house.issuing.client("eve")
    house.issuing.revoke(eve)
    house.publish()
    for rules in ({}, LISTS, SOFT):
        checker = house.checker(**rules)
        assert [check(checker, ada), check(checker, eve)] == [None, "revoked"]


def test_nobody_is_let_in_by_an_authority_that_was_revoked(house: House) -> None:
    ada = house.issuing.client("ada")
    house.root.revoke(house.issuing)
    house.publish()
    assert check(house.checker(), ada) == "revoked"


def test_a_list_that_is_away_refuses_or_is_passed_over_as_was_said(house: House) -> None:
    ada = house.issuing.client("ada")
    house.web.lists["/issuing.crl"] = None
    assert check(house.checker(), ada) == "undetermined"
    passed = house.checker(**SOFT).check(ada.pem, MOMENT)
    assert isinstance(passed, CertificateIdentity)
    assert passed.unchecked


def test_an_identity_says_that_it_was_checked(house: House) -> None:
    found = house.checker(**SOFT).check(house.issuing.client().pem, MOMENT)
    assert isinstance(found, CertificateIdentity)
    assert not found.unchecked


def test_a_server_that_is_gone_altogether_is_one_that_is_away(house: House) -> None:
    house.issuing.crl = "http://127.0.0.1:9/nothing.crl"
    ada = house.issuing.client("ada")
    assert [check(house.checker(**rules), ada) for rules in (LISTS, SOFT)] == ["undetermined", None]


def test_certificates_without_an_address_are_undetermined_unless_a_list_is_configured(house: House) -> None:
    address, house.issuing.crl = house.issuing.crl, None
    ada, eve = house.issuing.client("ada"), house.issuing.client("eve")
    house.issuing.revoke(eve)
    house.publish()
    assert check(house.checker(), ada) == "undetermined"
    checker = house.checker(lists=(address,))
    assert [check(checker, ada), check(checker, eve)] == [None, "revoked"]
    assert house.web.heard.count("GET /issuing.crl") == 2  # once for each authority, whatever is asked later


@pytest.mark.parametrize(
    ("since", "until"),
    [(MOMENT - 2 * DAY, MOMENT - DAY), (MOMENT - DAY, MOMENT - 2 * MINUTE), (MOMENT + HOUR, MOMENT + DAY)],
)
def test_a_list_out_of_date_says_nothing(house: House, since: object, until: object) -> None:
    eve = house.issuing.client("eve")
    house.web.lists["/issuing.crl"] = house.issuing.revocation_list(since=since, until=until)  # type: ignore[arg-type]
    assert [check(house.checker(**rules), eve) for rules in (LISTS, SOFT)] == ["undetermined", None]


def forged(house: House) -> list[bytes]:
    """Lists on which nobody is, that the issuing authority did not make, or not for all of its certificates."""
    thief = Holder(house.issuing.certificate, ec.generate_private_key(ec.SECP256R1()))
    point = x509.IssuingDistributionPoint
    usual: dict[str, object] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    elsewhere = [x509.UniformResourceIdentifier("http://crl.test/part-7.crl")]
    scopes = [
        point(**{**usual, **other})  # type: ignore[arg-type]
        for other in (
            {"only_contains_ca_certs": True},
            {"only_contains_attribute_certs": True},
            {"indirect_crl": True},
            {"only_some_reasons": frozenset([x509.ReasonFlags.key_compromise])},
            {"full_name": elsewhere},
        )
    ]
    return [
        house.issuing.revocation_list(signer=thief),
        house.issuing.revocation_list(signer=house.root),
        house.root.revocation_list(),
        Authority.root("Test Root").under().revocation_list(),
        house.issuing.revocation_list()[:-1] + b"\0",
        b"<html>Sign in to this network</html>",
        b"",
        house.issuing.revocation_list(more=[(x509.DeltaCRLIndicator(1), True)]),
        house.issuing.revocation_list(more=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]),
        *(house.issuing.revocation_list(more=[(scope, True)]) for scope in scopes),
    ]


@pytest.mark.parametrize("number", range(14))
def test_a_list_that_does_not_hold_refuses_even_where_silence_does_not(house: House, number: int) -> None:
    eve = house.issuing.client("eve")
    lists = forged(house)
    assert len(lists) == 14
    house.web.lists["/issuing.crl"] = lists[number]
    assert [check(house.checker(**rules), eve) for rules in (LISTS, SOFT)] == ["forged", "forged"]


def test_an_authority_that_may_not_sign_lists_signs_none(house: House) -> None:
    made = house.root.under("Other", signs_lists=False)
    made.crl = f"{house.web.url}/other.crl"
    house.web.lists["/other.crl"] = made.revocation_list()
    trust = Trust(anchors_pem=house.root.pem, intermediates_pem=made.pem, revocation=Revocation(sources=(Source.CRL,)))
    assert check(X509Checker(trust), made.client()) == "forged"


def test_a_list_for_people_only_is_for_people(house: House) -> None:
    scope = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(str(house.issuing.crl))],
        relative_name=None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    ada, eve = house.issuing.client("ada"), house.issuing.client("eve")
    house.issuing.revoke(eve)
    house.web.lists["/issuing.crl"] = house.issuing.revocation_list(more=[(scope, True)])
    assert [check(house.checker(), holder) for holder in (ada, eve)] == [None, "revoked"]


# Kept lists


def test_a_list_is_kept_for_a_while_and_then_asked_for_again(house: House) -> None:
    checker, eve = house.checker(), house.issuing.client("eve")
    for minute in range(3):
        assert check(checker, eve, MOMENT + minute * MINUTE) is None
    assert house.web.heard.count("GET /issuing.crl") == 1
    house.issuing.revoke(eve)
    house.publish()
    assert check(checker, eve, MOMENT + timedelta(minutes=61)) == "revoked"
    assert house.web.heard.count("GET /issuing.crl") == 2


def test_a_kept_list_bridges_an_outage_until_it_is_out_of_date(house: House) -> None:
    checker, eve = house.checker(), house.issuing.client("eve")
    assert check(checker, eve) is None
    house.web.lists.clear()
    assert check(checker, eve, MOMENT + 20 * HOUR) is None
    assert check(checker, eve, MOMENT + 25 * HOUR) == "undetermined"


def test_an_older_list_never_replaces_a_newer_one(house: House) -> None:
    checker, eve = house.checker(), house.issuing.client("eve")
    old = house.issuing.revocation_list(since=MOMENT - 3 * HOUR)
    house.issuing.revoke(eve)
    house.publish()
    assert check(checker, eve) == "revoked"
    house.web.lists["/issuing.crl"] = old
    assert check(checker, eve, MOMENT + 2 * HOUR) == "revoked"


def test_a_forged_list_does_not_take_the_place_of_a_real_one(house: House) -> None:
    checker, eve = house.checker(), house.issuing.client("eve")
    thief = Holder(house.issuing.certificate, ec.generate_private_key(ec.SECP256R1()))
    house.issuing.revoke(eve)
    house.publish()
    real = house.web.lists["/issuing.crl"]
    assert check(checker, eve) == "revoked"
    house.issuing.revoked.clear()
    house.web.lists["/issuing.crl"] = house.issuing.revocation_list(signer=thief, since=MOMENT)
    assert check(checker, eve, MOMENT + 2 * HOUR) == "revoked"
    fresh = house.checker()
    assert check(fresh, eve) == "forged"
    house.web.lists["/issuing.crl"] = real
    assert check(fresh, eve) == "revoked"


def test_a_server_that_is_away_is_not_asked_at_once_again(house: House) -> None:
    checker, ada = house.checker(), house.issuing.client("ada")
    house.web.lists["/issuing.crl"] = None
    for second in (0, 1, 29):
        assert check(checker, ada, MOMENT + timedelta(seconds=second)) == "undetermined"
    assert house.web.heard.count("GET /issuing.crl") == 1
    house.publish()
    assert check(checker, ada, MOMENT + timedelta(seconds=31)) is None


# Where is asked


def test_only_allowed_origins_are_asked(house: House) -> None:
    ada = house.issuing.client("ada")
    assert check(house.checker(origins=(house.web.url,)), ada) is None
    house.web.heard.clear()
    assert check(house.checker(origins=("http://crl.test",)), ada) == "undetermined"
    assert house.web.heard == []


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ldap://127.0.0.1/cn=crl", "http://u:p@127.0.0.1/", "http://", "x"])
def test_addresses_that_are_not_http_are_not_asked(house: House, address: str) -> None:
    house.issuing.crl = address
    assert check(house.checker(), house.issuing.client()) == "undetermined"


def test_nobody_is_asked_about_certificates_that_no_authority_made(house: House) -> None:
    stranger = Authority.root("Test Root")
    stranger.crl = f"{house.web.url}/stranger"
    assert check(house.checker(), stranger.client()) == "chain"
    assert house.web.heard == []

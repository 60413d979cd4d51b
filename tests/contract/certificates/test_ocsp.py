"""OCSP: an answer counts when whoever may speak for the authority gave it, about this certificate, now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import ocsp

from auricle.adapters.certificates.x509 import X509Checker
from auricle.ports.certificates import CertificateIdentity, Silence, Source, Trust
from builders.pki import CLIENT, DAY, HOUR, MINUTE, MOMENT, OCSP_SIGNING, Authority, Holder
from builders.pki_house import House, check

SOFT = {"silence": Silence.ALLOW}
Answer = Callable[[bytes], bytes | None]


def knowing(authority: Authority, *holders: Holder, **other: object) -> Answer:
    """A responder that knows `holders`."""
    known = [holder.certificate.serial_number for holder in holders]
    return lambda request: authority.answer(request, known=known, **other)  # type: ignore[arg-type]


def test_good_revoked_and_unknown(responding: House) -> None:
    ada, eve, odd = (responding.issuing.client(name) for name in ("ada", "eve", "odd"))
    responding.issuing.revoke(eve)
    responding.web.responder = knowing(responding.issuing, ada)
    for rules in ({}, SOFT):
        checker = responding.checker(**rules)
        assert [check(checker, holder) for holder in (ada, eve, odd)] == [None, "revoked", "unknown"]


def test_an_authority_may_say_its_name_instead_of_its_key(responding: House) -> None:
    ada = responding.issuing.client("ada")
    responding.web.responder = knowing(responding.issuing, ada, by_name=True)
    assert check(responding.checker(), ada) is None


def test_a_responder_that_the_authority_made_may_answer(responding: House) -> None:
    ada, eve = responding.issuing.client("ada"), responding.issuing.client("eve")
    responding.issuing.revoke(eve)
    responder = responding.issuing.responder()
    responding.web.responder = knowing(responding.issuing, ada, signer=responder, certificates=[responder])
    assert [check(responding.checker(), holder) for holder in (ada, eve)] == [None, "revoked"]


def unauthorised(house: House) -> list[dict[str, object]]:
    """Signers who may not speak for the issuing authority."""
    thief = Authority.root("Test Issuing")  # says to be the issuer, and has another key
    strangers = Authority.root("Test Issuing")
    lower = Authority.root("Test Root").under()
    ada = house.issuing.client("somebody")
    made = [
        house.root.responder(),  # of the authority above: only the issuer itself names its responders
        strangers.responder(),
        lower.responder(),
        ada,
        house.issuing.responder(purposes=[CLIENT]),
        house.issuing.responder(valid=(MOMENT - 2 * DAY, MOMENT - DAY)),
        house.issuing.responder(valid=(MOMENT + HOUR, MOMENT + DAY)),
        house.issuing.responder(no_check=False),
        house.root,
    ]
    return [{"signer": thief, "by_name": True}, *({"signer": signer, "certificates": [signer]} for signer in made)]


@pytest.mark.parametrize("number", range(10))
def test_nobody_else_may(responding: House, number: int) -> None:
    eve = responding.issuing.client("eve")
    signers = unauthorised(responding)
    assert len(signers) == 10
    responding.web.responder = knowing(responding.issuing, eve, **signers[number])
    assert [check(responding.checker(**rules), eve) for rules in ({}, SOFT)] == ["forged", "forged"]


def test_an_answer_that_was_changed_on_the_way_is_refused(responding: House) -> None:
    eve = responding.issuing.client("eve")
    good = knowing(responding.issuing, eve)

    def changed(request: bytes) -> bytes:
        answer = good(request)
        assert answer is not None
        place = answer.rindex(eve.certificate.serial_number.to_bytes(20, "big").lstrip(b"\0")[-8:])
        return answer[:place] + bytes([answer[place] ^ 1]) + answer[place + 1 :]

    responding.web.responder = changed
    assert check(responding.checker(**SOFT), eve) == "forged"


def test_an_answer_about_another_certificate_is_refused(responding: House) -> None:
    ada, eve = responding.issuing.client("ada"), responding.issuing.client("eve")
    responding.issuing.revoke(eve)
    responding.web.responder = knowing(responding.issuing, ada, about=ada)
    assert check(responding.checker(**SOFT), eve) == "forged"


@pytest.mark.parametrize("signed_by_ours", [False, True])
def test_an_answer_about_the_same_number_of_another_authority_is_refused(responding: House, signed_by_ours: bool) -> None:
    eve = responding.issuing.client("eve")
    other = Authority.root("Test Issuing")
    twin = other.client("eve", serial=eve.certificate.serial_number)
    signer = responding.issuing if signed_by_ours else other

    def answer(_: bytes) -> bytes:
        own = ocsp.OCSPRequestBuilder().add_certificate(twin.certificate, other.certificate, hashes.SHA1()).build()
        return signer.answer(own.public_bytes(serialization.Encoding.DER), known=[eve.certificate.serial_number])

    responding.web.responder = answer
    assert check(responding.checker(**SOFT), eve) == "forged"


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (MOMENT - 2 * DAY, MOMENT - DAY, "undetermined"),
        (MOMENT - DAY, MOMENT - 2 * MINUTE, "undetermined"),
        (MOMENT + 2 * MINUTE, MOMENT + DAY, "undetermined"),
        (MOMENT - DAY, MOMENT + MINUTE, None),
        (MOMENT + timedelta(seconds=30), MOMENT + DAY, None),
    ],
)
def test_an_answer_counts_while_it_is_in_date(responding: House, since: object, until: object, expected: str | None) -> None:
    ada = responding.issuing.client("ada")
    responding.web.responder = knowing(responding.issuing, ada, since=since, until=until)
    assert check(responding.checker(), ada) == expected
    assert check(responding.checker(**SOFT), ada) is None


def test_an_answer_without_an_end_counts_for_an_hour(responding: House) -> None:
    ada = responding.issuing.client("ada")
    for age, expected in ((30 * MINUTE, None), (2 * HOUR, "undetermined")):
        responding.web.responder = knowing(responding.issuing, ada, since=MOMENT - age, with_until=False)
        assert check(responding.checker(), ada) == expected


def test_a_nonce_that_is_not_ours_is_refused(responding: House) -> None:
    eve = responding.issuing.client("eve")
    responding.web.responder = knowing(responding.issuing, eve, nonce=b"of an older question, seen on the way")
    assert check(responding.checker(**SOFT), eve) == "forged"


def test_answers_made_beforehand_count_unless_a_nonce_is_required(responding: House) -> None:
    ada = responding.issuing.client("ada")
    responding.web.responder = knowing(responding.issuing, ada, nonce=b"")
    assert check(responding.checker(), ada) is None
    assert check(responding.checker(require_nonce=True), ada) == "undetermined"
    responding.web.responder = knowing(responding.issuing, ada)
    assert check(responding.checker(require_nonce=True), ada) is None


def test_every_question_has_a_nonce_of_its_own(responding: House) -> None:
    ada, seen = responding.issuing.client("ada"), []

    def listen(request: bytes) -> bytes:
        asked = ocsp.load_der_ocsp_request(request)
        seen.append(asked.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce)
        return responding.issuing.answer(request, known=[ada.certificate.serial_number])

    responding.web.responder = listen
    for _ in range(3):
        assert check(responding.checker(), ada) is None
    assert len(set(seen)) == 3
    assert {len(nonce) for nonce in seen} == {32}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, "undetermined"),
        (b"", "forged"),
        (b"<html>", "forged"),
        (ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER), "undetermined"),
        (ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED), "undetermined"),
        (b"x" * 100_000, "undetermined"),
    ],
)
def test_a_responder_that_cannot_answer(responding: House, answer: object, expected: str) -> None:
    body = answer.public_bytes(serialization.Encoding.DER) if isinstance(answer, ocsp.OCSPResponse) else answer
    responding.web.responder = lambda _: body  # type: ignore[return-value]
    ada = responding.issuing.client("ada")
    assert check(responding.checker(), ada) == expected
    soft = responding.checker(**SOFT).check(ada.pem, MOMENT)
    assert isinstance(soft, CertificateIdentity) == (expected == "undetermined")


def test_the_list_is_asked_when_the_responder_is_away(responding: House) -> None:
    responding.issuing.crl = f"{responding.web.url}/issuing.crl"
    ada, eve = responding.issuing.client("ada"), responding.issuing.client("eve")
    responding.issuing.revoke(eve)
    responding.publish()
    checker = responding.checker()
    assert [check(checker, ada), check(checker, eve)] == [None, "revoked"]
    assert check(responding.checker(sources=(Source.OCSP,)), ada) == "undetermined"


def test_a_certificate_that_the_responder_does_not_know_is_not_saved_by_a_list(responding: House) -> None:
    """Whoever stole an authority's key makes certificates that are on no list."""
    responding.issuing.crl = f"{responding.web.url}/issuing.crl"
    responding.web.responder = knowing(responding.issuing)
    assert check(responding.checker(), responding.issuing.client()) == "unknown"


def test_an_answer_is_kept_for_a_while_and_never_beyond_its_end(responding: House) -> None:
    eve = responding.issuing.client("eve")
    responding.web.responder = knowing(responding.issuing, eve, until=MOMENT + 5 * MINUTE)
    checker = responding.checker()
    for minute in (0, 1, 4):
        assert check(checker, eve, MOMENT + minute * MINUTE) is None
    assert responding.web.heard.count("POST /ocsp") == 1
    responding.issuing.revoke(eve)
    responding.web.responder = knowing(responding.issuing, eve, until=MOMENT + DAY)
    assert check(checker, eve, MOMENT + 6 * MINUTE) == "revoked"


def test_a_kept_answer_is_asked_for_again_after_ten_minutes(responding: House) -> None:
    eve = responding.issuing.client("eve")
    responding.web.responder = knowing(responding.issuing, eve)
    checker = responding.checker()
    assert check(checker, eve) is None
    responding.issuing.revoke(eve)
    assert check(checker, eve, MOMENT + 11 * MINUTE) == "revoked"


def test_wrong_answers_and_unknown_are_not_kept(responding: House) -> None:
    ada = responding.issuing.client("ada")
    checker = responding.checker()
    for answer, expected in (
        (knowing(responding.issuing, ada, nonce=b"not ours"), "forged"),
        (knowing(responding.issuing), "unknown"),
        (knowing(responding.issuing, ada), None),
    ):
        responding.web.responder = answer
        assert check(checker, ada) == expected


def test_two_authorities_answers_are_not_mixed_up(responding: House) -> None:
    """The same serial number under two authorities is two certificates."""
    other = responding.root.under("Other Issuing")
    other.ocsp = responding.issuing.ocsp
    one = responding.issuing.client("one")
    two = other.client("two", serial=one.certificate.serial_number)
    other.revoke(two)

    def answer(request: bytes) -> bytes:
        asked = ocsp.load_der_ocsp_request(request)
        own = x509.SubjectKeyIdentifier.from_public_key(other.key.public_key()).digest == asked.issuer_key_hash
        return (other if own else responding.issuing).answer(request, known=[asked.serial_number])

    responding.web.responder = answer
    checker = X509Checker(Trust(anchors_pem=responding.root.pem, intermediates_pem=responding.issuing.pem + other.pem))
    assert [check(checker, one), check(checker, two), check(checker, one)] == [None, "revoked", None]


def test_responders_with_rsa_keys_are_understood(responding: House) -> None:
    ada = responding.issuing.client("ada")
    key = rsa.generate_private_key(65537, 2048)
    responder = responding.issuing.client("rsa", purposes=[OCSP_SIGNING], key=key, more=[(x509.OCSPNoCheck(), False)])
    responding.web.responder = knowing(responding.issuing, ada, signer=responder, certificates=[responder])
    assert check(responding.checker(), ada) is None

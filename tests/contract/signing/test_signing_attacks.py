"""Attacks on what a token says about itself. Each is named after its hole, and tried against every verifier."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auricle.ports.signing import MAX_TOKEN, Refusal, TokenKind, TokenRefused, TokenVerifier
from builders.signing import NOW, Keys, forged, somebody_elses, word

PAYLOAD = b'{"sub":"somebody"}'
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256's base point (FIPS 186-4, D.1.2.3)."""


def why(verifier: TokenVerifier, token: str) -> Refusal:
    with pytest.raises(TokenRefused) as caught:
        verifier.verify(token, (TokenKind.ACCESS,), NOW)
    return caught.value.why


def header(keys: Keys, **changed: Any) -> dict[str, Any]:
    """What our signer writes, with changes; a member of None is left out."""
    whole = {"alg": "ES256", "typ": "at+jwt", "kid": keys.kid} | changed
    return {name: value for name, value in whole.items() if value is not None}


def parts_of(token: str) -> list[str]:
    return token.split(".")


def good(keys: Keys) -> str:
    return forged(header(keys), PAYLOAD, keys.private())


def test_the_forger_can_make_a_good_token_so_that_the_others_fail_for_their_flaw(keys: Keys, verifier: TokenVerifier) -> None:
    assert verifier.verify(good(keys), (TokenKind.ACCESS,), NOW).payload == PAYLOAD


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", None, "HS256", "RS256", "ES384", "EdDSA", "es256", ["ES256"], 0]
)
def test_algorithm_confusion_no_other_algorithm_even_over_a_true_signature(
    keys: Keys, verifier: TokenVerifier, alg: object
) -> None:
    assert why(verifier, forged(header(keys, alg=alg), PAYLOAD, keys.private())) is Refusal.ALGORITHM


@pytest.mark.parametrize("alg", ["none", "ES256"])
def test_algorithm_confusion_no_signature_is_no_signature(keys: Keys, verifier: TokenVerifier, alg: str) -> None:
    unsigned = f"{word(json.dumps(header(keys, alg=alg)).encode())}.{word(PAYLOAD)}."
    assert why(verifier, unsigned) is Refusal.MALFORMED


def test_algorithm_confusion_the_public_key_is_no_hmac_secret(keys: Keys, verifier: TokenVerifier) -> None:
    public = keys.private().public_key()
    secrets = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        keys.published(),
        keys.ring.public.keys[0].x.encode(),
        b"",
    ]
    for secret in secrets:
        for alg, refusal in (("HS256", Refusal.ALGORITHM), ("HS512", Refusal.ALGORITHM), ("ES256", Refusal.SIGNATURE)):
            signed = f"{word(json.dumps(header(keys, alg=alg)).encode())}.{word(PAYLOAD)}"
            digest = hashlib.sha256 if alg == "HS256" else hashlib.sha512  # as long as an ES256 signature
            assert why(verifier, f"{signed}.{word(hmac.digest(secret, signed.encode(), digest))}") is refusal


@pytest.mark.parametrize(
    "kid",
    [
        "",
        "../../../../dev/null",
        "/etc/passwd",
        "' OR '1'='1",
        "a\u0000b",
        "%00",
        "$(id)",
        "http://attacker.example/jwks",
        "*",
        "null",
    ],
)
def test_kid_injection_a_kid_is_a_name_to_compare_and_nothing_else(keys: Keys, verifier: TokenVerifier, kid: str) -> None:
    assert why(verifier, forged(header(keys, kid=kid), PAYLOAD, somebody_elses())) is Refusal.KEY


@pytest.mark.parametrize("kid", [0, True, [], {}, ["a"], {"$ne": ""}])
def test_kid_injection_a_kid_that_is_no_text(keys: Keys, verifier: TokenVerifier, kid: object) -> None:
    assert why(verifier, forged(header(keys, kid=kid), PAYLOAD, keys.private())) is Refusal.KEY


@pytest.mark.parametrize("missing", ["kid", "typ"])
def test_kid_injection_a_header_that_leaves_it_to_us(keys: Keys, verifier: TokenVerifier, missing: str) -> None:
    assert why(verifier, forged(header(keys, **{missing: None}), PAYLOAD, keys.private())) is Refusal.HEADER


def test_kid_injection_our_kid_under_somebody_elses_signature(keys: Keys, verifier: TokenVerifier) -> None:
    assert why(verifier, forged(header(keys), PAYLOAD, somebody_elses())) is Refusal.SIGNATURE


@pytest.mark.parametrize(
    "name", ["jku", "x5u", "x5c", "x5t", "x5t#S256", "jwk", "crit", "b64", "zip", "cty", "nonce", "enc", "url"]
)
def test_key_injection_a_header_that_brings_or_points_to_a_key(keys: Keys, verifier: TokenVerifier, name: str) -> None:
    """Even over a true signature of ours: what we do not write, nobody has to understand."""
    values: dict[str, Any] = {"crit": ["b64"], "b64": False, "x5c": ["MIIB"], "jwk": {"kty": "EC"}}
    brought = header(keys, **{name: values.get(name, "https://attacker.example/keys")})
    assert why(verifier, forged(brought, PAYLOAD, keys.private())) is Refusal.HEADER


def test_key_injection_the_attackers_own_key_comes_along(keys: Keys, verifier: TokenVerifier) -> None:
    theirs = somebody_elses()
    numbers = theirs.public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-256", "x": word(numbers.x.to_bytes(32)), "y": word(numbers.y.to_bytes(32))}
    small = forged(header(keys, jwk={"x": "y"}), PAYLOAD, theirs)
    assert why(verifier, small) is Refusal.HEADER
    assert why(verifier, forged(header(keys, jwk=jwk), PAYLOAD, theirs)) is Refusal.MALFORMED  # longer than any of our headers


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+JWT", "AT+JWT", "application/at+jwt", "", "at+jwt ", 1, ["at+jwt"], {}])
def test_a_type_that_is_not_exactly_ours(keys: Keys, verifier: TokenVerifier, typ: object) -> None:
    assert why(verifier, forged(header(keys, typ=typ), PAYLOAD, keys.private())) is Refusal.KIND


@pytest.mark.parametrize("first", ["alg", "typ", "kid"])
def test_a_header_that_says_a_thing_twice(keys: Keys, verifier: TokenVerifier, first: str) -> None:
    raw = json.dumps(header(keys))
    doubled = f'{{"{first}":"none",{raw[1:]}'.encode()
    assert why(verifier, forged(doubled, PAYLOAD, keys.private())) is Refusal.MALFORMED


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"ES256"', b"{", b"", b"\xff\xfe", b"[" * 190, b'{"a":' * 38, b"{} {}"])
def test_a_header_that_is_no_object(keys: Keys, verifier: TokenVerifier, raw: bytes) -> None:
    assert why(verifier, forged(raw, PAYLOAD, keys.private())) is Refusal.MALFORMED


def test_an_oversized_token_is_refused_unread(keys: Keys, verifier: TokenVerifier) -> None:
    assert why(verifier, "a" * (MAX_TOKEN + 1)) is Refusal.TOO_LARGE
    assert why(verifier, forged(header(keys), b"x" * MAX_TOKEN, keys.private())) is Refusal.TOO_LARGE
    assert why(verifier, "." * MAX_TOKEN) is Refusal.MALFORMED


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b", "a.b.c.d", "a..c", "é.é.é", "a.b.c\n", " a.b.c", "aur_abc", "aurr_abc"]
)
def test_what_is_no_token_at_all(verifier: TokenVerifier, token: str) -> None:
    assert why(verifier, token) is Refusal.MALFORMED


@pytest.mark.parametrize("pair", [(0, 0), (0, 1), (1, 0), (ORDER, ORDER), (ORDER, 1), (1, 1), (2**256 - 1, 2**256 - 1)])
def test_psychic_signatures_r_and_s_that_fit_everything(keys: Keys, verifier: TokenVerifier, pair: tuple[int, int]) -> None:
    """CVE-2022-21449: a verifier that did not check the range took r = s = 0 for anybody's signature."""
    signature = pair[0].to_bytes(32) + pair[1].to_bytes(32)
    token = ".".join([*parts_of(good(keys))[:2], word(signature)])
    assert why(verifier, token) is Refusal.SIGNATURE


def test_a_signature_of_another_spelling(keys: Keys, verifier: TokenVerifier) -> None:
    """DER instead of two numbers, cut off, or with something behind: one token has one spelling."""
    signed = good(keys).rpartition(".")[0]
    der = keys.private().sign(signed.encode(), ECDSA(SHA256()))
    r, s = decode_dss_signature(der)
    raw = r.to_bytes(32) + s.to_bytes(32)
    assert encode_dss_signature(r, s) == der
    for other in (der, raw[:63], raw + b"\0", b"\0" + raw, raw + raw):
        assert why(verifier, f"{signed}.{word(other)}") is Refusal.SIGNATURE
    for spelling in (
        word(raw) + "=",
        word(raw) + "==",
        word(raw) + "\n",
        word(raw)[:40] + " " + word(raw)[40:],
        word(raw) + "+",
    ):
        assert why(verifier, f"{signed}.{spelling}") is Refusal.MALFORMED


def test_unused_bits_of_the_last_letter_are_no_second_spelling(keys: Keys, verifier: TokenVerifier) -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = good(keys)
    last = letters.index(token[-1])
    for change in range(1, 16):  # 64 bytes leave four bits of the last letter unused
        assert why(verifier, token[:-1] + letters[last ^ change]) is Refusal.MALFORMED


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(min_value=0), letter=st.sampled_from("ABCxyz019-_.="), instead=st.sampled_from("DEFuvw345"))
def test_no_letter_of_a_token_can_be_changed(keys: Keys, verifier: TokenVerifier, at: int, letter: str, instead: str) -> None:
    token = good(keys)  # another one each time: what is drawn may not depend on it
    at %= len(token)
    letter = instead if token[at] == letter else letter
    with pytest.raises(TokenRefused):
        verifier.verify(token[:at] + letter + token[at + 1 :], (TokenKind.ACCESS,), NOW)


def test_parts_of_two_good_tokens_make_no_third(keys: Keys, verifier: TokenVerifier) -> None:
    one, other = parts_of(good(keys)), parts_of(forged(header(keys), b'{"sub":"owner"}', keys.private()))
    for mixed in ([one[0], other[1], one[2]], [one[0], one[1], other[2]]):
        assert why(verifier, ".".join(mixed)) is Refusal.SIGNATURE
    pending = parts_of(forged(header(keys, typ="auricle-mfa+jwt"), PAYLOAD, keys.private()))
    assert why(verifier, ".".join([one[0], *pending[1:]])) is Refusal.SIGNATURE


def test_every_refusal_tells_the_same_to_whoever_tries(keys: Keys, verifier: TokenVerifier) -> None:
    told = set()
    for token in (
        "",
        "a" * 9999,
        forged(header(keys), PAYLOAD, somebody_elses()),
        forged(header(keys, alg="none"), PAYLOAD, keys.private()),
    ):
        with pytest.raises(TokenRefused) as caught:
            verifier.verify(token, (TokenKind.ACCESS,), NOW)
        told.add((str(caught.value), tuple(caught.value.extra), caught.value.status))
    assert len(told) == 1

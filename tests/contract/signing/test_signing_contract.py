"""What every signer and every verifier promise, each against each."""

from __future__ import annotations

from datetime import timedelta

import pytest

from auricle.errors import Retryable
from auricle.ports.signing import (
    LEEWAY,
    LONGEST,
    KeySet,
    Refusal,
    TokenKind,
    TokenRefused,
    TokenSigner,
    TokenVerifier,
    Verified,
)
from builders.signing import NOW, Keys, forged, word

SIGNED = [kind for kind in TokenKind if kind.signed]
OPAQUE = [kind for kind in TokenKind if not kind.signed]
HOUR = timedelta(hours=1)


def refusal(verifier: TokenVerifier, token: str, *kinds: TokenKind, later: timedelta = timedelta(0)) -> Refusal:
    with pytest.raises(TokenRefused) as caught:
        verifier.verify(token, kinds or (TokenKind.ACCESS,), NOW + later)
    return caught.value.why


@pytest.mark.parametrize("kind", SIGNED)
def test_what_was_signed_is_read_again(signer: TokenSigner, verifier: TokenVerifier, kind: TokenKind) -> None:
    payload = '{"sub":"Jürgen \u0000 🎧"}'.encode()
    assert verifier.verify(signer.sign(kind, payload, NOW), (kind,), NOW) == Verified(kind, payload)


@pytest.mark.parametrize("asked", SIGNED)
@pytest.mark.parametrize("kind", SIGNED)
def test_a_token_of_one_kind_is_never_taken_for_another(
    signer: TokenSigner, verifier: TokenVerifier, kind: TokenKind, asked: TokenKind
) -> None:
    token = signer.sign(kind, b"{}", NOW)
    if kind is asked:
        assert verifier.verify(token, (asked,), NOW).kind is kind
    else:
        assert refusal(verifier, token, asked) is Refusal.KIND


def test_who_takes_several_kinds_is_told_which_it_is(signer: TokenSigner, verifier: TokenVerifier) -> None:
    token = signer.sign(TokenKind.MFA_PENDING, b"{}", NOW)
    assert verifier.verify(token, (TokenKind.ACCESS, TokenKind.MFA_PENDING), NOW).kind is TokenKind.MFA_PENDING


def test_who_takes_no_signed_kind_takes_nothing(signer: TokenSigner, verifier: TokenVerifier) -> None:
    token = signer.sign(TokenKind.ACCESS, b"{}", NOW)
    with pytest.raises(TokenRefused) as caught:
        verifier.verify(token, OPAQUE, NOW)
    assert caught.value.why is Refusal.KIND


@pytest.mark.parametrize("kind", OPAQUE)
def test_opaque_kinds_are_never_signed(signer: TokenSigner, kind: TokenKind) -> None:
    with pytest.raises(ValueError, match="opaque"):
        signer.sign(kind, b"{}", NOW)


def test_no_token_is_made_that_would_be_too_long_to_be_read(signer: TokenSigner) -> None:
    with pytest.raises(ValueError):
        signer.sign(TokenKind.ACCESS, b"x" * 2000, NOW)


# Keys


def test_a_next_key_is_published_before_it_signs(keys: Keys, signer: TokenSigner, verifier: TokenVerifier) -> None:
    keys.rotate(NOW, HOUR)
    old, new = (key.kid for key in signer.keys().keys)
    assert new in keys.published().decode()
    before, after = (signer.sign(TokenKind.ACCESS, b"{}", NOW + passed) for passed in (HOUR - timedelta(seconds=1), HOUR))
    assert verifier.verify(before, (TokenKind.ACCESS,), NOW + HOUR).payload == b"{}"
    assert verifier.verify(after, (TokenKind.ACCESS,), NOW + HOUR).payload == b"{}"
    assert [signer.keys().signing(NOW + passed).kid for passed in (timedelta(0), HOUR)] == [old, new]


def test_an_old_keys_tokens_are_good_until_they_end_and_no_longer(
    keys: Keys, signer: TokenSigner, verifier: TokenVerifier
) -> None:
    token = signer.sign(TokenKind.ACCESS, b"{}", NOW)
    keys.rotate(NOW, timedelta(0))
    last = LONGEST + LEEWAY - timedelta(seconds=1)
    assert verifier.verify(token, (TokenKind.ACCESS,), NOW + last).payload == b"{}"
    assert refusal(verifier, token, TokenKind.ACCESS, later=LONGEST + LEEWAY) is Refusal.KEY


def test_a_next_keys_tokens_are_refused_before_it_signs(keys: Keys, verifier: TokenVerifier) -> None:
    """Whoever stole it early cannot use it early."""
    keys.rotate(NOW, HOUR)
    token = forged({"alg": "ES256", "typ": "at+jwt", "kid": keys.kid}, b"{}", keys.private())
    assert refusal(verifier, token) is Refusal.KEY
    assert verifier.verify(token, (TokenKind.ACCESS,), NOW + HOUR).payload == b"{}"


def test_a_stolen_key_is_forgotten_with_all_its_tokens(keys: Keys, signer: TokenSigner, verifier: TokenVerifier) -> None:
    stolen = keys.kid
    token = signer.sign(TokenKind.ACCESS, b"{}", NOW)
    verifier.verify(token, (TokenKind.ACCESS,), NOW)
    keys.rotate(NOW, timedelta(0))
    keys.ring = keys.ring.without(stolen, NOW)
    minute = timedelta(minutes=1)
    assert refusal(verifier, token, later=minute) is Refusal.KEY
    fresh = signer.sign(TokenKind.ACCESS, b"{}", NOW + minute)
    assert verifier.verify(fresh, (TokenKind.ACCESS,), NOW + minute).payload == b"{}"


def test_a_deployments_tokens_mean_nothing_to_another(signer: TokenSigner, keys: Keys, verifier: TokenVerifier) -> None:
    token = signer.sign(TokenKind.ACCESS, b"{}", NOW)
    keys.ring = Keys().ring
    assert refusal(verifier, token) is Refusal.KEY


def test_without_its_keys_a_signer_asks_to_try_again(keys: Keys, signer: TokenSigner) -> None:
    keys.away = True
    with pytest.raises(Retryable):
        signer.sign(TokenKind.ACCESS, b"{}", NOW)


def test_without_keys_nobody_is_let_in_and_nobody_is_called_a_liar(
    keys: Keys, signer: TokenSigner, verifier: TokenVerifier
) -> None:
    token = signer.sign(TokenKind.ACCESS, b"{}", NOW)
    keys.away = True
    with pytest.raises(Retryable):
        verifier.verify(token, (TokenKind.ACCESS,), NOW)


def test_nobody_signs_before_the_first_key_is_in_force(signer: TokenSigner) -> None:
    with pytest.raises(Retryable, match="in force"):
        signer.sign(TokenKind.ACCESS, b"{}", NOW - HOUR)


def test_what_is_published_holds_nothing_private(keys: Keys, signer: TokenSigner) -> None:
    document = signer.keys().document(NOW)
    assert KeySet.from_document(document) == keys.ring.public
    numbers = keys.private().private_numbers().private_value.to_bytes(32)
    assert word(numbers).encode() not in document
    assert b"PRIVATE" not in document
    assert b'"d"' not in document


def test_a_ring_never_shows_its_keys(keys: Keys) -> None:
    assert "PRIVATE" in keys.secret().decode()
    assert "PRIVATE" not in repr(keys.ring)
    assert "PRIVATE" not in str(keys.ring.keys[0])

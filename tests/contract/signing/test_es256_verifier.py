"""What is the production verifier's own: how often it reads the keys, and what it never imports."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta

import pytest

from auricle.adapters.signing.es256 import ASKED_AGAIN, REMEMBERED, Es256Verifier
from auricle.errors import Retryable
from auricle.ports.signing import KeySet, Refusal, TokenKind, TokenRefused
from builders.signing import NOW, Keys, PlainSigner, forged, somebody_elses

ACCESS = (TokenKind.ACCESS,)
SECOND = timedelta(seconds=1)


def test_the_keys_are_read_once_a_minute_and_not_for_each_token(keys: Keys) -> None:
    verifier, token = Es256Verifier(keys.published), PlainSigner(keys.secret).sign(TokenKind.ACCESS, b"{}", NOW)
    for passed in range(0, 120, 5):
        verifier.verify(token, ACCESS, NOW + passed * SECOND)
    assert keys.reads == 2


def test_an_unknown_key_is_looked_for_at_once_and_a_flood_of_them_is_not(keys: Keys) -> None:
    verifier = Es256Verifier(keys.published)
    signer = PlainSigner(keys.secret)
    verifier.verify(signer.sign(TokenKind.ACCESS, b"{}", NOW), ACCESS, NOW)
    keys.rotate(NOW, timedelta(0))
    later = NOW + ASKED_AGAIN
    assert verifier.verify(signer.sign(TokenKind.ACCESS, b"{}", later), ACCESS, later).payload == b"{}"
    reads = keys.reads
    theirs = somebody_elses()
    for n in range(50):
        with pytest.raises(TokenRefused) as caught:
            verifier.verify(forged({"alg": "ES256", "typ": "at+jwt", "kid": f"forged-{n}"}, b"{}", theirs), ACCESS, later)
        assert caught.value.why is Refusal.KEY
    assert keys.reads == reads


def test_a_removed_key_is_refused_within_a_minute(keys: Keys) -> None:
    verifier, token = Es256Verifier(keys.published), PlainSigner(keys.secret).sign(TokenKind.ACCESS, b"{}", NOW)
    verifier.verify(token, ACCESS, NOW)
    stolen = keys.kid
    keys.rotate(NOW, timedelta(0))
    keys.ring = keys.ring.without(stolen, NOW)
    with pytest.raises(TokenRefused):
        verifier.verify(token, ACCESS, NOW + REMEMBERED)


def test_a_clock_that_was_set_back_does_not_keep_old_keys_alive(keys: Keys) -> None:
    verifier, token = Es256Verifier(keys.published), PlainSigner(keys.secret).sign(TokenKind.ACCESS, b"{}", NOW)
    verifier.verify(token, ACCESS, NOW + timedelta(hours=1))
    keys.ring = Keys().ring
    with pytest.raises(TokenRefused):
        verifier.verify(token, ACCESS, NOW)


@pytest.mark.parametrize("document", [b"", b"{}", b"[]", b'{"keys":[{}]}', b'{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}'])
def test_a_document_that_is_no_key_set_lets_nobody_in(document: bytes) -> None:
    token = forged({"alg": "ES256", "typ": "at+jwt", "kid": "k"}, b"{}", somebody_elses())
    with pytest.raises(Retryable):
        Es256Verifier(lambda: document).verify(token, ACCESS, NOW)


@pytest.mark.parametrize(
    ("member", "value"), [("kty", "oct"), ("crv", "P-384"), ("alg", "HS256"), ("use", "enc"), ("kid", "mine"), ("x", "AAAA")]
)
def test_a_published_key_for_anything_else_is_refused(keys: Keys, member: str, value: str) -> None:
    document = json.loads(keys.published())
    document["keys"][0][member] = value
    with pytest.raises(ValueError):
        KeySet.from_document(json.dumps(document).encode())


def test_numbers_that_are_no_point_of_the_curve_are_no_key(keys: Keys) -> None:
    """An invalid curve attack needs a key that was never checked."""
    one = keys.ring.public.keys[0]
    off = KeySet(()).rotated(one.x, one.x, NOW, timedelta(0))
    token = forged({"alg": "ES256", "typ": "at+jwt", "kid": off.keys[0].kid}, b"{}", keys.private())
    with pytest.raises(Retryable, match="no point"):
        Es256Verifier(lambda: off.document(NOW)).verify(token, ACCESS, NOW)


def test_who_only_verifies_imports_neither_joserfc_nor_a_private_key(keys: Keys) -> None:
    token = PlainSigner(keys.secret).sign(TokenKind.ACCESS, b"{}", NOW)
    program = f"""
import sys, datetime
from auricle.adapters.signing.es256 import Es256Verifier
from auricle.access import accesstokens, permissions, sameorigin, sessions
from auricle.ports.signing import TokenKind
verified = Es256Verifier(lambda: {keys.published()!r}).verify({token!r}, (TokenKind.ACCESS,), datetime.datetime.fromisoformat({NOW.isoformat()!r}))
assert verified.payload == b"{{}}"
heavy = [name for name in sys.modules if name.split(".")[0] in ("joserfc", "authlib", "redis", "flask", "sqlalchemy")]
heavy += [name for name in sys.modules if name in ("cryptography.x509", "auricle.adapters.signing.ring", "auricle.adapters.signing.joserfc")]
print(heavy)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

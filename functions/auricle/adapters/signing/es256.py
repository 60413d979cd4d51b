"""Checking ES256 signatures with `cryptography`: what every function that only verifies is given."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from auricle.adapters.signing.compact import parts
from auricle.errors import Retryable
from auricle.ports.signing import KeySet, PublicKey, Refusal, TokenKind, TokenRefused, Verified

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

REMEMBERED = timedelta(minutes=1)
"""How long the published keys are believed unread: within it, a key that was stolen and removed is refused everywhere."""
ASKED_AGAIN = timedelta(seconds=5)
"""After a `kid` that is not known the keys are read again, but not for each of a thousand forged ones."""


class Es256Verifier:
    """Implements `ports.signing.TokenVerifier` over a published JWK Set."""

    def __init__(self, published: Callable[[], bytes]) -> None:
        """`published` gives the document: a mounted file, which changes under a running pod when keys are rotated."""
        self._published = published
        self._keys = KeySet(())
        self._loaded: dict[str, EllipticCurvePublicKey] = {}
        self._read_at: datetime | None = None

    def verify(self, token: str, kinds: Collection[TokenKind], now: datetime) -> Verified:
        """As the port says."""
        found = parts(token, kinds)
        key = self._known(found.kid, now)
        if not _stands(key, found.signature, found.signed):
            raise TokenRefused(Refusal.SIGNATURE)
        return Verified(found.kind, found.payload)

    def _known(self, kid: str, now: datetime) -> EllipticCurvePublicKey:
        self._refresh(now, REMEMBERED)
        if self._keys.verifying(kid, now) is None:
            self._refresh(now, ASKED_AGAIN)
        key = self._keys.verifying(kid, now)
        if key is None:
            raise TokenRefused(Refusal.KEY)
        loaded = self._loaded.get(kid)  # once: another thread may just have read the document again
        if loaded is None:
            self._loaded[kid] = loaded = _loaded(key)
        return loaded

    def _refresh(self, now: datetime, age: timedelta) -> None:
        """Read the document again when it was read longer ago than `age`. Without any keys nobody can be let in."""
        if self._read_at is not None and abs(now - self._read_at) < age:
            return
        try:
            self._keys = KeySet.from_document(self._published())
        except (OSError, ValueError) as error:
            raise Retryable("The keys that sign-ins are checked with cannot be read. Try again in a moment.") from error
        self._read_at = now
        known = {key.kid for key in self._keys.keys}
        self._loaded = {kid: key for kid, key in self._loaded.items() if kid in known}


def _loaded(key: PublicKey) -> EllipticCurvePublicKey:
    """The key, ready to check with; `Retryable` when the published numbers are no point of the curve."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers

    try:
        x, y = (int.from_bytes(base64.urlsafe_b64decode(word + "=")) for word in (key.x, key.y))
        return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
    except ValueError as error:
        raise Retryable("A published key is no point of P-256. Rotate the signing keys.", delay=60) from error


def _stands(key: EllipticCurvePublicKey, signature: bytes, signed: bytes) -> bool:
    """Whether the signature is the key's. JOSE writes r and s side by side (RFC 7518, 3.4), OpenSSL wants DER."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    try:
        key.verify(encode_dss_signature(r, s), signed, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True

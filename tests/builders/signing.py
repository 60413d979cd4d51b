"""Token signing for tests: keys that rotate, a signer and a verifier of other make than ours, and a forger."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from auricle.adapters.signing.compact import parts
from auricle.adapters.signing.ring import Ring, fresh_ring
from auricle.errors import Retryable
from auricle.ports.signing import MAX_TOKEN, KeySet, PublicKey, Refusal, TokenKind, TokenRefused, Verified

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISSUER = "https://vault.example.org"


class Keys:
    """A deployment's secret and what is published of it; both change under whoever reads them, as mounted files do."""

    def __init__(self, now: datetime = NOW) -> None:
        self.ring = fresh_ring(now)
        self.now = now
        self.away = False
        self.reads = 0

    def secret(self) -> bytes:
        if self.away:
            raise FileNotFoundError("signing-keys")
        return self.ring.text()

    def published(self) -> bytes:
        self.reads += 1
        if self.away:
            raise FileNotFoundError("jwks.json")
        return self.ring.public.document(self.now)

    def rotate(self, now: datetime, ahead: timedelta) -> None:
        self.ring, self.now = self.ring.rotated(now, ahead), now

    def private(self, kid: str | None = None) -> EllipticCurvePrivateKey:
        """The private half of that key, the youngest if none is named: what a thief of it would hold."""
        found = [key for key in self.ring.keys if kid in (None, key.public.kid)][-1]
        key = load_pem_private_key(found.pem.encode(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        return key

    @property
    def kid(self) -> str:
        return self.ring.keys[-1].public.kid


class PlainSigner:
    """A signer on `cryptography` alone: the fake, and a second reading of RFC 7515."""

    def __init__(self, secret: Callable[[], bytes]) -> None:
        self._secret = secret

    def sign(self, kind: TokenKind, payload: bytes, now: datetime) -> str:
        ring = self._ring()
        kid = ring.public.signing(now).kid
        pem = next(key.pem for key in ring.keys if key.public.kid == kid)
        key = load_pem_private_key(pem.encode(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        token = forged({"alg": "ES256", "typ": kind.typ, "kid": kid}, payload, key)
        if len(token) > MAX_TOKEN:
            raise ValueError("too long")
        return token

    def keys(self) -> KeySet:
        return self._ring().public

    def _ring(self) -> Ring:
        try:
            return Ring.from_text(self._secret())
        except (OSError, ValueError) as error:
            raise Retryable("no keys") from error


class JoserfcVerifier:
    """A verifier on joserfc: a second opinion about every signature."""

    def __init__(self, published: Callable[[], bytes]) -> None:
        self._published = published

    def verify(self, token: str, kinds: Collection[TokenKind], now: datetime) -> Verified:
        found = parts(token, kinds)
        try:
            key = KeySet.from_document(self._published()).verifying(found.kid, now)
        except (OSError, ValueError) as error:
            raise Retryable("no keys") from error
        if key is None:
            raise TokenRefused(Refusal.KEY)
        try:
            read = jws.deserialize_compact(token, ECKey.import_key(_jwk(key)), algorithms=["ES256"])
        except JoseError:
            raise TokenRefused(Refusal.SIGNATURE) from None
        return Verified(found.kind, read.payload)


def _jwk(key: PublicKey) -> Any:
    return {"kty": "EC", "crv": "P-256", "x": key.x, "y": key.y}


def somebody_elses() -> EllipticCurvePrivateKey:
    """A key that we never published."""
    return generate_private_key(SECP256R1())


def word(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: Any, payload: bytes, key: EllipticCurvePrivateKey) -> str:
    """A token with any header (a dictionary, or the very bytes), truly signed with `key`."""
    raw = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    signed = f"{word(raw)}.{word(payload)}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ECDSA(SHA256())))
    return f"{signed}.{word(r.to_bytes(32) + s.to_bytes(32))}"

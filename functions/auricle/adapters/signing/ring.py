"""The private keys of a deployment as one secret text: made by `auricle up` or the operator, mounted in identity alone."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from auricle.ports.signing import KeySet, PublicKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

AHEAD = timedelta(hours=1)
"""How long a next key is published before it signs. Mounted files reach pods within two minutes, caches within an hour."""


class SigningKey(msgspec.Struct, frozen=True):
    """A key with its private half, PKCS #8 in PEM."""

    public: PublicKey
    pem: str

    def __repr__(self) -> str:
        """Never the private half: values end up in tracebacks and logs."""
        return f"SigningKey({self.public.kid})"


class Ring(msgspec.Struct, frozen=True):
    """All signing keys, oldest first."""

    keys: tuple[SigningKey, ...]

    @property
    def public(self) -> KeySet:
        """What everybody may know of it."""
        return KeySet(tuple(key.public for key in self.keys))

    def text(self) -> bytes:
        """The secret to keep."""
        return msgspec.json.encode(self)

    @classmethod
    def from_text(cls, text: bytes) -> Ring:
        """The ring that `text` made. `ValueError` when it is none, and never with any of it in the message."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError:
            raise ValueError("The signing keys cannot be read: they are not what `Ring.text` wrote.") from None

    def rotated(self, now: datetime, ahead: timedelta = AHEAD) -> Ring:
        """With a next key, which is published at once and signs `ahead` later; keys whose tokens have all ended are dropped."""
        made, pem = _made()
        public = self.public.rotated(*_point(made), now, ahead)
        return self._of(public, {public.keys[-1].kid: pem})

    def without(self, kid: str, now: datetime) -> Ring:
        """Without a key that was stolen, as `KeySet.without` says."""
        return self._of(self.public.without(kid, now), {})

    def _of(self, public: KeySet, made: dict[str, str]) -> Ring:
        pems = {key.public.kid: key.pem for key in self.keys} | made
        return Ring(tuple(SigningKey(key, pems[key.kid]) for key in public.keys))


def fresh_ring(now: datetime) -> Ring:
    """A deployment's first key, which signs at once."""
    return Ring(()).rotated(now, timedelta(0))


def _made() -> tuple[EllipticCurvePrivateKey, str]:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(SECP256R1())
    return key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _point(key: EllipticCurvePrivateKey) -> tuple[str, str]:
    """Both coordinates, always in 32 bytes (RFC 7518, 6.2.1.2)."""
    numbers = key.public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(number.to_bytes(32)).rstrip(b"=").decode() for number in (numbers.x, numbers.y))
    return x, y

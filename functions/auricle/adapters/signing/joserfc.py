"""Making tokens with joserfc, in the identity function alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from auricle.adapters.signing.ring import Ring
from auricle.errors import Retryable
from auricle.ports.signing import ALGORITHM, MAX_TOKEN, KeySet, TokenKind

if TYPE_CHECKING:
    from joserfc.jwk import ECKey


class JoserfcSigner:
    """Implements `ports.signing.TokenSigner` over a mounted secret."""

    def __init__(self, secret: Callable[[], bytes]) -> None:
        """`secret` gives what `Ring.text` wrote; it is read for each token, so that a rotation needs no restart."""
        self._secret = secret
        self._text = b""
        self._ring = Ring(())
        self._loaded: dict[str, ECKey] = {}

    def sign(self, kind: TokenKind, payload: bytes, now: datetime) -> str:
        """As the port says."""
        from joserfc import jws

        ring = self._read()
        header = {"alg": ALGORITHM, "typ": kind.typ, "kid": ring.public.signing(now).kid}
        token = jws.serialize_compact(header, payload, self._key(ring, header["kid"]), algorithms=[ALGORITHM])
        if len(token) > MAX_TOKEN:
            raise ValueError(f"A token of {len(token)} characters would be refused by every verifier.")
        return token

    def keys(self) -> KeySet:
        """As the port says."""
        return self._read().public

    def _read(self) -> Ring:
        try:
            text = self._secret()
            if text != self._text:
                self._ring, self._text = Ring.from_text(text), text
        except (OSError, ValueError) as error:
            raise Retryable(
                "The signing keys cannot be read, so nobody can sign in. Check the identity function's secret."
            ) from error
        return self._ring

    def _key(self, ring: Ring, kid: str) -> ECKey:
        from joserfc.jwk import ECKey

        if kid not in self._loaded:  # by thumbprint: a name never stands for another key
            self._loaded[kid] = ECKey.import_key(next(key.pem for key in ring.keys if key.public.kid == kid))
        return self._loaded[kid]

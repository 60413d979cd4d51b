"""Event signatures and receipts: HMAC-SHA256 under the deployment's event key.

Anyone in a cluster can reach any function, so the network is no credential.
"""

from __future__ import annotations

import hashlib
import hmac

from auricle.contract.event import Envelope


class Signer:
    """Signs and checks with one key; implements `ports.keyring.Receipts`."""

    def __init__(self, key: str) -> None:
        """`key` is 32 bytes in hex."""
        self._key = bytes.fromhex(key)

    def receipt(self, *parts: object) -> str:
        """32 hex digits over the parts; a unit separator keeps ("a", "bc") and ("ab", "c") apart."""
        message = "\x1f".join(str(part) for part in parts)
        return hmac.new(self._key, b"receipt\x1f" + message.encode(), hashlib.sha256).hexdigest()[:32]

    def signature(self, event: Envelope) -> str:
        """The `sig` extension: over id, source, type and the data's hash."""
        parts = (event.id, event.source, event.type, hashlib.sha256(event.data).hexdigest())
        return hmac.new(self._key, "\x1f".join(parts).encode(), hashlib.sha256).hexdigest()

    def signed(self, event: Envelope) -> bool:
        """Whether this deployment published `event` as it is."""
        return hmac.compare_digest(event.extensions.get("sig", ""), self.signature(event))

"""Names of rows that tell nobody whose they are, and values that only their key's presenter can read."""

from __future__ import annotations

import hmac
import secrets
from enum import StrEnum

_NONCE = 12
"""Bytes, as AES-GCM wants (NIST SP 800-38D, 8.2)."""


class Drawer(StrEnum):
    """What a key is for: the same words in two drawers never meet."""

    RATE = "rate"
    ONCE = "once"
    SECRET = "secret"  # noqa: S105
    REVOKED = "revoked"
    EPOCH = "epoch"
    STATE = "state"
    MEMORY = "memory"


class Keys:
    """Keyed hashes of keys. A plain hash of an address or an e-mail is undone by trying all of them; a keyed one is not."""

    def __init__(self, key: bytes) -> None:
        """`key`: 32 bytes that belong to the deployment, the same in all its processes."""
        if len(key) < 32:
            raise ValueError("The ephemeral store's key has at least 32 bytes.")
        self._key = key

    def hashed(self, drawer: Drawer, *words: str) -> bytes:
        """32 bytes that stand for the words (HMAC-SHA-256)."""
        return self._mac(b"name", drawer, *words)

    def seal(self, key: str, value: bytes) -> bytes:
        """The value for storing: AES-256-GCM under a key made of `key`, bound to its row's name."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE)
        return nonce + AESGCM(self._sealing(key)).encrypt(nonce, value, self.hashed(Drawer.SECRET, key))

    def open(self, key: str, sealed: bytes) -> bytes | None:
        """The value again; None when it was not sealed with this key."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(self._sealing(key)).decrypt(sealed[:_NONCE], sealed[_NONCE:], self.hashed(Drawer.SECRET, key))
        except InvalidTag:
            return None

    def _sealing(self, key: str) -> bytes:
        return self._mac(b"seal", Drawer.SECRET, key)

    def _mac(self, purpose: bytes, *words: str) -> bytes:
        # Each word with its length: ("ab", "c") is not ("a", "bc").
        told = b"".join(len(data).to_bytes(4, "big") + data for data in (purpose, *(word.encode() for word in words)))
        return hmac.digest(self._key, told, "sha256")

"""AES-256-GCM (NIST SP 800-38D) under a key of its own for each person and purpose, derived by HKDF (RFC 5869).

`version (1) | key id (4) | nonce (12) | ciphertext and tag`. The derived key and the additional data both name person and
purpose, so that a row copied to another person's place does not open.
"""

from __future__ import annotations

import hashlib
import os
from uuid import UUID

from auricle.errors import Invalid, Permanent

VERSION = b"\x01"
KEY_BYTES, ID_BYTES, NONCE_BYTES = 32, 4, 12
GONE = "A kept secret cannot be opened: the key that sealed it is not among SEALING_KEYS, or it was changed. Set it anew."


class AesGcm:
    """`Sealing` under one or more keys: the first seals, all open, so that one takes over from another without a gap."""

    def __init__(self, keys: str) -> None:
        """`keys`: 32 bytes in hex, several with commas."""
        try:
            known = [bytes.fromhex(key) for key in keys.split(",") if key.strip()]
        except ValueError:
            known = []
        if not known or any(len(key) != KEY_BYTES for key in known):
            raise Invalid(
                "SEALING_KEYS is 32 bytes in hex. Make one with `openssl rand -hex 32`, and keep it: it opens secrets."
            )
        self._keys = {_id(key): key for key in known}
        self._first = _id(known[0])

    def seal(self, person: UUID, purpose: str, secret: bytes) -> bytes:
        """What to keep: 33 bytes more than `secret`."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce, about = os.urandom(NONCE_BYTES), _about(person, purpose)
        head = VERSION + self._first
        return head + nonce + AESGCM(self._derived(self._first, about)).encrypt(nonce, secret, head + about)

    def open(self, person: UUID, purpose: str, sealed: bytes) -> bytes:
        """The secret again; `Permanent` when it does not open."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        head, nonce = sealed[: 1 + ID_BYTES], sealed[1 + ID_BYTES : 1 + ID_BYTES + NONCE_BYTES]
        if head[:1] != VERSION or head[1:] not in self._keys or len(nonce) != NONCE_BYTES:
            raise Permanent(GONE)
        about = _about(person, purpose)
        try:
            return AESGCM(self._derived(head[1:], about)).decrypt(nonce, sealed[len(head) + NONCE_BYTES :], head + about)
        except InvalidTag:
            raise Permanent(GONE) from None

    def _derived(self, id: bytes, about: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        derive = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=b"auricle sealing\0" + about)
        return derive.derive(self._keys[id])


def _id(key: bytes) -> bytes:
    """What a key is called in what it sealed; tells nothing of it."""
    return hashlib.sha256(b"auricle sealing key\0" + key).digest()[:ID_BYTES]


def _about(person: UUID, purpose: str) -> bytes:
    return person.bytes + purpose.encode()

"""The hasher for tests that hash a lot: salted, and cheap. It counts what it is asked, since that is what real ones cost."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from auricle.errors import Invalid
from auricle.ports.hashing import normalised


class QuickHasher:
    """Implements `ports.hashing.PasswordHasher`. `generation` stands for the parameters."""

    def __init__(self, generation: int = 1) -> None:
        self._generation = generation
        self.worked = 0
        """Hashes that were worked out, for known and unknown accounts alike."""

    def hash(self, secret: str) -> str:
        salt = secrets.token_hex(8)
        return f"quick${self._generation}${salt}${self._mac(salt, normalised(secret))}"

    def verify(self, secret: str, kept: str | None) -> bool:
        try:
            data = normalised(secret)
        except Invalid:
            return False
        parts = (kept or "").split("$")
        well_formed = len(parts) == 4 and parts[0] == "quick"
        mac = self._mac(parts[2] if well_formed else "nobody", data)
        return well_formed and hmac.compare_digest(mac.encode(), parts[3].encode())

    def needs_rehash(self, kept: str) -> bool:
        parts = kept.split("$")
        return len(parts) == 4 and parts[0] == "quick" and parts[1] != str(self._generation)

    def _mac(self, salt: str, data: bytes) -> str:
        self.worked += 1
        return hashlib.sha256(salt.encode() + data).hexdigest()

"""Encryption of what is kept: authenticator secrets, passwords of directories and mail servers."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

HOUSE = UUID(int=0)
"""Whom a secret is sealed for that is no person's but the deployment's."""


class Sealing(Protocol):
    """Encrypts for keeping. What was sealed for one person and purpose opens for no other (authenticated, as AES-GCM is)."""

    def seal(self, person: UUID, purpose: str, secret: bytes) -> bytes:
        """What to keep."""
        ...

    def open(self, person: UUID, purpose: str, sealed: bytes) -> bytes:
        """The secret again. `Permanent`: it was changed, sealed for another, or under a key that is gone."""
        ...

"""Who asks, and what their credential allows."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import NewType
from uuid import UUID

import msgspec

from auricle.contract.choices import Permission

PrincipalId = NewType("PrincipalId", UUID)
TokenId = NewType("TokenId", UUID)
TOKEN_PREFIX = "aur_"  # noqa: S105 - what tokens begin with, so that scanners find leaked ones


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever made this request. `scopes` None: everything (the owner itself)."""

    id: PrincipalId
    name: str
    scopes: frozenset[str] | None = None
    token_id: TokenId | None = None

    def may(self, permission: Permission) -> bool:
        """Whether the credential allows it. An unscoped one allows all."""
        if permission in (Permission.PUBLIC, Permission.SIGNED_IN):
            return True
        return self.scopes is None or permission.value in self.scopes


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A personal API token as it is listed: never its secret. `scopes` empty: all."""

    id: TokenId
    name: str
    hint: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


def new_secret() -> str:
    """`aur_` and 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What is stored of a token. Plain SHA-256 is right: the secret is random, there is nothing to guess."""
    return hashlib.sha256(secret.encode()).digest()

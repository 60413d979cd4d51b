"""What is known of somebody's second factors."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from auricle.access.model import PrincipalId
from auricle.ports.passkeys import Passkey


class Authenticator(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticator app. `sealed`: the secret in use, if one was confirmed; `offered`: one that waits for its first code."""

    sealed: bytes | None
    confirmed_at: datetime | None
    last_step: int | None
    offered: bytes | None
    offered_at: datetime | None


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey with its owner, and the name that they gave it."""

    id: UUID
    person: PrincipalId
    name: str
    passkey: Passkey
    created_at: datetime
    used_at: datetime | None = None

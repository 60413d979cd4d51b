"""A section of the configuration: settings that are read, checked and changed together, and perhaps one secret beside them."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

T = TypeVar("T")
MOST_AGE = 5.0
"""Seconds until a change holds in every process: what was read is kept so long."""


class Section(msgspec.Struct, Generic[T], frozen=True):
    """One kind of settings. `name`: `sessions`; of things that there are several of, before the colon: `oidc:keycloak`.

    `type`: the struct of what is kept in clear. What has a secret keeps it apart, sealed.
    """

    name: str
    type: type[T]

    def named(self, id: str) -> str:
        """The name of one of several."""
        return f"{self.name}:{id}"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """As it is stored. `value` is JSON; `sealed` what `ports.sealing` made of the secret."""

    name: str
    value: bytes
    sealed: bytes | None
    version: int
    changed_at: datetime
    changed_by: UUID | None


class Held(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A section as somebody set it: `version` counts its changes (1 …)."""

    value: T
    sealed: bytes | None
    version: int
    changed_at: datetime
    changed_by: UUID | None

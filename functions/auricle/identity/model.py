"""Accounts, and what people are told of them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from auricle.access.model import PrincipalId
from auricle.access.permissions import Role


class AccountState(StrEnum):
    """Whether somebody may sign in."""

    ACTIVE = "active"
    PENDING = "pending"  # registered, and waits for an administrator
    DISABLED = "disabled"
    DELETED = "deleted"  # for good


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A person's account. `changed_at` and `must_change` are the password's, `expires_at` is the account's own end.

    `email` is empty when nobody has proved an address: such a person gets no letters.
    `second_factor`: whether there is one, which every sign-in must show.
    """

    id: PrincipalId
    email: str
    display_name: str
    role: Role
    state: AccountState = AccountState.ACTIVE
    password_hash: str | None = None
    changed_at: datetime | None = None
    must_change: bool = False
    expires_at: datetime | None = None
    last_seen_at: datetime | None = None
    second_factor: bool = False

    def __repr__(self) -> str:
        """Without the hash: values end up in tracebacks and logs."""
        return f"Account({self.id})"

    def open(self, now: datetime) -> bool:
        """Whether it may be used at this moment."""
        return self.state is AccountState.ACTIVE and (self.expires_at is None or now < self.expires_at)


class SetupCode(msgspec.Struct, frozen=True):
    """What makes the first owner, once. `value` empty: nothing does."""

    value: str

    def __repr__(self) -> str:
        """Without the code."""
        return "SetupCode()"

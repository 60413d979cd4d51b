"""What administrators see of people, and ask about them."""

from __future__ import annotations

import secrets
from datetime import datetime

import msgspec

from auricle.access.model import PrincipalId
from auricle.access.permissions import Role
from auricle.contract.http import PageQuery
from auricle.identity.model import AccountState
from auricle.identity.passwords import Person as Whose
from auricle.identity.passwords import Profile, fit

GROUPS, LETTERS = 6, 4
ALPHABET = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without what is taken for something else when it is read aloud: 55 signs, 24 of them are 138 bits."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who has an account. `has_password`: signs in with one; `seen_at`: last used, by whatever credential."""

    id: PrincipalId
    email: str | None
    display_name: str
    role: Role
    state: AccountState
    has_password: bool
    must_change_password: bool
    expires_at: datetime | None
    created_at: datetime
    seen_at: datetime | None


class UserQuery(PageQuery, frozen=True, kw_only=True):
    """Whom to list: all that is said must hold. `search` is a part of the name or the address."""

    search: str | None = None
    role: Role | None = None
    state: AccountState | None = None


class Inactivity(msgspec.Struct, frozen=True):
    """After how many days an unused account is disabled; 0: never."""

    days: int


def one_time_password(profile: Profile, whose: Whose) -> str:
    """A password to be told once, that the profile takes and its reader can type."""
    while True:
        groups = ("".join(secrets.choice(ALPHABET) for _ in range(LETTERS)) for _ in range(GROUPS))
        password = "-".join(groups)
        if not fit(password, profile, whose):
            return password

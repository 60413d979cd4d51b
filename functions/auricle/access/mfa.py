"""Who needs a second factor, and what of one is missing (NIST IA-2(1), IA-2(2)). Pure: the door and sign-in ask the same."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum

import msgspec

from auricle.access.permissions import Role
from auricle.access.sessions import SECOND_FACTORS, Factor, Session, fresh_factor
from auricle.admin.configuration.model import Section

FIRST_FACTORS = frozenset({Factor.PASSWORD, Factor.ELSEWHERE})
"""What has to be fresh of who has no second factor and needs none."""


class Required(StrEnum):
    """Of whom a second factor is required."""

    NONE = "none"
    ROLES = "roles"
    ALL = "all"


class MfaPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Of whom a second factor is required. `roles` count for `ROLES` alone. Whoever has one shows it, required or not."""

    required: Required = Required.NONE
    roles: frozenset[Role] = frozenset()

    def __post_init__(self) -> None:
        """A requirement by role that names no role would require nothing, in silence."""
        if self.required is Required.ROLES and not self.roles:
            raise ValueError("Name the roles of which a second factor is required.")

    def requires(self, roles: Collection[Role]) -> bool:
        """Whether somebody with these roles must have one."""
        if self.required is Required.ROLES:
            return bool(self.roles & frozenset(roles))
        return self.required is Required.ALL


MFA = Section("mfa", MfaPolicy)
"""As administrators set it."""


def policy_of(text: str) -> MfaPolicy:
    """What a setting says: `none`, `all`, or roles with commas. `ValueError` for anything else."""
    words = frozenset(word.strip() for word in text.split(",") if word.strip())
    if words in (frozenset({"none"}), frozenset({"all"}), frozenset()):
        return MfaPolicy(required=Required(next(iter(words), "none")))
    return MfaPolicy(required=Required.ROLES, roles=frozenset(Role(word) for word in words))


class Need(StrEnum):
    """What has to be shown before something dangerous."""

    FACTOR = "factor"  # a second one: POST /api/mfa/verify
    PASSWORD = "password"  # noqa: S105 - POST /api/session/confirm


def need(policy: MfaPolicy, roles: Collection[Role], has_one: bool) -> Need:
    """Of somebody with these roles who `has_one`, or has none."""
    return Need.FACTOR if has_one or policy.requires(roles) else Need.PASSWORD


def owes(session: Session, needed: Need) -> bool:
    """Whether a session is without the second factor that its person has or must have: all it may is to show or enrol one."""
    return needed is Need.FACTOR and not any(proof.factor in SECOND_FACTORS for proof in session.proofs)


def fresh(session: Session, needed: Need, now: datetime) -> bool:
    """Whether what is needed was shown within the last minutes."""
    return fresh_factor(session, now, factors=SECOND_FACTORS if needed is Need.FACTOR else FIRST_FACTORS)

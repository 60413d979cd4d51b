"""Who may enter by a provider, as whom and in which role: decided here, from facts, without asking anybody.

NIST SP 800-53 AC-2 (accounts by rule), IA-8 (who vouches), AC-6 (least privilege).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from auricle.errors import Conflict, Denied
from auricle.ports.oidc import ExternalIdentity

NOT_ADMITTED = (
    "This sign-in opens no account here. If you have an account, sign in to it and link this one in your settings; "
    "otherwise ask an administrator for an invitation."
)
"""One sentence for every reason, so that nobody learns whether an account exists."""
LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
TOP = "[A-Za-z]{2,63}|xn--[A-Za-z0-9-]{1,59}"
PLAIN_ADDRESS = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@((?:{LABEL}\.)+(?:{TOP}))")


class GivenRole(StrEnum):
    """The roles that a provider's groups may give, the stronger first. An owner is made here, never from outside."""

    ADMIN = "admin"
    AUDITOR = "auditor"
    MEMBER = "member"
    GUEST = "guest"


class RoleRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """People in `group` (its name to the letter) have `role`."""

    group: str
    role: GivenRole


class Admission(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules of one provider. As they stand here nobody is let in whom nobody invited or linked.

    `required_groups`: whoever is in none of them never enters (empty: no such rule). `domains` (of verified e-mail), `groups`
    and `invitations`: each alone is enough to make an account. `roles`: the strongest that fits is given at every sign-in, else
    `default_role`; with neither nobody enters. Without `roles` the role stays what an administrator made it.
    """

    required_groups: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    invitations: bool = True
    roles: tuple[RoleRule, ...] = ()
    default_role: GivenRole | None = GivenRole.MEMBER


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody known here. `local_only`: signs in here alone, by no other house (the owner)."""

    id: UUID
    local_only: bool = False


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """An open invitation, found by the secret that was mailed."""

    email: str
    role: GivenRole
    expires_at: datetime


class Enter(msgspec.Struct, frozen=True, kw_only=True):
    """Sign this person in; `role` None: as it is."""

    person: UUID
    role: GivenRole | None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Add (issuer, subject) to this person, who asked for it."""

    person: UUID


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """Make an account with this role; `email` is verified, or None. `invitation`: this spends it."""

    role: GivenRole
    email: str | None
    name: str | None
    invitation: bool


def enter(
    who: ExternalIdentity,
    rules: Admission,
    *,
    known: Person | None,
    invitation: Invitation | None,
    email_taken: bool,
    now: datetime,
) -> Enter | Create:
    """What a sign-in leads to.

    `known`: the person to whom exactly (issuer, subject) is linked. `email_taken`: somebody here has this address; that
    somebody is never entered by it, nor told about. `Denied` when no rule lets them in.
    """
    if not _has_required(who, rules):
        raise Denied(NOT_ADMITTED)
    mapped = role_for(who.groups, rules)
    if known is not None:
        if known.local_only or (rules.roles and mapped is None):
            raise Denied(NOT_ADMITTED)
        return Enter(person=known.id, role=mapped if rules.roles else None)
    invited = _invited(who, rules, invitation, now)
    if email_taken or not (invited or _by_rule(who, rules)):
        raise Denied(NOT_ADMITTED)
    role = _first_role(rules, mapped, invited)
    if role is None:
        raise Denied(NOT_ADMITTED)
    email = who.email.strip() if who.email and verified_domain(who) else None
    return Create(role=role, email=email, name=who.name, invitation=invited is not None)


def link(who: ExternalIdentity, rules: Admission, *, asked: Person, known: Person | None) -> Link | Enter:
    """What linking leads to: `asked` is the signed-in person who began it, `known` whoever has this identity already."""
    if asked.local_only:
        raise Denied("The owner signs in here alone, so that a provider's administrators cannot become the owner.")
    if not _has_required(who, rules):
        raise Denied("This provider's rules do not let that account in, so it cannot be linked.")
    if known is None:
        return Link(person=asked.id)
    if known.id != asked.id:
        raise Conflict("That account is linked to another person here. Unlink it there first.")
    return Enter(person=asked.id, role=None)


def role_for(groups: Iterable[str], rules: Admission) -> GivenRole | None:
    """The strongest role that a rule gives to one of `groups`, else the default one. Names are compared to the letter."""
    held = set(groups)
    given = {rule.role for rule in rules.roles if rule.group in held}
    return next((role for role in GivenRole if role in given), rules.default_role)


def role_rules_are_clear(roles: Iterable[RoleRule]) -> bool:
    """Whether no group is named twice."""
    named = [rule.group for rule in roles]
    return len(named) == len(set(named))


def verified_domain(who: ExternalIdentity) -> str | None:
    """The domain of an address that the provider says it has verified."""
    return domain_of(who.email) if who.email and who.email_verified else None


def domain_of(email: str) -> str | None:
    """The domain of a plain address, in lower case; None when there is any doubt which it is.

    One `@`, an unquoted name before it, and a host name in ASCII after it: no second reading by a mail server is possible.
    """
    found = PLAIN_ADDRESS.fullmatch(email)
    return found[1].lower() if found else None


def _has_required(who: ExternalIdentity, rules: Admission) -> bool:
    return not rules.required_groups or not set(rules.required_groups).isdisjoint(who.groups)


def _by_rule(who: ExternalIdentity, rules: Admission) -> bool:
    """Whether a domain or a group lets them in. A domain is compared whole: no part of one, none below it."""
    return verified_domain(who) in rules.domains or not set(rules.groups).isdisjoint(who.groups)


def _invited(who: ExternalIdentity, rules: Admission, invitation: Invitation | None, now: datetime) -> Invitation | None:
    """The invitation, if it is open and was sent to the very address that the provider has verified."""
    if invitation is None or not rules.invitations or now >= invitation.expires_at:
        return None
    sent_to = invitation.email.strip()
    if verified_domain(who) is None or domain_of(sent_to) is None or who.email is None:
        return None
    return invitation if who.email.lower() == sent_to.lower() else None


def _first_role(rules: Admission, mapped: GivenRole | None, invited: Invitation | None) -> GivenRole | None:
    """A new account's role: by the groups where there are rules for them, else as invited, else the default one."""
    return mapped if rules.roles or invited is None else invited.role

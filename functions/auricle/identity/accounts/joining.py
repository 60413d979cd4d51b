"""New people: registration, invitations, and the accounts that come of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from auricle.access.model import Principal, PrincipalId
from auricle.access.permissions import Role, assignable
from auricle.admin.audit.kinds import EventKind, Reason, SubjectKind
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import Trail
from auricle.contract.ids import uuid7
from auricle.errors import Conflict, Denied, NotFound
from auricle.identity.accounts.links import by_letter, followed, refuse, spend, writable
from auricle.identity.accounts.model import (
    CONFIRM_WITHIN,
    INVITED_FOR,
    Coming,
    Invitation,
    InvitationId,
    RegistrationMode,
    RegistrationPolicy,
)
from auricle.identity.accounts.store import InvitationStore, LinkStore
from auricle.identity.actions import named
from auricle.identity.events import LetterWanted
from auricle.identity.mailtexts import Letter
from auricle.identity.model import Account, AccountState
from auricle.identity.onetime import OneTime, Purpose
from auricle.identity.passwords import Kept, Passwords, Person
from auricle.identity.passwords import refuse as refuse_password
from auricle.identity.people.store import PeopleStore
from auricle.identity.store import IdentityStore
from auricle.ports.bus import Bus, PublishingUnits
from auricle.ports.hashing import PasswordHasher

CLOSED = "Nobody makes an account here without being asked. An administrator can invite you or make one for you."
PURPOSES = {Coming.INVITED: Purpose.INVITATION, Coming.REGISTERED: Purpose.REGISTRATION}


def register(units: PublishingUnits, policy: RegistrationPolicy, trail: Trail, email: str) -> None:
    """Write to an address whose owner, so it says, wants an account. Whether there is one is found out by the letter alone."""
    now, email = datetime.now(UTC), writable(email)
    if not policy.asks:
        trail.refused(EventKind.ACCOUNT_REGISTERED, Reason.REGISTRATION_CLOSED, account=email)
        raise Denied(CLOSED)
    if not policy.takes(email):
        trail.refused(EventKind.ACCOUNT_REGISTERED, Reason.POLICY, account=email)
        raise Denied("Addresses of this domain cannot register here. Use your organisation's, or ask for an invitation.")
    asked = _new(Coming.REGISTERED, email, Role(policy.role.value), None, now)
    with units.unit() as db:
        InvitationStore(db).add(asked)
        units.publish(db, LetterWanted(letter=Letter.REGISTRATION, invitation=asked.id))


def invite(
    store: IdentityStore,
    invitations: InvitationStore,
    policy: RegistrationPolicy,
    trail: Trail,
    bus: Bus,
    who: Principal,
    email: str,
    role: Role,
) -> Invitation:
    """Write to somebody who may make an account with this role, which is one that `who` may give."""
    email = writable(email)
    if policy.mode is RegistrationMode.CLOSED:
        raise Conflict("Registration is closed, to invited people too. Make the account yourself, or open it to invitations.")
    if role not in assignable(who.roles):
        raise Denied("Only an owner gives the roles owner, admin and auditor.")
    if store.by_email(email) is not None:
        raise Conflict("Somebody with this address has an account already.")
    made = _new(Coming.INVITED, email, role, who.id, datetime.now(UTC))
    invitations.add(made)
    trail.record(EventKind.INVITATION_CREATED, (SubjectKind.INVITATION, made.id), Details(role_after=role.value))
    bus.publish(LetterWanted(letter=Letter.INVITATION, invitation=made.id))
    return made


def revoke(invitations: InvitationStore, links: LinkStore, trail: Trail, id: InvitationId) -> None:
    """Take an invitation back."""
    found = invitations.get(id)
    if found is None or found.kind is not Coming.INVITED or not invitations.revoke(id, datetime.now(UTC)):
        raise NotFound("There is no such invitation, or it is over already.")
    links.forget(Purpose.INVITATION, str(id))
    trail.record(EventKind.INVITATION_REVOKED, (SubjectKind.INVITATION, id))


def join(
    units: PublishingUnits,
    hasher: PasswordHasher,
    passwords: Passwords,
    policy: RegistrationPolicy,
    trail: Trail,
    kind: Coming,
    token: str,
    display_name: str,
    password: str,
) -> AccountState:
    """Make the account of who was invited, or has confirmed their address. It works once.

    Its state: whoever registered where administrators agree waits for them.
    """
    now, name = datetime.now(UTC), named(display_name)
    with units.unit() as db:
        used, invitation = _coming(db, policy, kind, token, now)
    person = Person(names=(name,), email=invitation.email)
    refuse_password(passwords.check(password, person, Kept(), now))
    kept = passwords.remembered(Kept(), hasher.hash(password), now)
    waits = kind is Coming.REGISTERED and policy.mode is RegistrationMode.APPROVAL
    account = Account(
        id=PrincipalId(uuid7()),
        email=invitation.email,
        display_name=name,
        role=Role(policy.role.value) if kind is Coming.REGISTERED else invitation.role,
        state=AccountState.PENDING if waits else AccountState.ACTIVE,
    )
    with units.unit() as db:
        spend(db, used)
        if not InvitationStore(db).accept(invitation.id, now):
            refuse()
        if IdentityStore(db).add_account(account, kept) is None:
            raise Conflict("There is an account with this address by now. Sign in, or set a new password for it.")
        _told(trail.within(db), account, invitation)
        if waits:
            for administrator in PeopleStore(db).administrators():
                units.publish(db, LetterWanted(letter=Letter.APPROVAL_ASKED, person=administrator, by=account.id))
    return account.state


def _new(kind: Coming, email: str, role: Role, by: PrincipalId | None, now: datetime) -> Invitation:
    life = INVITED_FOR if kind is Coming.INVITED else CONFIRM_WITHIN
    id = InvitationId(uuid7())
    return Invitation(id=id, kind=kind, email=email, role=role, invited_by=by, created_at=now, ends_at=now + life)


def _coming(db: Any, policy: RegistrationPolicy, kind: Coming, token: str, now: datetime) -> tuple[OneTime, Invitation]:
    """The link and the invitation that it is for, if both are good and whoever opened the house still would."""
    used = followed(db, (PURPOSES[kind],), token, now)
    found = InvitationStore(db).get(UUID(used.subject))
    if found is None or found.kind is not kind or not found.open(now):
        refuse()
    if kind is Coming.REGISTERED:
        if not (policy.asks and policy.takes(found.email)):
            raise Denied(CLOSED)
        return used, found
    if found.by_house:
        return used, found
    inviter = IdentityStore(db).account(found.invited_by) if found.invited_by is not None else None
    may = assignable({inviter.role}) if inviter is not None and inviter.open(now) else frozenset()
    if policy.mode is RegistrationMode.CLOSED or found.role not in may:
        raise Denied("This invitation does not hold any more. Ask for a new one.")
    return used, found


def _told(trail: Trail, account: Account, invitation: Invitation) -> None:
    details, actor = Details(role_after=account.role.value), by_letter(account.id)
    trail.record(EventKind.ACCOUNT_REGISTERED, (SubjectKind.USER, account.id), details, actor=actor)
    if invitation.kind is Coming.INVITED:
        trail.record(EventKind.INVITATION_ACCEPTED, (SubjectKind.INVITATION, invitation.id), actor=actor)

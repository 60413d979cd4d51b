"""What administrators do for people. Who may change whom follows `access.permissions.changed_roles`: nobody changes themselves
here, only owners change owners, administrators and auditors, and the last owner stays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from auricle.access.model import Principal, PrincipalId
from auricle.access.permissions import Role, assignable, changed_roles
from auricle.access.sessions import Limits, Session, Why, over
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.model import NO_DETAILS, Details
from auricle.admin.audit.trail import Trail
from auricle.contract.function import Assembled
from auricle.contract.ids import uuid7
from auricle.errors import Conflict, Denied, Invalid, NotFound
from auricle.identity.accounts.links import end_sessions, writable
from auricle.identity.accounts.store import LinkStore
from auricle.identity.actions import named
from auricle.identity.events import LetterWanted
from auricle.identity.factors import enrolling
from auricle.identity.factors.store import FactorStore
from auricle.identity.lockout import Guess, Lockout
from auricle.identity.mailtexts import Letter
from auricle.identity.model import Account, AccountState
from auricle.identity.onetime import Purpose
from auricle.identity.passwords import Kept, Passwords, Person, Profile
from auricle.identity.people.model import User, one_time_password
from auricle.identity.people.store import PeopleStore
from auricle.identity.store import IdentityStore
from auricle.ports.bus import Bus
from auricle.ports.ephemeral import Ephemeral
from auricle.ports.hashing import PasswordHasher


@dataclass(frozen=True, slots=True)
class Desk(Assembled):
    """Where people are administered: who sits there, and what they work with."""

    who: Principal
    store: IdentityStore
    people: PeopleStore
    links: LinkStore
    ephemeral: Ephemeral
    trail: Trail
    bus: Bus

    def told(self, kind: EventKind, id: PrincipalId, details: Details = NO_DETAILS) -> None:
        """Write to the trail what was done to somebody."""
        self.trail.record(kind, (SubjectKind.USER, id), details)

    def write(self, letter: Letter, id: PrincipalId) -> None:
        """Have a letter written to somebody, in the name of who sits here."""
        self.bus.publish(LetterWanted(letter=letter, person=id, by=self.who.id))

    def end_sessions(self, id: PrincipalId, why: Why = Why.AUTHORITY) -> int:
        """End somebody's sessions at once."""
        return end_sessions(self.store, self.ephemeral, id, datetime.now(UTC), why)

    def user(self, id: PrincipalId) -> User:
        """Somebody, as they are listed."""
        found = self.people.get(id)
        if found is None or found.state is AccountState.DELETED:
            raise NotFound("There is nobody of that id.")
        return found

    def held(self, id: PrincipalId) -> Account:
        """Somebody whom `who` may change, held until the unit of work ends."""
        owners = self.people.owners()  # held first and in order, as everybody does
        account = self.store.locked_account(id)
        if account is None or account.state is AccountState.DELETED:
            raise NotFound("There is nobody of that id.")
        if id == self.who.id:
            raise Denied("Nobody does this to their own account. Ask another administrator, or see what /api/me offers.")
        if account.role not in assignable(self.who.roles) or (Role.OWNER in self.who.roles and self.who.id not in owners):
            raise Denied("Only an owner changes owners, administrators and auditors.")
        return account


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of somebody; what is not said stays."""

    display_name: str | msgspec.UnsetType = msgspec.UNSET
    role: Role | msgspec.UnsetType = msgspec.UNSET
    state: AccountState | msgspec.UnsetType = msgspec.UNSET
    expires_at: datetime | msgspec.UnsetType | None = msgspec.UNSET
    must_change_password: bool | msgspec.UnsetType = msgspec.UNSET


def create(
    desk: Desk,
    hasher: PasswordHasher,
    profile: Profile,
    passwords: Passwords,
    *,
    email: str,
    display_name: str,
    role: Role,
    expires_at: datetime | None,
    letter: bool,
) -> tuple[User, str | None]:
    """An account for somebody, who gets a letter to set its password by, or else a password to be told once, which is here."""
    email, name = writable(email), named(display_name)
    if role not in assignable(desk.who.roles):
        raise Denied("Only an owner gives the roles owner, admin and auditor.")
    now = datetime.now(UTC)
    account = Account(id=PrincipalId(uuid7()), email=email, display_name=name, role=role, expires_at=_later(expires_at, now))
    password = None if letter else one_time_password(profile, Person(names=(name,), email=email))
    kept = passwords.remembered(Kept(), hasher.hash(password), now, must_change=True) if password is not None else None
    if desk.store.add_account(account, kept) is None:
        raise Conflict("Somebody with this address has an account already.")
    desk.told(EventKind.USER_CREATED, account.id, Details(role_after=role.value))
    if letter:
        desk.write(Letter.WELCOME, account.id)
    return desk.user(account.id), password


def change(desk: Desk, id: PrincipalId, asked: Change) -> User:
    """Change somebody. Whatever takes or gives authority ends their sessions."""
    account = desk.held(id)
    values, authority = _described(desk, account, asked), False
    role = None if asked.role in (msgspec.UNSET, account.role) else asked.role
    if isinstance(role, Role):
        changed_roles(desk.who.roles, False, {account.role}, {role}, len(desk.people.owners()))
        values["role"], authority = role.value, True
        desk.told(EventKind.ROLE_CHANGED, id, Details(role_before=account.role.value, role_after=role.value))
    state = account.state if asked.state is msgspec.UNSET else asked.state
    if state is not account.state:
        authority = _turned(desk, account, state) or authority
        values["state"] = state.value
    closes = state is AccountState.DISABLED or values.get("expires_at") is not None
    if account.role is Role.OWNER and closes and desk.people.owners() <= {id}:
        raise Conflict("This is the last owner. Make somebody else an owner first.")
    if values:
        desk.people.change(id, **values)
    if authority or values.get("must_change") or values.get("expires_at"):
        desk.end_sessions(id)
    return desk.user(id)


def remove(desk: Desk, id: PrincipalId) -> None:
    """Close somebody's account for good. What they own stays, and whom it was shared with keeps it."""
    account = desk.held(id)
    if account.role is Role.OWNER and desk.people.owners() <= {id}:
        raise Conflict("This is the last owner. Make somebody else an owner first.")
    _forget_links(desk, id)
    FactorStore(desk.store.db).forget(id)
    desk.people.remove(id)
    desk.told(EventKind.USER_DELETED, id)
    desk.end_sessions(id)


def reset_password(
    desk: Desk, hasher: PasswordHasher, profile: Profile, passwords: Passwords, id: PrincipalId, letter: bool
) -> str | None:
    """A letter to set a new password by, while the old one stays good; or else at once another one, to be told once."""
    account, now = desk.held(id), datetime.now(UTC)
    if not account.open(now):
        raise Conflict("This account is closed. Enable it first.")
    desk.told(EventKind.PASSWORD_RESET_REQUESTED, id)
    if letter:
        if not account.email:
            raise Conflict("Nobody has proved an address for this account, so no letter can be written. Ask for a password.")
        desk.write(Letter.RESET if account.password_hash else Letter.WELCOME, id)
        return None
    password = one_time_password(profile, Person(names=(account.display_name,), email=account.email))
    kept = passwords.remembered(desk.store.kept(account), hasher.hash(password), now, must_change=True)
    desk.store.choose_password(account, kept)
    _forget_links(desk, id)
    desk.told(EventKind.PASSWORD_RESET, id)
    desk.write(Letter.PASSWORD_CHANGED, id)
    desk.end_sessions(id)
    Lockout(desk.ephemeral, Guess.PASSWORD).unlock(account.email)
    return password


def reset_factors(desk: Desk, id: PrincipalId) -> None:
    """Take all second factors of somebody who has lost them; where one is required, the next sign-in enrols another."""
    desk.held(id)
    desk.write(Letter.FACTORS_CHANGED, id)
    enrolling.reset_factors(desk.store, desk.ephemeral, desk.trail, id)


def unlock(desk: Desk, id: PrincipalId) -> None:
    """Forget the failed sign-ins of somebody who is locked out."""
    account = desk.held(id)
    Lockout(desk.ephemeral, Guess.PASSWORD).unlock(account.email)
    Lockout(desk.ephemeral, Guess.SECOND_FACTOR).unlock(str(id))
    desk.told(EventKind.ACCOUNT_UNLOCKED, id)


def sessions(desk: Desk, limits: Limits, id: PrincipalId) -> list[Session]:
    """Where somebody is signed in, newest first."""
    now, epoch = datetime.now(UTC), desk.ephemeral.epoch(desk.user(id).id)
    living = [s for s in desk.store.sessions_of(id) if over(s, epoch=epoch, limits=limits, now=now) is None]
    return sorted(living, key=lambda session: session.id, reverse=True)


def sign_out(desk: Desk, id: PrincipalId) -> None:
    """End all sessions of somebody."""
    count = desk.end_sessions(desk.held(id).id, Why.BY_ADMINISTRATOR)
    desk.told(EventKind.LOGOUT_ALL, id, Details(count=count))


def _described(desk: Desk, account: Account, asked: Change) -> dict[str, Any]:
    """The columns that say what somebody is called, until when, and with which password."""
    values: dict[str, Any] = {}
    if asked.display_name is not msgspec.UNSET:
        values["display_name"] = named(asked.display_name)
    if asked.expires_at is not msgspec.UNSET:
        values["expires_at"] = _later(asked.expires_at, datetime.now(UTC))
    if asked.must_change_password is not msgspec.UNSET:
        if account.password_hash is None and asked.must_change_password:
            raise Conflict("They have no password here that could be changed.")
        values["must_change"] = asked.must_change_password
    if values:
        desk.told(EventKind.USER_UPDATED, account.id)
    return values


def _turned(desk: Desk, account: Account, state: AccountState) -> bool:
    """Note that an account was opened or closed; whether sessions end by it."""
    if state is AccountState.DISABLED:
        desk.told(EventKind.ACCOUNT_DISABLED, account.id)
        _forget_links(desk, account.id)
        return True
    if state is not AccountState.ACTIVE:
        raise Invalid("An account is made active or disabled; delete it to end it for good.", field="state")
    if account.state is AccountState.PENDING:
        desk.told(EventKind.ACCOUNT_APPROVED, account.id)
        desk.write(Letter.APPROVED, account.id)
    else:
        desk.told(EventKind.ACCOUNT_ENABLED, account.id)
    return False


def _forget_links(desk: Desk, id: PrincipalId) -> None:
    for purpose in (Purpose.RESET, Purpose.WELCOME):
        desk.links.forget(purpose, str(id))


def _later(moment: datetime | None, now: datetime) -> datetime | None:
    if moment is not None and moment <= now:
        raise Invalid("expires_at is over already. Disable the account instead.", field="expires_at")
    return moment

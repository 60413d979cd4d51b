"""Coming in by a link from a letter, a lost password, another address, one's own name."""

from __future__ import annotations

import msgspec

from auricle.access.model import Asking, Principal
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.trail import Trail
from auricle.contract.choices import Guarded, Permission
from auricle.contract.function import route
from auricle.contract.http import Body, Reply
from auricle.identity.accounts import addresses, joining, resetting
from auricle.identity.accounts.model import Coming, RegistrationPolicy
from auricle.identity.accounts.store import AddressStore
from auricle.identity.actions import named
from auricle.identity.lockout import LockoutRules
from auricle.identity.model import AccountState
from auricle.identity.passwords import Passwords
from auricle.identity.store import IdentityStore
from auricle.ports.bus import Bus, PublishingUnits
from auricle.ports.ephemeral import Ephemeral
from auricle.ports.hashing import PasswordHasher


class Address(Body, frozen=True, kw_only=True):
    """Whose account it is about."""

    email: str


class ChosenPassword(Body, frozen=True, kw_only=True):
    """A password, and the token from the letter that lets one choose it."""

    token: str
    password: str


class NewAddress(Body, frozen=True, kw_only=True):
    """Another e-mail address, and the password as a proof."""

    email: str
    password: str


class Confirmation(Body, frozen=True, kw_only=True):
    """The token from a letter."""

    token: str


class Joining(Body, frozen=True, kw_only=True):
    """A new account: the token from the letter, and what its owner chooses."""

    token: str
    display_name: str
    password: str


class Profile(Body, frozen=True, kw_only=True):
    """What people say of themselves."""

    display_name: str | msgspec.UnsetType = msgspec.UNSET


class Written(msgspec.Struct, frozen=True):
    """A letter is on its way, if there is anybody to write to."""

    detail: str = "If that address can be written to, a letter is on its way. Look into your mailbox."


class Joined(msgspec.Struct, frozen=True):
    """What became of it: `active`, or `pending` until an administrator agrees."""

    state: AccountState


@route("POST /api/password-reset", permission=Permission.PUBLIC, guarded=Guarded.RESET_ASK, status=202)
def ask_for_reset(address: Address, units: PublishingUnits, trail: Trail) -> Written:
    """Have a link for a new password mailed. The answer is the same whether or not there is such an account."""
    resetting.ask(units, trail, address.email)
    return Written()


@route("POST /api/password-reset/complete", permission=Permission.PUBLIC, guarded=Guarded.RESET_USE)
def complete_reset(
    chosen: ChosenPassword,
    units: PublishingUnits,
    hasher: PasswordHasher,
    passwords: Passwords,
    ephemeral: Ephemeral,
    trail: Trail,
) -> None:
    """Choose a password with a link from a letter. It works once; all sessions end, and a lockout too."""
    resetting.complete(units, hasher, passwords, ephemeral, trail, chosen.token, chosen.password)


@route("POST /api/registration", permission=Permission.PUBLIC, guarded=Guarded.REGISTER, status=202)
def register(address: Address, units: PublishingUnits, policy: RegistrationPolicy, trail: Trail) -> Written:
    """Ask for an account. A letter proves the address; whoever has an account is told so in theirs, and nobody else is."""
    joining.register(units, policy, trail, address.email)
    return Written()


@route("POST /api/registration/confirm", permission=Permission.PUBLIC, guarded=Guarded.INVITATION, status=201)
def confirm_registration(
    new: Joining,
    units: PublishingUnits,
    hasher: PasswordHasher,
    passwords: Passwords,
    policy: RegistrationPolicy,
    trail: Trail,
) -> Joined:
    """Make the account that one asked for, with the link from the letter."""
    state = joining.join(units, hasher, passwords, policy, trail, Coming.REGISTERED, new.token, new.display_name, new.password)
    return Joined(state)


@route("POST /api/invitations/accept", permission=Permission.PUBLIC, guarded=Guarded.INVITATION, status=201)
def accept_invitation(
    new: Joining,
    units: PublishingUnits,
    hasher: PasswordHasher,
    passwords: Passwords,
    policy: RegistrationPolicy,
    trail: Trail,
) -> Joined:
    """Make the account that one was invited to, with the link from the letter."""
    return Joined(
        joining.join(units, hasher, passwords, policy, trail, Coming.INVITED, new.token, new.display_name, new.password)
    )


@route("PATCH /api/me", permission=Permission.ACCOUNT, guarded=Guarded.DEFAULT)
def change_profile(profile: Profile, who: Principal, store: IdentityStore, trail: Trail) -> None:
    """Change what one is called."""
    if profile.display_name is not msgspec.UNSET:
        store.rename(who.id, named(profile.display_name))
        trail.record(EventKind.USER_UPDATED, (SubjectKind.USER, who.id))


@route("PUT /api/me/email", permission=Permission.ACCOUNT_SECURITY, guarded=Guarded.EMAIL_CHANGE, status=202)
def change_email(
    new: NewAddress,
    asking: Asking,
    who: Principal,
    store: IdentityStore,
    pending: AddressStore,
    hasher: PasswordHasher,
    ephemeral: Ephemeral,
    rules: LockoutRules,
    trail: Trail,
    bus: Bus,
) -> Reply[Written]:
    """Ask for another e-mail address. It is used once the link in the letter to it was followed."""
    addresses.ask(store, pending, hasher, ephemeral, rules, trail, bus, who, asking, new.email, new.password)
    return Reply(Written(), status=202)


@route("POST /api/me/email/confirm", permission=Permission.PUBLIC, guarded=Guarded.EMAIL_CONFIRM)
def confirm_email(given: Confirmation, units: PublishingUnits, ephemeral: Ephemeral, trail: Trail) -> None:
    """Use the new address, with the link from the letter to it. All sessions end; the old address is told."""
    addresses.confirm(units, ephemeral, trail, given.token)

"""Another e-mail address: asked for with the password, proved by a letter to the new one, told to the old one."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from auricle.access.model import Asking, Principal
from auricle.admin.audit.kinds import EventKind, Reason, SubjectKind
from auricle.admin.audit.trail import Trail
from auricle.contract.ids import uuid7
from auricle.errors import Conflict, Invalid
from auricle.identity.accounts.links import by_letter, end_sessions, followed, refuse, spend, writable
from auricle.identity.accounts.model import CONFIRM_WITHIN, AddressChange, ChangeId
from auricle.identity.accounts.store import AddressStore, LinkStore
from auricle.identity.events import LetterWanted
from auricle.identity.lockout import Attempt, Guess, Lockout, LockoutRules, account_key
from auricle.identity.mailtexts import Letter
from auricle.identity.onetime import Purpose
from auricle.identity.store import IdentityStore
from auricle.ports.bus import Bus, PublishingUnits
from auricle.ports.ephemeral import Ephemeral
from auricle.ports.hashing import PasswordHasher


def ask(
    store: IdentityStore,
    addresses: AddressStore,
    hasher: PasswordHasher,
    ephemeral: Ephemeral,
    rules: LockoutRules,
    trail: Trail,
    bus: Bus,
    who: Principal,
    asking: Asking,
    email: str,
    password: str,
) -> None:
    """Write to the new address. Whether it is somebody else's already is told to nobody."""
    now, email, subject = datetime.now(UTC), writable(email), (SubjectKind.USER, who.id)
    account = store.locked_account(who.id)
    if account is None or account.password_hash is None:
        raise Conflict("You sign in at another house: your address is theirs to change.")
    # Counted apart from strangers' guesses, who cannot keep its owner from this.
    lockout = Lockout.by(rules, ephemeral, Guess.PASSWORD)
    attempt = Attempt(account.email, asking.address, f"session {who.session_id}")
    lockout.admit(attempt)
    if not hasher.verify(password, account.password_hash):
        trail.refused(EventKind.EMAIL_CHANGE_REQUESTED, Reason.WRONG_PASSWORD, subject)
        raise Invalid("The password is not right.", field="password")
    lockout.succeeded(attempt)
    if account_key(email) == account_key(account.email):
        raise Invalid("That is your address already.", field="email")
    change = AddressChange(id=ChangeId(uuid7()), person=who.id, email=email, ends_at=now + CONFIRM_WITHIN)
    addresses.ask(change)
    trail.record(EventKind.EMAIL_CHANGE_REQUESTED, subject)
    bus.publish(LetterWanted(letter=Letter.EMAIL_CHANGE, change=change.id))


def confirm(units: PublishingUnits, ephemeral: Ephemeral, trail: Trail, token: str) -> None:
    """The letter at the new address was read: it is theirs from now on, and they sign in again."""
    now = datetime.now(UTC)
    with units.unit() as db:
        used, store, addresses = followed(db, (Purpose.ADDRESS,), token, now), IdentityStore(db), AddressStore(db)
        change = addresses.get(UUID(used.subject))
        account = store.locked_account(change.person) if change is not None else None
        if change is None or account is None or not account.open(now) or change.former is not None:
            refuse()
        spend(db, used)
        if not addresses.apply(change, account.email):
            refuse()
        for purpose in (Purpose.RESET, Purpose.WELCOME):  # whoever reads the old mailbox sets no password any more
            LinkStore(db).forget(purpose, str(account.id))
        units.publish(db, LetterWanted(letter=Letter.EMAIL_CHANGED, change=change.id))
        trail.within(db).record(EventKind.EMAIL_CHANGED, (SubjectKind.USER, account.id), actor=by_letter(account.id))
        end_sessions(store, ephemeral, account.id, now)

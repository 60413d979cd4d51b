"""A new password for who lost theirs, or never had one: by a letter, which only the owner of the mailbox reads."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from auricle.access.model import PrincipalId
from auricle.admin.audit.kinds import EventKind, Outcome, Reason, SubjectKind
from auricle.admin.audit.model import NO_DETAILS, Details
from auricle.admin.audit.trail import Trail
from auricle.identity.accounts.links import by_letter, end_sessions, followed, refuse, spend
from auricle.identity.accounts.store import LinkStore
from auricle.identity.events import LetterWanted
from auricle.identity.lockout import Guess, Lockout
from auricle.identity.mailtexts import Letter
from auricle.identity.onetime import Purpose
from auricle.identity.passwords import Passwords, Person
from auricle.identity.passwords import refuse as refuse_password
from auricle.identity.store import IdentityStore
from auricle.ports.bus import PublishingUnits
from auricle.ports.ephemeral import Ephemeral
from auricle.ports.hashing import PasswordHasher

BY_LINK = (Purpose.RESET, Purpose.WELCOME)


def ask(units: PublishingUnits, trail: Trail, email: str) -> None:
    """Have a letter written to whoever has this address. The same is done, in the same order, where nobody has it."""
    now = datetime.now(UTC)
    with units.unit() as db:
        account = IdentityStore(db).by_email(email)
        why = None
        if account is None:
            why = Reason.UNKNOWN_ACCOUNT
        elif not account.open(now):
            why = Reason.DISABLED
        trail.within(db).record(
            EventKind.PASSWORD_RESET_REQUESTED,
            (SubjectKind.USER, account.id) if account else None,
            Details(reason=why) if why else NO_DETAILS,
            outcome=Outcome.FAILURE if why else Outcome.SUCCESS,
        )
        person = account.id if account is not None and why is None else None
        units.publish(db, LetterWanted(letter=Letter.RESET, person=person))


def complete(
    units: PublishingUnits,
    hasher: PasswordHasher,
    passwords: Passwords,
    ephemeral: Ephemeral,
    trail: Trail,
    token: str,
    password: str,
) -> None:
    """Set the password, with a link from a letter. All sessions end, and nobody is locked out any more.

    No connection is held while hashes are worked out. Of two who use one link at once, one does.
    """
    now = datetime.now(UTC)
    with units.unit() as db:
        used, store = followed(db, BY_LINK, token, now), IdentityStore(db)
        id = PrincipalId(UUID(used.subject))
        account = store.account(id)
        if account is None or not account.open(now):
            refuse()
        kept = store.kept(account)
    # Who lost it, or fears that somebody knows it, does not wait until the password is a day old.
    judged = msgspec.structs.replace(kept, must_change=True)
    refuse_password(passwords.check(password, Person(names=(account.display_name,), email=account.email), judged, now))
    remembered = passwords.remembered(kept, hasher.hash(password), now)
    with units.unit() as db:
        store = IdentityStore(db)
        current = store.locked_account(id)
        if current is None or not current.open(now) or current.password_hash != account.password_hash:
            refuse()
        spend(db, used)
        for purpose in BY_LINK:
            LinkStore(db).forget(purpose, used.subject)
        store.choose_password(current, remembered)
        units.publish(db, LetterWanted(letter=Letter.PASSWORD_CHANGED, person=id))
        told = Details(count=len(store.sessions_of(id)))
        trail.within(db).record(EventKind.PASSWORD_RESET, (SubjectKind.USER, id), told, actor=by_letter(id))
        end_sessions(store, ephemeral, id, now)
    Lockout(ephemeral, Guess.PASSWORD).unlock(account.email)

"""Following a link out of a letter, and what always follows: the person's sessions end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from auricle.access.model import PrincipalId
from auricle.access.sessions import Why, end
from auricle.admin.audit.kinds import ActorKind, Credential
from auricle.admin.audit.trail import Actor
from auricle.errors import Invalid
from auricle.identity.accounts.store import LinkStore
from auricle.identity.onetime import OneTime, Purpose, use
from auricle.identity.store import IdentityStore
from auricle.ports.ephemeral import Ephemeral
from auricle.ports.mail import is_address


def followed(db: Any, purposes: Sequence[Purpose], token: str, now: datetime) -> OneTime:
    """The token as used, if it is good for one of `purposes`; `Invalid` otherwise. Nothing is spent yet."""
    kept = LinkStore(db).find(purposes, token)
    return use(kept, kept.purpose if kept is not None else purposes[0], token, now)


def spend(db: Any, used: OneTime) -> None:
    """Spend it; `Invalid`, with the sentence that all bad tokens get, when somebody else was faster."""
    if not LinkStore(db).use_up(used):
        refuse()


def refuse() -> NoReturn:
    """`Invalid`, as for a token that never was."""
    use(None, Purpose.RESET, "", datetime.min.replace(tzinfo=UTC))
    raise AssertionError


def end_sessions(store: IdentityStore, ephemeral: Ephemeral, id: PrincipalId, now: datetime, why: Why = Why.AUTHORITY) -> int:
    """End all sessions of a person, and every token that came from one. Last before the commit: it cannot be undone."""
    living = store.sessions_of(id)
    store.store_sessions(end(session, why, now) for session in living)
    ephemeral.bump(id)
    return len(living)


def by_letter(id: PrincipalId) -> Actor:
    """Who read a letter that only they get."""
    return Actor(kind=ActorKind.PERSON, id=id, credential=Credential.MAIL_LINK)


def writable(email: str) -> str:
    """An address that a letter can go to."""
    email = email.strip()
    if not is_address(email):
        raise Invalid("That is no e-mail address that we can write to. Write it as name@example.org.", field="email")
    return email

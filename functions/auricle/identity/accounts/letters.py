"""From the wish for a letter to the letter: to whom it goes, what it tells, and the link that it carries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from auricle.access.model import PrincipalId, Site
from auricle.contract.store import Units
from auricle.errors import Conflict
from auricle.identity.accounts.model import CONFIRM_WITHIN, FIRST_PASSWORD_WITHIN, Coming
from auricle.identity.accounts.store import AddressStore, InvitationStore, LinkStore
from auricle.identity.events import LetterWanted
from auricle.identity.mailtexts import Facts, Letter, written
from auricle.identity.model import Account, AccountState
from auricle.identity.onetime import LIFE, Purpose, issue
from auricle.identity.store import IdentityStore
from auricle.ports.mail import Message, is_address

SECURITY, RESET, JOIN, ADDRESS, PEOPLE, START = (
    "/settings/security",
    "/reset-password",
    "/join",
    "/confirm-address",
    "/admin/users",
    "/",
)
"""Pages that letters lead to. A token travels behind `#`: browsers keep that to themselves, so that it is in nobody's log."""


class Link(msgspec.Struct, frozen=True):
    """What following a letter's link is good for: a token for `subject` that works once, until `until`."""

    purpose: Purpose
    subject: UUID
    until: datetime


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A letter, before its words: `page` is where it leads to."""

    letter: Letter
    to: str
    page: str
    at: datetime
    link: Link | None = None
    by: str | None = None
    device: str | None = None
    place: str | None = None


def composed(event: LetterWanted, at: datetime, key: str, units: Units, site: Site) -> Message | None:
    """The letter that `event` asks for, with a token made for it; None when there is nobody to write to (any more).

    `at`: when it was asked for. `key`: what names the letter.
    """
    now = datetime.now(UTC)
    with units.unit() as db:
        draft = drafted(event, db, at, now)
        if draft is None or not is_address(draft.to):
            return None
        link = _linked(draft, db, now, site)
    facts = Facts(
        site=f"Auricle ({urlsplit(site.issuer).netloc})",
        link=link,
        at=draft.at,
        until=draft.link.until if draft.link else None,
        by=draft.by,
        device=draft.device,
        place=draft.place,
    )
    return written(draft.letter, facts).to(draft.to, key)


def link_to(event: LetterWanted, units: Units, site: Site) -> str:
    """Where the letter would lead, with a token made for it, for whoever hands it over by themselves."""
    now = datetime.now(UTC)
    with units.unit() as db:
        draft = drafted(event, db, now, now)
        if draft is None:
            raise Conflict("There is nobody to write to any more.")
        return _linked(draft, db, now, site)


def _linked(draft: Draft, db: Any, now: datetime, site: Site) -> str:
    if draft.link is None:
        return f"{site.issuer}{draft.page}"
    kept, token = issue(draft.link.purpose, str(draft.link.subject), now, draft.link.until - now)
    LinkStore(db).add(kept)
    return f"{site.issuer}{draft.page}#token={token}"


def drafted(event: LetterWanted, db: Any, at: datetime, now: datetime) -> Draft | None:
    """Whom to write what, by what is known at this moment."""
    if event.invitation is not None:
        return _invitation(event, db, now)
    if event.change is not None:
        return _address(event, db, at, now)
    person = IdentityStore(db).account(event.person) if event.person is not None else None
    return None if person is None else _person(event, person, db, at, now)


def _person(event: LetterWanted, person: Account, db: Any, at: datetime, now: datetime) -> Draft | None:
    """To somebody who has an account; closed ones get nothing."""
    if person.state is not AccountState.ACTIVE:
        return None
    letter, to = event.letter, person.email
    if letter is Letter.RESET:
        # Who signs in in another way gets no second one by a letter.
        link = Link(Purpose.RESET, person.id, now + LIFE)
        return Draft(letter=letter, to=to, page=RESET, at=now, link=link) if person.password_hash else None
    if letter is Letter.WELCOME:
        link = Link(Purpose.WELCOME, person.id, now + FIRST_PASSWORD_WITHIN)
        return Draft(letter=letter, to=to, page=RESET, at=now, link=link, by=_name(db, event.by))
    if letter is Letter.APPROVAL_ASKED:
        return Draft(letter=letter, to=to, page=PEOPLE, at=at, by=_name(db, event.by))
    if letter is Letter.APPROVED:
        return Draft(letter=letter, to=to, page=START, at=at)
    session = IdentityStore(db).session(event.session) if event.session is not None else None
    device, place = (session.client.device, session.client.place) if session is not None else (event.device, None)
    return Draft(letter=letter, to=to, page=SECURITY, at=at, device=device, place=place)


def _invitation(event: LetterWanted, db: Any, now: datetime) -> Draft | None:
    """To somebody who may make an account; who has one is told that instead."""
    found = InvitationStore(db).get(event.invitation) if event.invitation is not None else None
    if found is None or not found.open(now):
        return None
    person = IdentityStore(db).by_email(found.email)
    if person is not None:
        here = person.state is AccountState.ACTIVE and found.kind is Coming.REGISTERED
        return Draft(letter=Letter.ALREADY_HERE, to=person.email, page=START, at=now) if here else None
    if found.kind is Coming.REGISTERED:
        link = Link(Purpose.REGISTRATION, found.id, found.ends_at)
        return Draft(letter=Letter.REGISTRATION, to=found.email, page=JOIN, at=found.created_at, link=link)
    link = Link(Purpose.INVITATION, found.id, found.ends_at)
    by = _name(db, found.invited_by)
    return Draft(letter=Letter.INVITATION, to=found.email, page=JOIN, at=found.created_at, link=link, by=by)


def _address(event: LetterWanted, db: Any, at: datetime, now: datetime) -> Draft | None:
    """To the new address, unless it is somebody's already, or to the one before."""
    change = AddressStore(db).get(event.change) if event.change is not None else None
    if change is None:
        return None
    if event.letter is Letter.EMAIL_CHANGED:
        return Draft(letter=event.letter, to=change.former or "", page=SECURITY, at=at)
    if change.former is not None or now >= change.ends_at or IdentityStore(db).by_email(change.email) is not None:
        return None
    link = Link(Purpose.ADDRESS, change.id, change.ends_at)
    return Draft(letter=event.letter, to=change.email, page=ADDRESS, at=change.ends_at - CONFIRM_WITHIN, link=link)


def _name(db: Any, id: PrincipalId | None) -> str | None:
    """What somebody calls themselves."""
    account = IdentityStore(db).account(id) if id is not None else None
    return account.display_name if account else None

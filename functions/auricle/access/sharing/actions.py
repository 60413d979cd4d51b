"""Giving, changing and taking grants on files. The door has seen that whoever asks manages the file."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from auricle.access.model import Principal
from auricle.access.permissions import Grant, Role
from auricle.access.sharing.model import Given, GrantId, GroupId, Level, Named, Subject
from auricle.access.sharing.store import GrantStore
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import Trail
from auricle.errors import Conflict, Invalid, NotFound
from auricle.identity.lockout import account_key

NOBODY = "There is nobody here of that id or address to whom this can be given."
"""For whatever is wrong with them: never here, closed, or not fit for it."""


def give(
    file_id: UUID,
    who: Principal,
    held: Grant,
    store: GrantStore,
    trail: Trail,
    *,
    person: str | None,
    group: GroupId | None,
    level: Level,
    expires_at: datetime | None,
    now: datetime,
) -> Given:
    """Give it, or change what they have. Nobody gives to themselves, nor for longer than they have it."""
    to = _subject(person, group, store)
    if to.person == who.id:
        raise Invalid("You give nothing to yourself. Ask another manager, or the owner.", field="person")
    if to.person is not None and to.person == owner(file_id, store).id:
        raise Invalid("It is theirs already.", field="person")
    if expires_at is not None and expires_at <= now:
        raise Invalid("expires_at is over already. Take the grant away instead.", field="expires_at")
    given, new = store.give(file_id, to, level.grant, who.id, _end(file_id, who, held, expires_at, store))
    about = Details(role_after=level.value, group=to.group, until=given.expires_at)
    kind = EventKind.GRANT_GIVEN if new else EventKind.GRANT_CHANGED
    trail.record(kind, (SubjectKind.FILE, file_id), about, behalf_of=to.person)
    return given


def take(file_id: UUID, id: GrantId, store: GrantStore, trail: Trail) -> None:
    """Take a grant away."""
    taken = store.take(file_id, id)
    if taken is None:
        raise NotFound("There is no such grant on this file, or it was taken away already.")
    about = Details(role_before=taken.level.value, group=taken.group.id if taken.group else None)
    whose = taken.person.id if taken.person else None
    trail.record(EventKind.GRANT_REVOKED, (SubjectKind.FILE, file_id), about, behalf_of=whose)


def give_up(file_id: UUID, who: Principal, store: GrantStore, trail: Trail) -> None:
    """Give one's own grant back."""
    if not store.give_up(file_id, who.id):
        raise NotFound("Nothing was given to you on this file, or only to a group of yours: ask who manages the file.")
    trail.record(EventKind.GRANT_REVOKED, (SubjectKind.FILE, file_id), behalf_of=who.id)


def owner(file_id: UUID, store: GrantStore) -> Named:
    """Whose file it is."""
    found = store.owner(file_id)
    if found is None:
        raise NotFound("This file was purged just now.")
    return found


def somebody(text: str, store: GrantStore, roles: frozenset[Role] = frozenset(Role)) -> UUID:
    """Whom an id or an e-mail address means, if they are here and have one of the roles; `Invalid` alike for all others."""
    try:
        found = store.by_id(msgspec.convert(text, UUID, strict=False), roles)
    except msgspec.ValidationError:
        found = store.by_email(account_key(text), roles) if "\0" not in text else None
    if found is None:
        raise Invalid(NOBODY, field="person")
    return found


def _subject(person: str | None, group: GroupId | None, store: GrantStore) -> Subject:
    if (person is None) is (group is None):
        raise Invalid("Name a person or a group, one of the two.", field="person")
    if person is not None:
        return Subject(person=somebody(person, store))
    if group is None or not store.has_group(group):
        raise Invalid("There is no such group.", field="group")
    return Subject(group=group)


def _end(file_id: UUID, who: Principal, held: Grant, asked: datetime | None, store: GrantStore) -> datetime | None:
    """A manager for a while would otherwise manage for ever, through somebody else."""
    own = None if held is Grant.OWNER else store.managing_until(file_id, who.id)
    if own is None:
        return asked
    if asked is not None and asked > own:
        raise Conflict(f"You manage this file yourself until {own.isoformat()}, and give nothing beyond that.")
    return asked or own

"""Accounts that nobody uses any more (NIST 800-53 AC-2(3))."""

from __future__ import annotations

from datetime import UTC, datetime

from auricle.access.sessions import Why, end
from auricle.admin.audit.kinds import EventKind, Reason, SubjectKind
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import Trail
from auricle.identity.model import AccountState
from auricle.identity.people.store import PeopleStore
from auricle.identity.store import IdentityStore


def disable_unused(people: PeopleStore, store: IdentityStore, trail: Trail, days: int) -> None:
    """Disable accounts that nobody used for `days`; 0: none. What sessions they left end with them."""
    for id in people.unused_for(days) if days > 0 else ():
        people.change(id, state=AccountState.DISABLED.value)
        trail.record(EventKind.ACCOUNT_DISABLED, (SubjectKind.USER, id), Details(reason=Reason.INACTIVE, count=days))
        store.store_sessions(end(session, Why.AUTHORITY, datetime.now(UTC)) for session in store.sessions_of(id))

"""Everybody's accounts, for those who administer them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, or_, select

from auricle.access.model import PrincipalId
from auricle.access.permissions import ADMINS, Role
from auricle.access.store import grants, group_members, people, sessions, tokens
from auricle.contract.store import Store
from auricle.identity.model import AccountState
from auricle.identity.people.model import User, UserQuery
from auricle.identity.store import password_history

GONE = "Deleted account"


class PeopleStore(Store):
    """People, whoever asks."""

    def page(self, query: UserQuery, limit: int, before: UUID | None) -> list[User]:
        """Those who are asked for, the newest first."""
        found = _users()
        if query.search:
            word = query.search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            found = found.where(or_(people.c.email.ilike(f"%{word}%"), people.c.display_name.ilike(f"%{word}%")))
        if query.role is not None:
            found = found.where(people.c.role == query.role.value)
        state = people.c.state
        found = found.where(state == query.state.value if query.state else state != AccountState.DELETED.value)
        if before is not None:
            found = found.where(people.c.principal_id < before)
        return [_user(row) for row in self.db.execute(found.order_by(people.c.principal_id.desc()).limit(limit))]

    def get(self, id: PrincipalId) -> User | None:
        """One of them."""
        row = self.db.execute(_users().where(people.c.principal_id == id)).first()
        return None if row is None else _user(row)

    def owners(self) -> set[PrincipalId]:
        """Everybody who owns the house and can sign in, held until the unit of work ends: of two who leave, one stays."""
        mine = (people.c.role == Role.OWNER.value, *_OPEN)
        query = select(people.c.principal_id).where(*mine).order_by(people.c.principal_id).with_for_update()
        return {PrincipalId(id) for id in self.db.execute(query).scalars()}

    def administrators(self) -> list[PrincipalId]:
        """Whom to ask for what only they may do."""
        roles = [role.value for role in ADMINS]
        query = select(people.c.principal_id).where(people.c.role.in_(roles), *_OPEN)
        return [PrincipalId(id) for id in self.db.execute(query.order_by(people.c.principal_id)).scalars()]

    def change(self, id: PrincipalId, **values: Any) -> None:
        """Set columns of somebody's row."""
        self.db.execute(people.update().where(people.c.principal_id == id).values(**values))

    def remove(self, id: PrincipalId) -> None:
        """Close an account for good: what it signed in with, its name and its address go, and what was shared with it.

        What it owns stays, and the trail, which knows people by their ids.
        """
        nothing = {"email": None, "email_key": None, "password_hash": None, "changed_at": None, "must_change": False}
        self.change(id, state=AccountState.DELETED.value, display_name=GONE, **nothing)
        self.db.execute(password_history.delete().where(password_history.c.principal_id == id))
        unrevoked = (tokens.c.principal_id == id, tokens.c.revoked_at.is_(None))
        self.db.execute(tokens.update().where(*unrevoked).values(revoked_at=func.now()))
        self.db.execute(grants.delete().where(grants.c.principal_id == id))
        self.db.execute(group_members.delete().where(group_members.c.principal_id == id))

    def unused_for(self, days: int) -> list[PrincipalId]:
        """Open accounts that nobody used for so long, owners' aside; held until the unit of work ends."""
        others = (people.c.state == AccountState.ACTIVE.value, people.c.role != Role.OWNER.value)
        old = _seen() < func.now() - timedelta(days=days)
        never = _seen().is_(None) & (people.c.created_at < func.now() - timedelta(days=days))
        query = select(people.c.principal_id).where(*others, or_(old, never)).order_by(people.c.principal_id)
        return [PrincipalId(id) for id in self.db.execute(query.with_for_update(skip_locked=True)).scalars()]


_OPEN = (
    people.c.state == AccountState.ACTIVE.value,
    or_(people.c.expires_at.is_(None), people.c.expires_at > func.now()),
)


def _seen() -> Any:
    """When somebody last used the house, by sign-in, session or token."""
    in_session = select(func.max(sessions.c.seen_at)).where(sessions.c.principal_id == people.c.principal_id)
    by_token = select(func.max(tokens.c.last_used_at)).where(tokens.c.principal_id == people.c.principal_id)
    used = (in_session.correlate(people).scalar_subquery(), by_token.correlate(people).scalar_subquery())
    return func.greatest(people.c.last_seen_at, *used)


def _users() -> Any:
    return select(*people.c, _seen().label("seen_at"))


def _user(row: Row[Any]) -> User:
    return User(
        id=PrincipalId(row.principal_id),
        email=row.email,
        display_name=row.display_name,
        role=Role(row.role),
        state=AccountState(row.state),
        has_password=row.password_hash is not None,
        must_change_password=row.must_change,
        expires_at=row.expires_at,
        created_at=row.created_at,
        seen_at=row.seen_at,
    )

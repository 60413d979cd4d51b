"""Groups and who is in them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from auricle.access.groups.model import Group, Member
from auricle.access.sharing.model import GroupId
from auricle.access.store import grants, group_members, groups, people
from auricle.contract.store import Store

_count = (
    select(func.count()).where(group_members.c.group_id == groups.c.id).correlate(groups).scalar_subquery().label("members")
)


class GroupStore(Store):
    """Groups, whoever asks."""

    def page(self, limit: int, before: UUID | None) -> list[Group]:
        """All, the newest first."""
        query = select(*groups.c, _count)
        if before is not None:
            query = query.where(groups.c.id < before)
        return [_group(row) for row in self.db.execute(query.order_by(groups.c.id.desc()).limit(limit))]

    def get(self, id: GroupId) -> Group | None:
        """One, held until the unit of work ends."""
        row = self.db.execute(select(*groups.c, _count).where(groups.c.id == id).with_for_update(of=groups)).first()
        return None if row is None else _group(row)

    def add(self, id: GroupId, name: str) -> bool:
        """A new one; False when the name is taken."""
        statement = insert(groups).values(id=id, name=name).on_conflict_do_nothing().returning(groups.c.id)
        return self.db.execute(statement).first() is not None

    def rename(self, id: GroupId, name: str) -> bool:
        """Call it otherwise; False when the name is taken."""
        with self.db.begin_nested() as savepoint:
            try:
                self.db.execute(groups.update().where(groups.c.id == id).values(name=name))
            except IntegrityError:
                savepoint.rollback()
                return False
        return True

    def drop(self, id: GroupId) -> None:
        """End it, with what was granted to it."""
        self.db.execute(groups.delete().where(groups.c.id == id))

    def holds_grants(self, id: GroupId) -> bool:
        """Whether anything was granted to it."""
        return bool(self.db.execute(select(exists().where(grants.c.group_id == id))).scalar())

    def members(self, id: GroupId, limit: int, before: UUID | None) -> list[Member]:
        """Who is in it."""
        query = select(people.c.principal_id, people.c.display_name).join(
            group_members, group_members.c.principal_id == people.c.principal_id
        )
        query = query.where(group_members.c.group_id == id)
        if before is not None:
            query = query.where(people.c.principal_id < before)
        rows = self.db.execute(query.order_by(people.c.principal_id.desc()).limit(limit))
        return [Member(row.principal_id, row.display_name) for row in rows]

    def put_member(self, id: GroupId, person: UUID) -> bool:
        """Put somebody in; False when they are there."""
        statement = insert(group_members).values(group_id=id, principal_id=person).on_conflict_do_nothing()
        return bool(self.db.execute(statement).rowcount)

    def drop_member(self, id: GroupId, person: UUID) -> bool:
        """Take somebody out; False when they are not there."""
        mine = (group_members.c.group_id == id, group_members.c.principal_id == person)
        return bool(self.db.execute(group_members.delete().where(*mine)).rowcount)


def _group(row: Row[Any]) -> Group:
    return Group(id=GroupId(row.id), name=row.name, external=row.external, members=row.members, created_at=row.created_at)

"""Grants on files, and those whom something can be granted to."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from auricle.access.model import SERVICE, SERVICE_PREFIX, ThingKind
from auricle.access.permissions import Grant, Role
from auricle.access.sharing.model import Given, GrantId, GroupId, Named, SharedFile, Subject, level_of
from auricle.access.store import grants, groups, held_by, living, people, principals
from auricle.contract.ids import uuid7
from auricle.contract.store import Store
from auricle.files.relations import files_by_id

_giver, _giver_person = principals.alias("giver"), people.alias("giver_person")
_owner, _owner_person = principals.alias("owner"), people.alias("owner_person")
_ON_FILES = grants.c.kind == ThingKind.FILE


def _name(principal: Any, person: Any) -> Any:
    return func.coalesce(person.c.display_name, func.replace(principal.c.name, SERVICE_PREFIX, ""))


_given = (
    select(
        *(grants.c.id, grants.c.level, grants.c.given_at, grants.c.expires_at, grants.c.principal_id, grants.c.group_id),
        _name(principals, people).label("person_name"),
        groups.c.name.label("group_name"),
        grants.c.given_by,
        _name(_giver, _giver_person).label("giver_name"),
    )
    .select_from(grants)
    .outerjoin(principals, principals.c.id == grants.c.principal_id)
    .outerjoin(people, people.c.principal_id == grants.c.principal_id)
    .outerjoin(groups, groups.c.id == grants.c.group_id)
    .outerjoin(_giver, _giver.c.id == grants.c.given_by)
    .outerjoin(_giver_person, _giver_person.c.principal_id == grants.c.given_by)
    .where(_ON_FILES)
)


class GrantStore(Store):
    """Grants on files. Whoever reads or changes a file's was let through by the door."""

    def of_file(self, file_id: UUID, limit: int, before: GrantId | None) -> list[Given]:
        """What was given on a file, the newest first; what has expired stays listed until somebody takes or renews it."""
        query = _given.where(grants.c.thing == file_id)
        if before is not None:
            query = query.where(grants.c.id < before)
        return [_as_given(row) for row in self.db.execute(query.order_by(grants.c.id.desc()).limit(limit))]

    def of_person(self, who: UUID, limit: int, before: GrantId | None) -> list[SharedFile]:
        """What was given to them and is worth something, the newest first."""
        query = (
            select(grants, files_by_id.c.name, files_by_id.c.owner, groups.c.name.label("group_name"))
            .add_columns(_name(_owner, _owner_person).label("owner_name"))
            .join(files_by_id, files_by_id.c.id == grants.c.thing)
            .join(_owner, _owner.c.id == files_by_id.c.owner)
            .outerjoin(_owner_person, _owner_person.c.principal_id == files_by_id.c.owner)
            .outerjoin(groups, groups.c.id == grants.c.group_id)
            .where(_ON_FILES, living(), held_by(who), files_by_id.c.owner != who)
        )
        if before is not None:
            query = query.where(grants.c.id < before)
        return [_as_shared(row) for row in self.db.execute(query.order_by(grants.c.id.desc()).limit(limit))]

    def give(self, file_id: UUID, to: Subject, grant: Grant, by: UUID, expires_at: datetime | None) -> tuple[Given, bool]:
        """Give it, or change what they were given before; and whether it is new."""
        mine = {"kind": ThingKind.FILE, "thing": file_id, "principal_id": to.person, "group_id": to.group}
        terms = {"level": int(grant), "given_by": by, "expires_at": expires_at, "given_at": func.now()}
        id = uuid7()
        statement = insert(grants).values(id=id, **mine, **terms)
        to_whom = "grants_to_a_person" if to.person is not None else "grants_to_a_group"
        upsert = statement.on_conflict_do_update(constraint=to_whom, set_=terms).returning(grants.c.id)
        kept: UUID = self.db.execute(upsert).scalar_one()
        return _as_given(self.db.execute(_given.where(grants.c.id == kept)).one()), kept == id

    def take(self, file_id: UUID, id: GrantId) -> Given | None:
        """Take a grant on the file away; what it was."""
        row = self.db.execute(_given.where(grants.c.thing == file_id, grants.c.id == id)).first()
        if row is None:
            return None
        self.db.execute(grants.delete().where(grants.c.id == id))
        return _as_given(row)

    def give_up(self, file_id: UUID, who: UUID) -> bool:
        """Their own grant on the file goes; False when they had none."""
        statement = grants.delete().where(_ON_FILES, grants.c.thing == file_id, grants.c.principal_id == who)
        return bool(self.db.execute(statement).rowcount)

    def managing_until(self, file_id: UUID, who: UUID) -> datetime | None:
        """When the last of their grants to manage the file ends; None: never."""
        theirs = (_ON_FILES, grants.c.thing == file_id, grants.c.level >= int(Grant.MANAGER), living(), held_by(who))
        query = select(func.bool_or(grants.c.expires_at.is_(None)), func.max(grants.c.expires_at)).where(*theirs)
        endless, last = self.db.execute(query).one()
        return None if endless else last

    def forget(self, file_id: UUID) -> None:
        """All that was given on a purged file."""
        self.db.execute(grants.delete().where(_ON_FILES, grants.c.thing == file_id))

    def owner(self, file_id: UUID) -> Named | None:
        """Whose file it is."""
        joined = files_by_id.join(_owner, _owner.c.id == files_by_id.c.owner)
        joined = joined.outerjoin(_owner_person, _owner_person.c.principal_id == _owner.c.id)
        query = select(_owner.c.id, _name(_owner, _owner_person).label("name")).select_from(joined)
        row = self.db.execute(query.where(files_by_id.c.id == file_id)).first()
        return None if row is None else Named(row.id, row.name)

    # Those to whom.

    def by_id(self, id: UUID, roles: frozenset[Role]) -> UUID | None:
        """A principal with one of these roles whose account is open."""
        return self._somebody(principals.c.id == id, roles)

    def by_email(self, key: str, roles: frozenset[Role]) -> UUID | None:
        """As `by_id`, by the address in the form that all ways to type it have."""
        return self._somebody(people.c.email_key == key, roles)

    def has_group(self, id: GroupId) -> bool:
        """Whether there is such a group."""
        return bool(self.db.execute(select(exists().where(groups.c.id == id))).scalar())

    def _somebody(self, who: Any, roles: frozenset[Role]) -> UUID | None:
        unexpired = or_(people.c.expires_at.is_(None), people.c.expires_at > func.now())
        person = and_(people.c.state == "active", unexpired, people.c.role.in_(roles))
        service = and_(principals.c.kind == SERVICE, principals.c.ended_at.is_(None), principals.c.role.in_(roles))
        joined = principals.outerjoin(people, people.c.principal_id == principals.c.id)
        query = select(principals.c.id).select_from(joined).where(who, or_(person, service))
        found: UUID | None = self.db.execute(query).scalar()
        return found


def _as_given(row: Row[Any]) -> Given:
    return Given(
        id=GrantId(row.id),
        level=level_of(row.level),
        person=None if row.principal_id is None else Named(row.principal_id, row.person_name),
        group=None if row.group_id is None else Named(row.group_id, row.group_name),
        given_by=None if row.given_by is None else Named(row.given_by, row.giver_name),
        given_at=row.given_at,
        expires_at=row.expires_at,
    )


def _as_shared(row: Row[Any]) -> SharedFile:
    return SharedFile(
        id=GrantId(row.id),
        file_id=row.thing,
        name=row.name,
        owner=Named(row.owner, row.owner_name),
        level=level_of(row.level),
        through=None if row.group_id is None else Named(row.group_id, row.group_name),
        given_at=row.given_at,
        expires_at=row.expires_at,
    )

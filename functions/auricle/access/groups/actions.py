"""Making, naming and ending groups, and who is in them."""

from __future__ import annotations

from uuid import UUID

from auricle.access.groups.model import Group, group_name
from auricle.access.groups.store import GroupStore
from auricle.access.model import Principal
from auricle.access.sharing.model import GroupId
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import Trail
from auricle.contract.ids import uuid7
from auricle.errors import Conflict, Denied, NotFound

TAKEN = "There is a group of that name already. Choose another name."


def create(store: GroupStore, trail: Trail, name: str) -> Group:
    """A new group, with nobody in it."""
    id = GroupId(uuid7())
    if not store.add(id, group_name(name)):
        raise Conflict(TAKEN)
    trail.record(EventKind.GROUP_CREATED, (SubjectKind.GROUP, id))
    return found(store, id)


def rename(store: GroupStore, trail: Trail, id: GroupId, name: str) -> Group:
    """Call a group otherwise."""
    own(store, id)
    if not store.rename(id, group_name(name)):
        raise Conflict(TAKEN)
    trail.record(EventKind.GROUP_UPDATED, (SubjectKind.GROUP, id))
    return found(store, id)


def end(store: GroupStore, trail: Trail, id: GroupId) -> None:
    """End a group; what was granted to it is granted to nobody by it any more."""
    found(store, id)
    store.drop(id)
    trail.record(EventKind.GROUP_DELETED, (SubjectKind.GROUP, id))


def put_member(store: GroupStore, trail: Trail, who: Principal, id: GroupId, person: UUID) -> None:
    """Put somebody into a group. Nobody puts themselves into one that things were granted to: it would open those to them."""
    own(store, id)
    if person == who.id and store.holds_grants(id):
        raise Denied("Things were granted to this group: ask another administrator to put you into it.")
    if store.put_member(id, person):
        trail.record(EventKind.GROUP_MEMBER_ADDED, (SubjectKind.USER, person), Details(group=id))


def drop_member(store: GroupStore, trail: Trail, id: GroupId, person: UUID) -> None:
    """Take somebody out of a group."""
    own(store, id)
    if not store.drop_member(id, person):
        raise NotFound("They are not in this group.")
    trail.record(EventKind.GROUP_MEMBER_REMOVED, (SubjectKind.USER, person), Details(group=id))


def found(store: GroupStore, id: GroupId) -> Group:
    """The group, or a sentence that there is none."""
    group = store.get(id)
    if group is None:
        raise NotFound("There is no such group.")
    return group


def own(store: GroupStore, id: GroupId) -> Group:
    """A group that is ours to change."""
    group = found(store, id)
    if group.external:
        raise Conflict("Another house says who is in this group, and what it is called. Change it there.")
    return group

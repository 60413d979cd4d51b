"""Making and ending service accounts."""

from __future__ import annotations

from auricle.access.model import Principal, PrincipalId
from auricle.access.services.model import ServiceAccount, ServiceAccountId, ServiceRole, checked_name
from auricle.access.services.store import ServiceStore
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import Trail
from auricle.contract.ids import uuid7
from auricle.errors import Conflict, NotFound


def create(store: ServiceStore, trail: Trail, name: str, role: ServiceRole) -> ServiceAccount:
    """A new service account, without any token yet."""
    made = store.add(ServiceAccountId(uuid7()), checked_name(name), role)
    if made is None:
        raise Conflict("There is a service account of that name already. Choose another name.")
    trail.record(EventKind.SERVICE_ACCOUNT_CREATED, (SubjectKind.USER, made.id), Details(role_after=role.value))
    return made


def end(store: ServiceStore, trail: Trail, id: ServiceAccountId) -> None:
    """End one for good, with all its tokens."""
    store.end(found(store, id))
    trail.record(EventKind.SERVICE_ACCOUNT_DELETED, (SubjectKind.USER, id))


def found(store: ServiceStore, id: ServiceAccountId) -> ServiceAccount:
    """The service account, or a sentence that there is none."""
    account = store.get(id)
    if account is None:
        raise NotFound("There is no such service account.")
    return account


def principal(store: ServiceStore, id: ServiceAccountId) -> Principal:
    """It as an owner of tokens."""
    account = found(store, id)
    return Principal(id=PrincipalId(account.id), name=account.name, roles=frozenset({account.role.role}), service=True)

"""Service accounts in the database: principals of a kind of their own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.dialects.postgresql import insert

from auricle.access.model import SERVICE, SERVICE_PREFIX
from auricle.access.services.model import ServiceAccount, ServiceAccountId, ServiceRole
from auricle.access.store import grants, group_members, principals, tokens
from auricle.contract.store import Store

_LIVING = (principals.c.kind == SERVICE, principals.c.ended_at.is_(None))


class ServiceStore(Store):
    """Service accounts that have not ended."""

    def add(self, id: ServiceAccountId, name: str, role: ServiceRole) -> ServiceAccount | None:
        """A new one; None when the name is taken."""
        values = {"id": id, "kind": SERVICE, "name": SERVICE_PREFIX + name, "role": role.value}
        statement = insert(principals).values(values).on_conflict_do_nothing().returning(*principals.c)
        row = self.db.execute(statement).first()
        return None if row is None else _account(row)

    def get(self, id: ServiceAccountId) -> ServiceAccount | None:
        """One of them."""
        row = self.db.execute(select(principals).where(*_LIVING, principals.c.id == id)).first()
        return None if row is None else _account(row)

    def page(self, limit: int, before: ServiceAccountId | None) -> list[ServiceAccount]:
        """Newest first."""
        query = select(principals).where(*_LIVING)
        if before is not None:
            query = query.where(principals.c.id < before)
        return [_account(row) for row in self.db.execute(query.order_by(principals.c.id.desc()).limit(limit))]

    def end(self, account: ServiceAccount) -> None:
        """Its tokens and grants are worth nothing from now on, and its name is free; what it owns stays as it is."""
        name = f"{SERVICE_PREFIX}{account.name}:{account.id}"
        self.db.execute(principals.update().where(principals.c.id == account.id).values(ended_at=func.now(), name=name))
        self.db.execute(
            tokens.update()
            .where(tokens.c.principal_id == account.id, tokens.c.revoked_at.is_(None))
            .values(revoked_at=func.now())
        )
        self.db.execute(grants.delete().where(grants.c.principal_id == account.id))
        self.db.execute(group_members.delete().where(group_members.c.principal_id == account.id))


def _account(row: Row[Any]) -> ServiceAccount:
    return ServiceAccount(
        id=ServiceAccountId(row.id),
        name=row.name.removeprefix(SERVICE_PREFIX),
        role=ServiceRole(row.role),
        created_at=row.created_at,
    )

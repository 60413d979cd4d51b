"""Principals and their tokens."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, Column, DateTime, ForeignKey, LargeBinary, Table, Text, Uuid, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from auricle.access.model import Principal, PrincipalId, Token, TokenId
from auricle.contract.store import Store
from auricle.schema import metadata

principals = Table(
    "principals",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),  # local, until the setup code turns it into a person
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
tokens = Table(
    "tokens",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("principal_id", Uuid, ForeignKey("principals.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True)),
    Column("last_used_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
)
USED_EVERY = timedelta(minutes=1)
"""How exact `last_used_at` is: a write per request would be a lot of writing for nothing."""


class TokenStore(Store):
    """Credentials."""

    def principal_named(self, id: PrincipalId, kind: str, name: str) -> Principal:
        """The principal of that name, made now if there is none."""
        self.db.execute(insert(principals).values(id=id, kind=kind, name=name).on_conflict_do_nothing())
        row = self.db.execute(select(principals).where(principals.c.name == name)).one()
        return Principal(id=row.id, name=row.name)

    def by_digest(self, digest: bytes) -> tuple[Principal, datetime | None] | None:
        """Whose token it is, while it is valid; and when it was last used."""
        query = select(tokens, principals.c.name.label("owner")).join(principals).where(tokens.c.digest == digest)
        query = query.where(tokens.c.revoked_at.is_(None), or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > func.now()))
        row = self.db.execute(query).first()
        if row is None:
            return None
        scopes = frozenset(row.scopes) if row.scopes else None
        return Principal(id=row.principal_id, name=row.owner, scopes=scopes, token_id=row.id), row.last_used_at

    def used(self, id: TokenId) -> None:
        """Note the use, to the minute."""
        recent = tokens.c.last_used_at > func.now() - USED_EVERY
        self.db.execute(
            tokens.update()
            .where(tokens.c.id == id, or_(tokens.c.last_used_at.is_(None), ~recent))
            .values(last_used_at=func.now())
        )

    def add(self, token: Token, owner: PrincipalId, digest: bytes) -> Token:
        """Keep a new token, by its digest."""
        row = self.db.execute(
            tokens.insert()
            .values(
                id=token.id,
                principal_id=owner,
                name=token.name,
                digest=digest,
                hint=token.hint,
                scopes=list(token.scopes),
                expires_at=token.expires_at,
            )
            .returning(*tokens.c)
        ).one()
        return _token(row)

    def of(self, owner: PrincipalId, limit: int, before: TokenId | None) -> list[Token]:
        """Tokens that are not revoked, newest first."""
        query = select(tokens).where(tokens.c.principal_id == owner, tokens.c.revoked_at.is_(None))
        if before is not None:
            query = query.where(tokens.c.id < before)
        return [_token(row) for row in self.db.execute(query.order_by(tokens.c.id.desc()).limit(limit))]

    def revoke(self, owner: PrincipalId, id: TokenId) -> bool:
        """End it; False when there is no such token."""
        statement = tokens.update().where(tokens.c.id == id, tokens.c.principal_id == owner, tokens.c.revoked_at.is_(None))
        return bool(self.db.execute(statement.values(revoked_at=func.now())).rowcount)


def _token(row: Any) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        hint=row.hint,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )

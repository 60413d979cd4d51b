"""Personal API tokens over HTTP."""

from __future__ import annotations

from datetime import datetime

import msgspec

from auricle.access import actions
from auricle.access.model import Principal, Token, TokenId
from auricle.access.store import TokenStore
from auricle.contract.choices import Permission
from auricle.contract.cursors import uuid_cursor
from auricle.contract.function import route
from auricle.contract.http import Body, Page, PageQuery, Reply


class NewToken(Body, frozen=True, kw_only=True):
    """A token to make. No `scopes`: everything that the maker may do. No `expires_in_days`: until it is revoked."""

    name: str
    scopes: tuple[str, ...] = ()
    expires_in_days: float | None = None


class MadeToken(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to making one: the only time `token` is told."""

    id: TokenId
    name: str
    token: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None


@route("GET /api/tokens", permission=Permission.TOKENS)
def list_tokens(query: PageQuery, who: Principal, store: TokenStore) -> Page[Token]:
    """The caller's tokens, newest first; never their secrets."""
    return uuid_cursor(query, lambda limit, before: store.of(who.id, limit, TokenId(before) if before else None))


@route("POST /api/tokens", permission=Permission.TOKENS, status=201)
def create_token(new: NewToken, who: Principal, store: TokenStore) -> Reply[MadeToken]:
    """Make a token. Its secret is in this answer and nowhere else."""
    token, secret = actions.create_token(store, who, new.name, new.scopes, new.expires_in_days)
    made = MadeToken(
        id=token.id,
        name=token.name,
        token=secret,
        scopes=token.scopes,
        created_at=token.created_at,
        expires_at=token.expires_at,
    )
    return Reply(made, status=201, location=f"/api/tokens/{token.id}")


@route("DELETE /api/tokens/{token_id}", permission=Permission.TOKENS)
def revoke_token(token_id: TokenId, who: Principal, store: TokenStore) -> None:
    """Revoke a token at once."""
    actions.revoke_token(store, who, token_id)

"""Signing in with a token, and making and ending tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from auricle.access.model import TOKEN_PREFIX, Principal, PrincipalId, Token, TokenId, digest, new_secret
from auricle.access.store import TokenStore
from auricle.contract.choices import SCOPES
from auricle.contract.ids import uuid7
from auricle.errors import Denied, Invalid, NotFound, Unauthenticated

LOCAL = "local"
"""The one principal there is until identity exists; the setup code will turn it into a person."""
HOW = "Send the header Authorization: Bearer aur_…; `auricle up` wrote the owner's token to the file owner-token."


def authenticate(authorization: str | None, store: TokenStore) -> Principal:
    """Who a request's `Authorization` header stands for."""
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated(f"This needs a token. {HOW}")
    if not secret.startswith(TOKEN_PREFIX):
        raise Unauthenticated(f"That is not one of our tokens: they begin with {TOKEN_PREFIX}. {HOW}")
    found = store.by_digest(digest(secret.strip()))
    if found is None:
        raise Unauthenticated("This token is unknown, revoked or expired. Make a new one: POST /api/tokens.")
    principal, _ = found
    assert principal.token_id is not None
    store.used(principal.token_id)
    return principal


def create_owner(store: TokenStore) -> tuple[Principal, str]:
    """The local owner and a fresh unscoped token for it."""
    owner = store.principal_named(PrincipalId(uuid7()), LOCAL, LOCAL)
    _, secret = create_token(store, owner, "owner", (), None)
    return owner, secret


def create_token(
    store: TokenStore, owner: Principal, name: str, scopes: tuple[str, ...], expires_in_days: float | None
) -> tuple[Token, str]:
    """A token and its secret, which is told this once."""
    name = name.strip()
    if not name or len(name) > 100:
        raise Invalid("Give the token a name of 1 to 100 characters, so that you know later what it is for.", field="name")
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise Invalid(f"There is no scope {', '.join(unknown)}. Scopes are {', '.join(SCOPES)}.", field="scopes")
    if owner.scopes is not None and not (scopes and set(scopes) <= owner.scopes):
        raise Denied("A token cannot make one that may do more than itself. Name scopes that it has.")
    if expires_in_days is not None and not 0 < expires_in_days <= 3660:
        raise Invalid("expires_in_days is above 0 and at most 3660.", field="expires_in_days")
    secret = new_secret()
    now = datetime.now(UTC)
    token = Token(
        id=TokenId(uuid7()),
        name=name,
        hint=secret[-4:],
        scopes=tuple(sorted(set(scopes))),
        created_at=now,
        expires_at=now + timedelta(days=expires_in_days) if expires_in_days else None,
    )
    return store.add(token, owner.id, digest(secret)), secret


def revoke_token(store: TokenStore, owner: Principal, id: TokenId) -> None:
    """End a token at once."""
    if not store.revoke(owner.id, id):
        raise NotFound("There is no such token, or it is revoked already.")

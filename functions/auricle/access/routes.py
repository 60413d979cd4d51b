"""Who may: what was granted on files, personal API tokens, and service accounts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec

from auricle.access import actions
from auricle.access.model import Principal, Token, TokenId
from auricle.access.permissions import Grant
from auricle.access.services import actions as services
from auricle.access.services.model import ServiceAccount, ServiceAccountId, ServiceRole
from auricle.access.services.store import ServiceStore
from auricle.access.sharing import actions as sharing
from auricle.access.sharing.model import Access, Given, GrantId, GroupId, Level, SharedFile
from auricle.access.sharing.store import GrantStore
from auricle.access.store import TokenStore
from auricle.admin.audit.trail import Trail
from auricle.contract.choices import Guarded, Permission
from auricle.contract.cursors import uuid_cursor
from auricle.contract.function import route
from auricle.contract.http import Body, Page, PageQuery, Reply
from auricle.files.model import FileId

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""RFC 3339 with a time zone: `2025-01-31T00:00:00Z`."""


class NewToken(Body, frozen=True, kw_only=True):
    """A token to make. No `scopes`: everything that its owner may do now. No `expires_in_days`: until it is revoked."""

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


class NewGrant(Body, frozen=True, kw_only=True):
    """What to give on a file: to a `person` (the id or the e-mail address of somebody here) or to a `group`."""

    level: Level
    person: str | None = None
    group: GroupId | None = None
    expires_at: Instant | None = None


class NewServiceAccount(Body, frozen=True, kw_only=True):
    """A service account to make."""

    name: str
    role: ServiceRole = ServiceRole.MEMBER


# Grants on files


@route("GET /api/files/{file_id}/access", permission=Permission.READ)
def get_access(file_id: FileId, held: Grant, grants: GrantStore) -> Access:
    """What the caller may on a file, and whose it is."""
    return Access(level=held.name.lower(), owner=sharing.owner(file_id, grants))


@route("GET /api/files/{file_id}/grants", permission=Permission.SHARE)
def list_grants(file_id: FileId, query: PageQuery, grants: GrantStore) -> Page[Given]:
    """Who was given what on a file, newest first."""
    return uuid_cursor(query, lambda limit, before: grants.of_file(file_id, limit, GrantId(before) if before else None))


@route("PUT /api/files/{file_id}/grants", permission=Permission.SHARE, guarded=Guarded.SHARE)
def give_grant(file_id: FileId, new: NewGrant, who: Principal, held: Grant, grants: GrantStore, trail: Trail) -> Given:
    """Share a file with somebody, or change what they were given on it before.

    Whoever manages a file only for a while gives nothing beyond that.
    """
    return sharing.give(
        file_id,
        who,
        held,
        grants,
        trail,
        person=new.person,
        group=new.group,
        level=new.level,
        expires_at=new.expires_at,
        now=datetime.now(UTC),
    )


@route("DELETE /api/files/{file_id}/grants/{grant_id}", permission=Permission.SHARE)
def take_grant(file_id: FileId, grant_id: GrantId, grants: GrantStore, trail: Trail) -> None:
    """Take away what somebody was given on a file, at once."""
    sharing.take(file_id, grant_id, grants, trail)


@route("GET /api/shared-with-me", permission=Permission.READ)
def list_shared(query: PageQuery, who: Principal, grants: GrantStore) -> Page[SharedFile]:
    """Files that others shared with the caller, and as what, the last given first."""
    return uuid_cursor(query, lambda limit, before: grants.of_person(who.id, limit, GrantId(before) if before else None))


@route("DELETE /api/shared-with-me/{file_id}", permission=Permission.ACCOUNT)
def give_up_grant(file_id: FileId, who: Principal, grants: GrantStore, trail: Trail) -> None:
    """Give back what one was given on a file."""
    sharing.give_up(file_id, who, grants, trail)


# Tokens


@route("GET /api/tokens", permission=Permission.TOKENS)
def list_tokens(query: PageQuery, who: Principal, store: TokenStore) -> Page[Token]:
    """The caller's tokens, newest first; never their secrets."""
    return uuid_cursor(query, lambda limit, before: store.of(who.id, limit, TokenId(before) if before else None))


@route("POST /api/tokens", permission=Permission.MAKE_TOKENS, guarded=Guarded.TOKEN_CREATE, status=201)
def create_token(new: NewToken, who: Principal, store: TokenStore, trail: Trail) -> Reply[MadeToken]:
    """Make a token. Its secret is in this answer and nowhere else.

    It never may more than its owner at that moment.
    """
    return _made(new, who, store, trail, "/api/tokens")


@route("DELETE /api/tokens/{token_id}", permission=Permission.TOKENS)
def revoke_token(token_id: TokenId, who: Principal, store: TokenStore, trail: Trail) -> None:
    """Revoke a token at once."""
    actions.revoke_token(store, who, token_id, trail)


# Service accounts


@route("GET /api/service-accounts", permission=Permission.USERS)
def list_service_accounts(query: PageQuery, accounts: ServiceStore) -> Page[ServiceAccount]:
    """The programs that have an account here, newest first."""
    return uuid_cursor(query, lambda limit, before: accounts.page(limit, ServiceAccountId(before) if before else None))


@route("POST /api/service-accounts", permission=Permission.USERS, status=201)
def create_service_account(new: NewServiceAccount, accounts: ServiceStore, trail: Trail) -> Reply[ServiceAccount]:
    """Make an account for a program. It has no password and no sessions; make a token for it."""
    return Reply(services.create(accounts, trail, new.name, new.role), status=201)


@route("DELETE /api/service-accounts/{service_account_id}", permission=Permission.USERS)
def end_service_account(service_account_id: ServiceAccountId, accounts: ServiceStore, trail: Trail) -> None:
    """End a program's account for good, with all its tokens. What it owns stays with those it was shared with."""
    services.end(accounts, trail, service_account_id)


@route("GET /api/service-accounts/{service_account_id}/tokens", permission=Permission.USERS)
def list_service_tokens(
    service_account_id: ServiceAccountId, query: PageQuery, accounts: ServiceStore, store: TokenStore
) -> Page[Token]:
    """A program's tokens, newest first; never their secrets."""
    owner = services.principal(accounts, service_account_id)
    return uuid_cursor(query, lambda limit, before: store.of(owner.id, limit, TokenId(before) if before else None))


@route(
    "POST /api/service-accounts/{service_account_id}/tokens",
    permission=Permission.USERS,
    guarded=Guarded.TOKEN_CREATE,
    status=201,
)
def create_service_token(
    service_account_id: ServiceAccountId, new: NewToken, accounts: ServiceStore, store: TokenStore, trail: Trail
) -> Reply[MadeToken]:
    """Make a token for a program. Its secret is in this answer and nowhere else."""
    owner = services.principal(accounts, service_account_id)
    return _made(new, owner, store, trail, f"/api/service-accounts/{service_account_id}/tokens")


@route("DELETE /api/service-accounts/{service_account_id}/tokens/{token_id}", permission=Permission.USERS)
def revoke_service_token(
    service_account_id: ServiceAccountId, token_id: TokenId, accounts: ServiceStore, store: TokenStore, trail: Trail
) -> None:
    """Revoke a program's token at once."""
    actions.revoke_token(store, services.principal(accounts, service_account_id), token_id, trail)


def _made(new: NewToken, owner: Principal, store: TokenStore, trail: Trail, place: str) -> Reply[MadeToken]:
    token, secret = actions.create_token(store, owner, new.name, new.scopes, new.expires_in_days)
    actions.tell_created(token, owner, trail)
    made = MadeToken(
        id=token.id,
        name=token.name,
        token=secret,
        scopes=token.scopes,
        created_at=token.created_at,
        expires_at=token.expires_at,
    )
    return Reply(made, status=201, location=f"{place}/{token.id}", secret=True)

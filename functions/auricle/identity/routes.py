"""Signing in and out, one's own account, and the keys that sign-ins are checked with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from auricle.access.model import Asking, Principal, PrincipalId
from auricle.access.sessions import Limits, Session, SessionId
from auricle.admin.audit.trail import Trail
from auricle.contract.choices import Guarded, Permission
from auricle.contract.cursors import uuid_cursor
from auricle.contract.function import route
from auricle.contract.http import Body, Page, PageQuery, Reply
from auricle.contract.store import Units
from auricle.identity import actions
from auricle.identity.answers import FactorOwed, SignedIn, renewed, told
from auricle.identity.entering import Making
from auricle.identity.federation.providers import Elsewhere
from auricle.identity.model import SetupCode
from auricle.identity.passwords import Passwords, Profile
from auricle.identity.store import IdentityStore
from auricle.ports.ephemeral import Ephemeral
from auricle.ports.hashing import PasswordHasher
from auricle.ports.signing import TokenSigner


class Setup(Body, frozen=True, kw_only=True):
    """The first owner. `code` is the setup code of this installation."""

    code: str
    email: str
    display_name: str
    password: str


class SignIn(Body, frozen=True, kw_only=True):
    """E-mail address and password."""

    email: str
    password: str


class NewPassword(Body, frozen=True, kw_only=True):
    """Another password, and the current one as a proof."""

    current_password: str
    password: str


class SignedOutHere(msgspec.Struct, frozen=True, kw_only=True):
    """The browser is still signed in at the provider: send it to `logout_url` to sign out there, too."""

    logout_url: str


class OwnSession(msgspec.Struct, frozen=True, kw_only=True):
    """One of the caller's sign-ins. `device` is what it says of itself, `place` the address it was last renewed from."""

    id: SessionId
    device: str
    place: str
    began_at: datetime
    seen_at: datetime
    ends_at: datetime
    current: bool


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. `email` is None for the installation's own token, until somebody is its first owner."""

    id: PrincipalId
    name: str
    email: str | None
    roles: tuple[str, ...]
    must_change_password: bool
    session_id: UUID | None = None


@route("POST /api/setup", permission=Permission.PUBLIC, guarded=Guarded.SETUP, status=201, also=(200,))
def set_up(
    setup: Setup,
    asking: Asking,
    units: Units,
    hasher: PasswordHasher,
    passwords: Passwords,
    code: SetupCode,
    making: Making,
) -> Reply[SignedIn | FactorOwed]:
    """Make the first owner, with the setup code, and sign them in. It works once."""
    issued = actions.set_up(
        units,
        hasher,
        passwords,
        making,
        code,
        asking,
        presented=setup.code,
        email=setup.email,
        display_name=setup.display_name,
        password=setup.password,
    )
    return told(issued)


@route("POST /api/session", permission=Permission.PUBLIC, guarded=Guarded.LOGIN, status=201, also=(200,))
def sign_in(
    given: SignIn,
    asking: Asking,
    units: Units,
    hasher: PasswordHasher,
    profile: Profile,
    making: Making,
) -> Reply[SignedIn | FactorOwed]:
    """Sign in with e-mail address and password. Who owes a second factor is told so with 200, and is not signed in yet."""
    return told(actions.sign_in(units, hasher, profile, making, asking, given.email, given.password))


@route("POST /api/session/refresh", permission=Permission.PUBLIC, guarded=Guarded.REFRESH)
def renew_session(asking: Asking, units: Units, making: Making) -> Reply[SignedIn]:
    """A new access token for the refresh token in the cookie, which is replaced."""
    return renewed(actions.renew_session(units, making, asking))


@route("DELETE /api/session", permission=Permission.ACCOUNT, guarded=Guarded.LOGOUT, status=204, also=(200,))
def sign_out(who: Principal, elsewhere: Elsewhere) -> Reply[SignedOutHere | None]:
    """Sign out here. Who came from a provider that can be signed out of is told where (200)."""
    cleared, url = actions.sign_out(elsewhere, who)
    value = SignedOutHere(logout_url=url) if url is not None else None
    return Reply(value, status=204 if value is None else 200, cookies=(cleared,))


@route("DELETE /api/sessions", permission=Permission.ACCOUNT, guarded=Guarded.LOGOUT, status=204)
def sign_out_everywhere(who: Principal, store: IdentityStore, making: Making) -> Reply[None]:
    """Sign out everywhere, here too: all of the caller's sign-ins end at once."""
    return Reply(None, status=204, cookies=(actions.sign_out_everywhere(store, making, who),))


@route("GET /api/sessions", permission=Permission.ACCOUNT, guarded=Guarded.DEFAULT)
def list_sessions(
    query: PageQuery, who: Principal, store: IdentityStore, ephemeral: Ephemeral, limits: Limits
) -> Page[OwnSession]:
    """Where the caller is signed in, newest first."""
    living = [_own(session, who) for session in actions.living_sessions(store, ephemeral, limits, who)]
    return uuid_cursor(query, lambda limit, before: [s for s in living if before is None or s.id < before][:limit])


@route("DELETE /api/sessions/{session_id}", permission=Permission.ACCOUNT, guarded=Guarded.DEFAULT)
def end_session(session_id: SessionId, who: Principal, store: IdentityStore, trail: Trail) -> None:
    """End one of the caller's sign-ins at once."""
    actions.end_session(store, trail, who, session_id)


@route("GET /api/me", permission=Permission.SIGNED_IN, guarded=Guarded.DEFAULT)
def who_am_i(who: Principal, store: IdentityStore) -> Me:
    """Who the credential stands for."""
    account = store.account(who.id)
    return Me(
        id=who.id,
        name=who.name,
        email=account.email if account else None,
        roles=tuple(sorted(who.roles)),
        must_change_password=who.must_change,
        session_id=who.session_id,
    )


@route("PUT /api/me/password", permission=Permission.ACCOUNT_SECURITY, guarded=Guarded.PASSWORD_CHANGE)
def change_password(
    new: NewPassword,
    asking: Asking,
    who: Principal,
    store: IdentityStore,
    hasher: PasswordHasher,
    passwords: Passwords,
    making: Making,
) -> Reply[SignedIn]:
    """Choose another password. All other sign-ins end; this one goes on with the tokens of the answer."""
    issued = actions.change_password(store, hasher, passwords, making, who, asking, new.current_password, new.password)
    return renewed(issued)


@route("GET /.well-known/jwks.json", permission=Permission.PUBLIC, guarded=Guarded.PUBLIC)
def published_keys(signer: TokenSigner) -> Reply[dict[str, Any]]:
    """The public keys of our access tokens (RFC 7517)."""
    document = msgspec.json.decode(signer.keys().document(datetime.now(UTC)), type=dict[str, Any])
    return Reply(document, headers={"Cache-Control": "public, max-age=60"})


def _own(session: Session, who: Principal) -> OwnSession:
    return OwnSession(
        id=session.id,
        device=session.client.device,
        place=session.client.place,
        began_at=session.began,
        seen_at=session.seen,
        ends_at=session.ends,
        current=session.id == who.session_id,
    )

"""Signing in by another house: providers, directories, certificates and a proxy; and what of it is linked to one's account."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from auricle.access.model import Asking, Principal
from auricle.access.sameorigin import Carrier, require_proof
from auricle.admin.audit.trail import Trail
from auricle.contract.choices import Guarded, Permission
from auricle.contract.function import route
from auricle.contract.http import Body, Form, Query, Reply
from auricle.errors import Unauthenticated
from auricle.identity.answers import FactorOwed, SignedIn, told
from auricle.identity.factors.store import FactorStore
from auricle.identity.federation import actions
from auricle.identity.federation.here import Here
from auricle.identity.federation.model import IdentityId, LinkedIdentity
from auricle.identity.federation.providers import Elsewhere
from auricle.identity.federation.store import FederationStore
from auricle.identity.methods.model import OfferedWay, Way
from auricle.identity.methods.reading import Methods
from auricle.identity.store import IdentityStore


class OfferedWays(msgspec.Struct, frozen=True):
    """The ways to sign in, in the order in which to show them."""

    items: list[OfferedWay]


class Leaving(Query, frozen=True, kw_only=True):
    """`next`: the page to be on afterwards, a path of ours. `invitation`: the secret of one, for who has no account yet."""

    next: str | None = None
    invitation: str | None = None


class LogoutToken(Form, frozen=True, kw_only=True):
    """What a provider sends behind the browser's back."""

    logout_token: str


class DirectorySignIn(Body, frozen=True, kw_only=True):
    """Login and password of a directory; `invitation` for who has no account yet."""

    login: str
    password: str
    invitation: str | None = None


class Invited(Body, frozen=True, kw_only=True):
    """`invitation`: the secret of one, for who has no account yet."""

    invitation: str | None = None


class DirectoryLogin(Body, frozen=True, kw_only=True):
    """Login and password of a directory."""

    login: str
    password: str


class LinkBegun(msgspec.Struct, frozen=True, kw_only=True):
    """Where to send the browser; it comes back to the page that was asked for."""

    url: str


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """An account of another house by which the caller can sign in."""

    id: IdentityId
    way: Way
    provider: str
    issuer: str
    added_at: datetime
    last_seen_at: datetime


class Identities(msgspec.Struct, frozen=True):
    """All of the caller's, the newest first."""

    items: list[Identity]


@route("GET /api/sign-in", permission=Permission.PUBLIC, guarded=Guarded.PUBLIC, function="identity")
def list_ways(methods: Methods) -> OfferedWays:
    """How people can sign in here."""
    return OfferedWays(methods.offers())


@route("GET /api/sign-in/{provider}", permission=Permission.PUBLIC, guarded=Guarded.OIDC_BEGIN, status=303, function="identity")
def leave(provider: str, leaving: Leaving, elsewhere: Elsewhere) -> Reply[None]:
    """Leave for a provider, to come back signed in. For a browser to follow."""
    sent = elsewhere.begin(provider, leaving.next, invitation=leaving.invitation)
    return Reply(None, status=303, location=sent.url, cookies=(sent.cookie,))


@route(
    "GET /api/sign-in/{provider}/callback",
    permission=Permission.PUBLIC,
    guarded=Guarded.OIDC_CALLBACK,
    status=303,
    function="identity",
)
def come_back(provider: str, asking: Asking, elsewhere: Elsewhere) -> Reply[None]:
    """Where a provider sends the browser back. The page it leads to gets its tokens by POST /api/session/refresh.

    Who owes a second factor is led to the page for it, which asks POST /api/session/owed.
    """
    landed = elsewhere.finish(provider, asking)
    return Reply(None, status=303, location=landed.url, cookies=landed.cookies)


@route(
    "POST /api/sign-in/{provider}/back-channel-logout",
    permission=Permission.PUBLIC,
    guarded=Guarded.OIDC_BACKCHANNEL,
    function="identity",
)
def back_channel_logout(provider: str, said: LogoutToken, elsewhere: Elsewhere) -> Reply[None]:
    """Where a provider tells that somebody signed out there (OpenID Connect Back-Channel Logout 1.0)."""
    elsewhere.signed_out_there(provider, said.logout_token)
    return Reply(None, status=200)


@route("POST /api/session/owed", permission=Permission.PUBLIC, guarded=Guarded.LOGIN, function="identity")
def owed(asking: Asking, elsewhere: Elsewhere) -> Reply[SignedIn | FactorOwed]:
    """What the sign-in that came back in this browser still owes. It is told once."""
    require_proof(Carrier.COOKIE, asking.method, asking.headers, elsewhere.making.site.origins(asking))
    pending = elsewhere.owed(asking)
    if pending is None:
        raise Unauthenticated("No sign-in waits for a second factor in this browser. Begin again.")
    return told(pending)


@route(
    "POST /api/session/directory/{directory}",
    permission=Permission.PUBLIC,
    guarded=Guarded.LOGIN,
    status=201,
    also=(200,),
    function="identity",
)
def sign_in_by_directory(directory: str, given: DirectorySignIn, asking: Asking, here: Here) -> Reply[SignedIn | FactorOwed]:
    """Sign in with the login and password of a directory."""
    return told(here.by_directory(directory, asking, given.login, given.password, given.invitation))


@route(
    "POST /api/session/certificate",
    permission=Permission.PUBLIC,
    guarded=Guarded.LOGIN,
    status=201,
    also=(200,),
    function="identity",
)
def sign_in_by_certificate(given: Invited, asking: Asking, here: Here) -> Reply[SignedIn | FactorOwed]:
    """Sign in with the certificate that the browser has shown to the gateway."""
    return told(here.by_certificate(asking, given.invitation))


@route(
    "POST /api/session/header",
    permission=Permission.PUBLIC,
    guarded=Guarded.LOGIN,
    status=201,
    also=(200,),
    function="identity",
)
def sign_in_by_header(given: Invited, asking: Asking, here: Here) -> Reply[SignedIn | FactorOwed]:
    """Sign in as a proxy in front of us says; only where that is switched on, and only from there."""
    return told(here.by_header(asking, given.invitation))


@route("GET /api/me/identities", permission=Permission.ACCOUNT, guarded=Guarded.DEFAULT, function="identity")
def list_identities(who: Principal, store: FederationStore) -> Identities:
    """The accounts of other houses by which the caller can sign in."""
    return Identities([_shown(one) for one in store.of(who.id)])


@route(
    "POST /api/me/identities/{identity}",
    permission=Permission.ACCOUNT_SECURITY,
    guarded=Guarded.OIDC_BEGIN,
    function="identity",
)
def begin_link(identity: str, leaving: Leaving, who: Principal, elsewhere: Elsewhere) -> Reply[LinkBegun]:
    """Begin to link an account of a provider, which is named. Follow `url` in the same browser, and sign in there anew."""
    sent = elsewhere.begin(identity, leaving.next, who=who)
    return Reply(LinkBegun(url=sent.url), cookies=(sent.cookie,), secret=True)


@route(
    "POST /api/me/identities/directory/{directory}",
    permission=Permission.ACCOUNT_SECURITY,
    guarded=Guarded.PASSWORD_CHANGE,
    status=201,
    function="identity",
)
def link_directory(directory: str, given: DirectoryLogin, asking: Asking, who: Principal, here: Here) -> Identity:
    """Link one's account of a directory."""
    return _shown(here.link_directory(directory, asking, who, given.login, given.password))


@route(
    "POST /api/me/identities/certificate",
    permission=Permission.ACCOUNT_SECURITY,
    guarded=Guarded.PASSWORD_CHANGE,
    status=201,
    function="identity",
)
def link_certificate(asking: Asking, who: Principal, here: Here) -> Identity:
    """Link the certificate that the browser has shown to the gateway."""
    return _shown(here.link_certificate(asking, who))


@route(
    "DELETE /api/me/identities/{identity}",
    permission=Permission.ACCOUNT_SECURITY,
    guarded=Guarded.FACTOR_ENROL,
    function="identity",
)
def unlink(identity: IdentityId, who: Principal, store: IdentityStore, factors: FactorStore, trail: Trail) -> None:
    """Unlink one; sign-ins that began by it end. The only way to sign in stays."""
    passkeys = any(one.passkey.passwordless for one in factors.passkeys(who.id))
    actions.unlink(store, trail, who, identity, passkeys=passkeys, now=datetime.now(UTC))


def _shown(one: LinkedIdentity) -> Identity:
    return Identity(
        id=one.id,
        way=one.way,
        provider=one.provider,
        issuer=one.issuer,
        added_at=one.added_at,
        last_seen_at=one.last_seen_at,
    )

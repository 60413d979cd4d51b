"""Signing in through another house: what Auricle asks of an OpenID Connect provider, and the values that cross.

One `OidcProvider` per configured provider, several at once; `OidcProviders` hands them out by their connection.
Sources: OpenID Connect Core, Discovery, RP-Initiated Logout and Back-Channel Logout 1.0; RFC 7636 (PKCE), RFC 9207 (mix-up),
RFC 9700 (best current practice). NIST SP 800-53: IA-2, IA-8 (identities of others), SC-23 (session authenticity).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import msgspec


class SigningAlgorithm(StrEnum):
    """How a provider may sign. Nothing symmetric and no `none`: those cannot even be configured."""

    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    EDDSA = "EdDSA"


class ClientAuthentication(StrEnum):
    """How Auricle proves to the provider that it is the registered client."""

    BASIC = "client_secret_basic"
    POST = "client_secret_post"
    NONE = "none"  # a public client: PKCE alone


class Refusal(StrEnum):
    """Which check did not hold; the `reason` member of the errors raised here, for the audit log and for tests."""

    STATE = "state"
    ISSUER = "issuer"
    PROVIDER_REFUSED = "provider-refused"
    REPEATED = "repeated-parameter"
    CODE = "code"
    CLIENT = "client"
    ENDED = "ended"
    NO_ID_TOKEN = "no-id-token"  # noqa: S105 - the name of a check
    MALFORMED = "malformed"
    KIND = "kind"
    ALGORITHM = "algorithm"
    KEY = "key"
    SIGNATURE = "signature"
    AUDIENCE = "audience"
    AUTHORIZED_PARTY = "authorized-party"
    EXPIRED = "expired"
    NOT_YET = "not-yet-valid"
    NONCE = "nonce"
    HASH = "access-token-hash"
    SUBJECT = "subject"
    SIGN_IN_AGE = "sign-in-age"
    EVENT = "event"
    CLAIM = "claim"


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach one provider, and as whom. Hashable, so that providers and their caches are found by it.

    `redirect_uris` and `post_logout_redirect_uris`: the only ones ever sent, compared character by character.
    `groups_claim`: a claim's name, or a dotted path into one (`realm_access.roles`).
    `leeway` in seconds, for clocks that differ. `ca_pem`: the only authorities trusted for this provider (none: the system's).
    """

    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    authentication: ClientAuthentication = ClientAuthentication.BASIC
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    algorithms: tuple[SigningAlgorithm, ...] = (SigningAlgorithm.ES256, SigningAlgorithm.PS256, SigningAlgorithm.RS256)
    groups_claim: str = "groups"
    ask_userinfo: bool = True
    leeway: int = 60
    ca_pem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Authorization:
    """Where to send the browser, and what to keep beside its cookie until it comes back."""

    url: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What was kept when the browser left. `max_age`: seconds within which the person must have proved themselves there."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    redirect_uri: str
    max_age: int | None = None


@dataclass(frozen=True, kw_only=True)
class Callback:
    """What the browser brought back: the parameters of the authorization response, each at most once."""

    state: str | None = None
    code: str | None = field(default=None, repr=False)
    iss: str | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExternalIdentity:
    """A person as the provider vouches for them. Only (`issuer`, `subject`) names them; an e-mail address never does.

    `email_verified` is true only where the provider said so. `auth_time` in seconds since 1970.
    `id_token` is for logging out there, never a credential here.
    """

    issuer: str
    subject: str
    email: str | None = None
    email_verified: bool = False
    name: str | None = None
    groups: tuple[str, ...] = ()
    sid: str | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    auth_time: int | None = None
    id_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """Who came, and the token that asks again later whether they are still welcome there (keep it encrypted)."""

    identity: ExternalIdentity
    refresh_token: str | None = field(default=None, repr=False)


class LoggedOut(msgspec.Struct, frozen=True, kw_only=True):
    """What a back-channel logout ends: the session `sid`, or every session of `subject` when no `sid` is named.

    The caller refuses a `jti` it has seen before, and remembers it until `expires_at` (seconds since 1970).
    """

    issuer: str
    subject: str | None
    sid: str | None
    jti: str
    expires_at: int


class CredentialAnswer(StrEnum):
    """What the provider's token endpoint said to our client id and secret."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNCLEAR = "unclear"


class ProviderFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says of itself, for testing a connection. Empty tuples: it does not say."""

    issuer: str
    signs_with: tuple[str, ...]
    pkce_methods: tuple[str, ...]
    authentication_methods: tuple[str, ...]
    scopes: tuple[str, ...]
    usable_keys: int
    names_itself: bool
    userinfo: bool
    logout: bool
    back_channel_logout: bool
    credentials: CredentialAnswer


class OidcProvider(Protocol):
    """One provider. Safe for threads.

    `Unauthenticated` (with `reason=Refusal`): something did not hold; `Retryable`: the provider is away, slow or failing;
    `Permanent`: it, or what is configured of it here, is unusable until an administrator acts.
    """

    def begin(self, redirect_uri: str, *, max_age: int | None = None) -> Authorization:
        """A new sign-in, always with PKCE S256, state and nonce.

        `max_age` (seconds, 0 for now) asks for a fresh proof. `Invalid` when `redirect_uri` is none of the configured ones.
        """
        ...

    def finish(self, callback: Callback, expected: Expected) -> SignIn:
        """Verify what came back, exchange the code, verify the ID token."""
        ...

    def refresh(self, refresh_token: str, identity: ExternalIdentity) -> SignIn:
        """Ask whether `identity` is still signed in there, with its groups as they are now; keep the new refresh token."""
        ...

    def logout_url(self, id_token_hint: str | None, post_logout_redirect_uri: str, state: str) -> str | None:
        """Where to send a browser that signed out here, so that it signs out there; None: the provider has no such place."""
        ...

    def back_channel(self, logout_token: str) -> LoggedOut:
        """Verify a logout that the provider sent behind the browser's back."""
        ...

    def probe(self) -> ProviderFacts:
        """What the provider says of itself now, past every cache, and whether it takes our credentials."""
        ...


class OidcProviders(Protocol):
    """Every configured provider, with its caches for as long as its connection stays the same."""

    def for_(self, connection: Connection) -> OidcProvider:
        """The provider behind `connection`."""
        ...

"""Who asks, and what their credential allows."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import NewType
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from auricle.access.permissions import Grant, Role
from auricle.access.sameorigin import Cookie, refresh_cookie
from auricle.errors import Retryable

PrincipalId = NewType("PrincipalId", UUID)
TokenId = NewType("TokenId", UUID)
LOCAL = "local"
"""Kind and name of the principal that a new installation has; the setup code turns it into a person."""
PERSON = "person"
"""Kind of the principals that are people who came later."""
SERVICE = "service"
"""Kind of the principals that are programs: they have tokens, and neither a password nor a session."""
SERVICE_PREFIX = "service:"
"""Before their names among all principals', so that none of them takes a person's."""
TOKEN_PREFIX = "aur_"  # noqa: S105 - what tokens begin with, so that scanners find leaked ones


class ThingKind(StrEnum):
    """What a grant can be on."""

    FILE = "file"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever made this request, with their `roles` now. `scopes` None: everything that these allow.

    `token_id` names the personal token with those scopes, or `session_id` the session, by which they did.
    """

    id: PrincipalId
    name: str
    roles: frozenset[Role] = frozenset()
    scopes: frozenset[str] | None = None
    token_id: TokenId | None = None
    session_id: UUID | None = None
    must_change: bool = False
    service: bool = False
    installation: bool = False
    """Nobody yet: the installation's own token, before the first owner."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and what they were given on the thing that is asked for (None where none is named).

    `unnoted`: the use of their token is worth noting. `second_factor`: they have one;
    `pending`: it is still to be shown, there is no session yet. `banner`: the digest of the notice they acknowledged last.
    """

    principal: Principal
    grant: Grant | None = None
    unnoted: bool = False
    second_factor: bool = False
    pending: bool = False
    banner: str | None = None


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """A request as far as sign-ins look at it. `headers` with names in small letters.

    `address`, `origin` (`https://vault.example`) and `fingerprint` (of the client's certificate: SHA-256 in hex) are what the
    gateway vouches for; None where nobody does. `query` is as it was sent, without the question mark.
    """

    method: str
    headers: Mapping[str, str]
    address: str | None = None
    origin: str | None = None
    fingerprint: str | None = None
    query: str = ""

    @property
    def user_agent(self) -> str:
        """What the client calls itself; empty when it says nothing."""
        return self.headers.get("user-agent", "")

    @property
    def told(self) -> Mapping[str, str]:
        """The headers, by names in any letters."""
        return _AnyCase(self.headers)

    @property
    def accept_language(self) -> str:
        """The languages that it asks for; empty when it says nothing."""
        return self.headers.get("accept-language", "")


class Site(msgspec.Struct, frozen=True):
    """Where people reach this deployment: `https://vault.example`, or a loopback address on a laptop."""

    public_url: str

    @property
    def issuer(self) -> str:
        """What our tokens say of where they come from."""
        return self.public_url.rstrip("/") or "http://localhost"

    @property
    def cookie(self) -> Cookie:
        """The refresh token's; `Retryable` where signing in cannot be safe."""
        try:
            return refresh_cookie(self.issuer)
        except ValueError as error:
            raise Retryable(f"{error} Set PUBLIC_URL to the https address of this deployment.", delay=60) from error

    @property
    def passkey_domain(self) -> tuple[str, str]:
        """The domain that passkeys are for, and the origin of the pages that use them. This machine is `localhost`: browsers
        let no address have any."""
        parts = urlsplit(self.issuer)
        host = (parts.hostname or "").lower()
        if not self.cookie.secure and not host.endswith("localhost"):
            host = "localhost"
            return host, f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
        return host, f"{parts.scheme}://{parts.netloc}".lower()

    def origins(self, asking: Asking) -> frozenset[str]:
        """The origins of our own pages. This machine has several names for itself, and any of them will do for it."""
        parts = urlsplit(self.issuer)
        found = {f"{parts.scheme}://{parts.netloc}".lower()}
        if not self.cookie.secure and asking.origin is not None and _on_this_machine(asking.origin):
            found.add(asking.origin)
        return frozenset(found)


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A personal API token as it is listed: never its secret. It may what its `scopes` say, and its owner may then."""

    id: TokenId
    name: str
    hint: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


def new_secret() -> str:
    """`aur_` and 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What is stored of a token. Plain SHA-256 is right: the secret is random, there is nothing to guess."""
    return hashlib.sha256(secret.encode()).digest()


class _AnyCase(Mapping[str, str]):
    """Looks names up without regard to case, in a mapping whose names are in small letters."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        return self._headers[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


def _on_this_machine(url: str) -> bool:
    try:
        return not refresh_cookie(url).secure
    except ValueError:
        return False

"""What a provider publishes about itself, and which of it may be believed (OpenID Connect Discovery 1.0 §4, RFC 8414)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from auricle.adapters.oidc.cached import Cached
from auricle.adapters.oidc.http import Web
from auricle.errors import Permanent

WELL_KNOWN = "/.well-known/openid-configuration"
FRESH_SECONDS = 3600.0


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's discovery document, as far as Auricle uses it."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    response_types_supported: tuple[str, ...] = ("code",)
    id_token_signing_alg_values_supported: tuple[str, ...] = ()
    code_challenge_methods_supported: tuple[str, ...] = ()
    token_endpoint_auth_methods_supported: tuple[str, ...] = ()
    scopes_supported: tuple[str, ...] = ()
    authorization_response_iss_parameter_supported: bool = False
    backchannel_logout_supported: bool = False


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, written so that no name server is asked."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def why_unusable(url: str, *, plain: bool = False) -> str | None:
    """Why `url` is no address to send people or secrets to; None when it is one.

    Plain HTTP only with `plain`, and only to this machine. Never to link-local addresses: there clouds hand out credentials.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "is not a URL"
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "holds characters that a URL cannot have"
    if not host or parts.username is not None or parts.fragment or port == 0:
        return "needs a host, and no user name or fragment"
    if parts.scheme != "https" and not (parts.scheme == "http" and plain and is_loopback(host)):
        return "must begin with https://"
    try:
        if ipaddress.ip_address(host).is_link_local:
            return "is a link-local address"
    except ValueError:
        pass
    return None


class Discovery:
    """The discovery document of one issuer, read at most once an hour. Safe for threads."""

    def __init__(self, web: Web, issuer: str, monotonic: Callable[[], float]) -> None:
        self._web = web
        self._issuer = issuer
        self._cached = Cached(self.read, FRESH_SECONDS, monotonic)

    def get(self) -> Metadata:
        """The document, perhaps from the cache."""
        return self._cached.get()

    def read(self) -> Metadata:
        """The document as it is now."""
        problem = why_unusable(self._issuer, plain=True)
        if problem:
            raise Permanent(f"The issuer {problem}. Correct it in the settings of this provider.")
        document = self._web.get(self._issuer.rstrip("/") + WELL_KNOWN).document()
        try:
            metadata = msgspec.convert(document, Metadata)
        except (msgspec.ValidationError, RecursionError) as error:
            raise Permanent(f"{self._host} publishes no OpenID Connect configuration that can be read: {error}") from error
        return self._believable(metadata)

    @property
    def _host(self) -> str:
        return urlsplit(self._issuer).netloc

    def _believable(self, metadata: Metadata) -> Metadata:
        if metadata.issuer != self._issuer:
            raise Permanent(
                f"{self._host} calls itself by another issuer than is configured here. Copy its issuer exactly, "
                "with or without the slash at its end."
            )
        plain = self._issuer.startswith("http:")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"):
            url = getattr(metadata, name)
            problem = why_unusable(url, plain=plain) if url is not None else None
            if problem:
                raise Permanent(f"The {name} that {self._host} publishes {problem}, so it is not used.")
        if "code" not in metadata.response_types_supported:
            raise Permanent(
                f"{self._host} offers no sign-in by authorization code (response type code), the only kind used here."
            )
        if metadata.code_challenge_methods_supported and "S256" not in metadata.code_challenge_methods_supported:
            raise Permanent(f"{self._host} offers PKCE without S256, so its sign-in cannot be protected.")
        return metadata

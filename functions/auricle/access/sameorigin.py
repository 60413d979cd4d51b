"""The one cookie we set, and the proof that its sender is our own page. Pure; both are data that the door writes and reads.

Only the refresh token travels in a cookie, and only to `/api/session`. Everything else is sent with `Authorization`, which no
browser attaches by itself: another site cannot make one (CSRF), so those need no proof.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from auricle.errors import Denied, Invalid

COOKIE_PATH = "/api/session"
_NAME = "auricle_refresh"
_SAFE = frozenset({"GET", "HEAD"})
_PORTS = {"https": 443, "http": 80}


class Carrier(StrEnum):
    """How a credential came."""

    BEARER = "bearer"
    COOKIE = "cookie"


class Cookie(msgspec.Struct, frozen=True, kw_only=True):
    """A cookie's shape (RFC 6265bis, 4.1). Never with a `Domain`: that would hand it to every sibling host."""

    name: str
    path: str
    secure: bool
    http_only: bool = True
    same_site: str = "Strict"

    def __post_init__(self) -> None:
        """Browsers drop a cookie whose prefix promises what its attributes do not keep, in silence (RFC 6265bis, 4.1.3)."""
        if self.name.startswith("__Secure-") and not self.secure:
            raise ValueError("A __Secure- cookie is Secure.")
        if self.name.startswith("__Host-") and not (self.secure and self.path == "/"):
            raise ValueError("A __Host- cookie is Secure and has the path /.")

    def setting(self, value: str, life: timedelta) -> str:
        """The `Set-Cookie` header that stores `value` for `life`."""
        return self._line(value, max(0, int(life.total_seconds())))

    def clearing(self) -> str:
        """The `Set-Cookie` header that removes it: name and path are the same, or it would stay."""
        return self._line("", 0)

    def value_in(self, header: str | None) -> str | None:
        """Its value in a `Cookie` header, None when it is not there.

        Two of that name are refused: a sibling host (or a plain-http one) can toss its own beside ours, and which one comes
        first is its choice, so a visitor could be made to act in somebody else's session.
        """
        pairs = (pair.strip().partition("=") for pair in (header or "").split(";"))
        values = [value for name, _, value in pairs if name == self.name]
        if len(values) > 1:
            raise Invalid("Your browser sent two sign-in cookies. Remove the cookies of this site and sign in again.")
        return values[0] or None if values else None

    def _line(self, value: str, seconds: int) -> str:
        flags = [flag for flag, is_set in (("Secure", self.secure), ("HttpOnly", self.http_only)) if is_set]
        return "; ".join(
            [f"{self.name}={value}", f"Max-Age={seconds}", f"Path={self.path}", *flags, f"SameSite={self.same_site}"]
        )


def refresh_cookie(public_url: str) -> Cookie:
    """The cookie of the refresh token for a deployment at `public_url`.

    `__Secure-`, not `__Host-`: the latter demands `Path=/`, and the token would travel with every request instead of with
    those of `/api/session` alone. What `__Host-` adds is that no sibling host can set it: `value_in` refuses the cookie that
    comes beside ours, and one that comes instead of ours (to nobody signed in) is why Auricle wants a host without hostile
    siblings. A laptop on http has neither TLS nor siblings: there, and only there, it is a plain cookie.
    """
    parts = urlsplit(public_url)
    if parts.scheme == "https":
        return Cookie(name=f"__Secure-{_NAME}", path=COOKIE_PATH, secure=True)
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return Cookie(name=_NAME, path=COOKIE_PATH, secure=False)
    raise ValueError(f"Signing in needs https: {public_url!r} is neither https nor this machine itself.")


def origin(url: str) -> str:
    """The origin of a URL as browsers write it in `Origin` (RFC 6454, 6.2); `ValueError` when it has none."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{url!r} has no origin that a browser would send.")
    host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def same_origin_proof(method: str, headers: Mapping[str, str], allowed_origins: Collection[str]) -> bool:
    """Whether a browser vouches that one of our own pages sent this request.

    `Origin` must be exactly one of the `allowed_origins` (as `origin` writes them), and `Sec-Fetch-Site` must be `same-origin`
    (a same *site* is a sibling host, which is not us); each counts when it is there, both must agree, and one must be there.
    `none` (typed, bookmarked) is enough for what changes nothing. A `Referer` is never believed: it is often cut or absent.
    """
    told = {name.lower(): value.strip() for name, value in headers.items()}
    sender, site = told.get("origin"), told.get("sec-fetch-site")
    if sender is not None and sender not in allowed_origins:  # "null", another origin, or two joined into one
        return False
    if site is not None:
        return site == "same-origin" or (site == "none" and method.upper() in _SAFE)
    return sender is not None


def require_proof(carrier: Carrier, method: str, headers: Mapping[str, str], allowed_origins: Collection[str]) -> None:
    """`Denied` when a cookie comes without the proof. Every method: what a route changes is not told by its verb alone."""
    if carrier is Carrier.COOKIE and not same_origin_proof(method, headers, allowed_origins):
        raise Denied("This request did not come from a page of ours. Open the site itself and try again.")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

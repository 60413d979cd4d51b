"""ID tokens and logout tokens: verified in full, or refused with the check that did not hold.

OpenID Connect Core 1.0 §3.1.3.7, Back-Channel Logout 1.0 §2.6, RFC 8725 (no token is believed about its own algorithm or key).
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from authlib.oidc.core.claims import CodeIDToken  # type: ignore[import-untyped]
from joserfc import jws, jwt
from joserfc.errors import BadSignatureError, ClaimError, ExpiredTokenError, JoseError

from auricle.adapters.oidc.keys import Keys
from auricle.errors import Unauthenticated
from auricle.ports.oidc import Connection, LoggedOut, Refusal

MAX_ID_TOKEN = 64 * 1024
MAX_LOGOUT_TOKEN = 16 * 1024
"""Characters. A logout token comes from anybody who knows the address."""
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_AGE = 600
"""Seconds that a logout token is good for, whatever its own `exp` says: its `jti` is remembered no longer."""
MAX_SUBJECT = 255
"""Characters, all ASCII (Core §2)."""
ID_TOKEN_TYPES = (None, "jwt")
LOGOUT_TOKEN_TYPES = (None, "jwt", "logout+jwt")

SENTENCES = {
    Refusal.MALFORMED: "cannot be read",
    Refusal.KIND: "is of another kind",
    Refusal.ALGORITHM: "is signed in a way that is not allowed here",
    Refusal.KEY: "is signed with a key that the provider does not publish",
    Refusal.SIGNATURE: "has a wrong signature",
    Refusal.ISSUER: "is from another issuer",
    Refusal.AUDIENCE: "is meant for somebody else",
    Refusal.AUTHORIZED_PARTY: "was issued to somebody else",
    Refusal.EXPIRED: "has expired",
    Refusal.NOT_YET: "is dated in the future",
    Refusal.NONCE: "does not belong to this sign-in",
    Refusal.HASH: "does not belong to the access token beside it",
    Refusal.SUBJECT: "names nobody, or somebody else",
    Refusal.SIGN_IN_AGE: "tells of a sign-in that is too long ago",
    Refusal.EVENT: "does not tell of a logout",
    Refusal.CLAIM: "holds a value of the wrong form",
}
CLAIMS = {
    "iss": Refusal.ISSUER,
    "aud": Refusal.AUDIENCE,
    "azp": Refusal.AUTHORIZED_PARTY,
    "exp": Refusal.EXPIRED,
    "iat": Refusal.NOT_YET,
    "nbf": Refusal.NOT_YET,
    "nonce": Refusal.NONCE,
    "at_hash": Refusal.HASH,
    "sub": Refusal.SUBJECT,
    "auth_time": Refusal.SIGN_IN_AGE,
}
"""The check that a claim stands for."""
UNREADABLE = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""All that a token which somebody made up leads to in a parser."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an ID token must agree with. `nonce` and `max_age` None: not asked for (a refresh)."""

    now: int
    nonce: str | None = None
    max_age: int | None = None
    access_token: str | None = None


def refuse(check: Refusal, what: str = "ID token", cause: BaseException | None = None) -> NoReturn:
    """Say which check did not hold."""
    raise Unauthenticated(
        f"The identity provider's {what} {SENTENCES[check]}. Sign in again; if this stays, tell your administrator.",
        reason=check.value,
    ) from cause


def id_token(token: str, keys: Keys, connection: Connection, wanted: Wanted) -> dict[str, Any]:
    """The claims of a verified ID token."""
    verified = _signed(token, keys, connection, MAX_ID_TOKEN, ID_TOKEN_TYPES, "ID token")
    params = {"client_id": connection.client_id, "access_token": wanted.access_token}
    claims = CodeIDToken(verified.claims, verified.header, _options(connection), params)
    _claims(claims, wanted.now, connection.leeway, "ID token")
    _subject(claims.get("sub"), "ID token")
    _fresh(claims.get("auth_time"), connection, wanted)
    if wanted.nonce is not None and not same(claims.get("nonce"), wanted.nonce):
        refuse(Refusal.NONCE)
    return dict(claims)


def logout_token(token: str, keys: Keys, connection: Connection, now: int) -> LoggedOut:
    """What a verified logout token ends."""
    what = "logout token"
    verified = _signed(token, keys, connection, MAX_LOGOUT_TOKEN, LOGOUT_TOKEN_TYPES, what)
    claims = verified.claims
    options = {**_options(connection), "iat": {"essential": True}, "exp": {"essential": True}, "jti": {"essential": True}}
    registry = jwt.JWTClaimsRegistry(now=now, leeway=connection.leeway, **options)
    try:
        registry.validate(claims)
    except (ClaimError, TypeError, ValueError) as error:
        _refuse_claim(error, what)
    events = claims.get("events")
    if "nonce" in claims:  # an ID token in disguise (§2.4)
        refuse(Refusal.KIND, what)
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        refuse(Refusal.EVENT, what)
    end = min(math.floor(claims["exp"]), math.floor(claims["iat"]) + LOGOUT_AGE) + connection.leeway
    if end <= now:
        refuse(Refusal.EXPIRED, what)
    subject, sid = claims.get("sub"), claims.get("sid")
    if subject is not None:
        _subject(subject, what)
    if sid is not None and not (isinstance(sid, str) and 0 < len(sid) <= MAX_SUBJECT):
        refuse(Refusal.CLAIM, what)
    if subject is None and sid is None:
        refuse(Refusal.SUBJECT, what)
    if not 0 < len(claims["jti"]) <= MAX_SUBJECT:
        refuse(Refusal.CLAIM, what)
    return LoggedOut(issuer=connection.issuer, subject=subject, sid=sid, jti=claims["jti"], expires_at=end)


def _signed(
    token: str, keys: Keys, connection: Connection, longest: int, types: tuple[str | None, ...], what: str
) -> jwt.Token:
    """The token, once its signature is verified with a key and an algorithm that we chose."""
    if len(token) > longest or not token.isascii():
        refuse(Refusal.MALFORMED, what)
    try:
        header = jws.extract_compact(token.encode()).headers()
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")  # a header may be no object at all
    except UNREADABLE as error:
        refuse(Refusal.MALFORMED, what, error)
    if algorithm not in [str(allowed) for allowed in connection.algorithms]:
        refuse(Refusal.ALGORITHM, what)
    if (kind.lower().removeprefix("application/") if isinstance(kind, str) else kind) not in types:
        refuse(Refusal.KIND, what)
    key = keys.find(kid, algorithm) if kid is None or isinstance(kid, str) else None
    if key is None:
        refuse(Refusal.KEY, what)
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    try:
        return jwt.decode(token, key, registry=registry)
    except BadSignatureError as error:
        refuse(Refusal.SIGNATURE, what, error)
    except UNREADABLE as error:
        refuse(Refusal.MALFORMED, what, error)


def _options(connection: Connection) -> dict[str, Any]:
    return {
        "iss": {"essential": True, "value": connection.issuer},
        "aud": {"essential": True, "value": connection.client_id},
    }


def _claims(claims: CodeIDToken, now: int, leeway: int, what: str) -> None:
    try:
        claims.validate(now=now, leeway=leeway)
    except (ClaimError, TypeError, ValueError) as error:
        _refuse_claim(error, what)


def _refuse_claim(error: Exception, what: str) -> NoReturn:
    if isinstance(error, ExpiredTokenError):
        refuse(Refusal.EXPIRED, what, error)
    name = error.claim.partition(",")[0] if isinstance(error, ClaimError) else ""
    refuse(CLAIMS.get(name, Refusal.CLAIM), what, error)


def _subject(subject: object, what: str) -> None:
    if not (isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT and subject.isascii() and subject.isprintable()):
        refuse(Refusal.SUBJECT, what)


def _fresh(auth_time: object, connection: Connection, wanted: Wanted) -> None:
    """`max_age` held (Core §3.1.3.7, 13). A max_age of 0 is one too, which Authlib takes for none."""
    if wanted.max_age is None:
        return
    if isinstance(auth_time, bool) or not isinstance(auth_time, int | float):
        refuse(Refusal.SIGN_IN_AGE)
    if not wanted.now - wanted.max_age - connection.leeway <= auth_time <= wanted.now + connection.leeway:
        refuse(Refusal.SIGN_IN_AGE)


def same(given: object, expected: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing."""
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), expected.encode(errors="replace"))


def text(claims: Mapping[str, Any], name: str, longest: int) -> str | None:
    """A claim that is a printable text of a sensible length; anything else counts as absent."""
    value = claims.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable() else None

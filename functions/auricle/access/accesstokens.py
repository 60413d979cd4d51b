"""What our signed tokens say, and what they must say to be good. Pure: signatures are `ports.signing`, times are arguments.

A token names a person and a session. It carries no roles, no scopes and no grants: authority comes from the database at each
request (one query), so that taking a role away works at once, and a forged or old claim has nothing to say.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import ClassVar, TypeVar
from uuid import UUID

import msgspec

from auricle.access.fingerprint import fingerprint, same_client
from auricle.access.model import TOKEN_PREFIX, PrincipalId
from auricle.access.sessions import REFRESH_PREFIX, Factor, Session, SessionId
from auricle.ports.ephemeral import Revocable, Standing
from auricle.ports.signing import LEEWAY, Refusal, TokenKind, TokenRefused, TokenSigner, TokenVerifier, Verified, once_each


class Headers(msgspec.Struct, frozen=True):
    """What of a request a token is bound to; empty where the client sent none."""

    user_agent: str
    accept_language: str


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What every signed token says (RFC 7519, 4.1). Times are seconds since 1970; `epoch` is the person's when it was made.

    Unknown claims are ignored (a newer release may write them), therefore nothing may be added here that allows something.
    """

    kind: ClassVar[TokenKind]

    iss: str
    aud: str
    sub: PrincipalId
    jti: UUID
    iat: int
    nbf: int
    exp: int
    epoch: int


class AccessClaims(Claims, frozen=True, kw_only=True):
    """A signed-in request: `sid` its session, `fgp` its client, `amr` and `auth_time` how and when (RFC 8176)."""

    kind: ClassVar[TokenKind] = TokenKind.ACCESS

    sid: SessionId
    fgp: str
    amr: tuple[Factor, ...]
    auth_time: int


class PendingClaims(Claims, frozen=True, kw_only=True):
    """The first factor was right. There is no session yet, hence nothing to refresh and nothing to step up.

    `via`: the method, for the audit trail of the sign-in that this becomes.
    """

    kind: ClassVar[TokenKind] = TokenKind.MFA_PENDING

    fgp: str
    amr: tuple[Factor, ...]
    via: str


C = TypeVar("C", bound=Claims)


def access_claims(session: Session, *, issuer: str, jti: UUID, client: Headers, now: datetime) -> AccessClaims:
    """For a session: 15 minutes, and never longer than the session lasts."""
    return AccessClaims(
        iss=issuer,
        aud=TokenKind.ACCESS.audience(issuer),
        sub=session.user,
        jti=jti,
        iat=_second(now),
        nbf=_second(now),
        exp=_second(min(now + TokenKind.ACCESS.lifetime, session.ends)),
        epoch=session.epoch,
        sid=session.id,
        fgp=fingerprint(client.user_agent, client.accept_language, jti),
        amr=tuple(sorted({proof.factor for proof in session.proofs})),
        auth_time=_second(max(proof.at for proof in session.proofs)),
    )


def pending_claims(
    user: PrincipalId,
    *,
    issuer: str,
    jti: UUID,
    epoch: int,
    factor: Factor,
    client: Headers,
    now: datetime,
    via: str = "password",
) -> PendingClaims:
    """For who has shown one factor and owes a second: 10 minutes."""
    return PendingClaims(
        iss=issuer,
        aud=TokenKind.MFA_PENDING.audience(issuer),
        sub=user,
        jti=jti,
        iat=_second(now),
        nbf=_second(now),
        exp=_second(now + TokenKind.MFA_PENDING.lifetime),
        epoch=epoch,
        fgp=fingerprint(client.user_agent, client.accept_language, jti),
        amr=(factor,),
        via=via,
    )


def signed(signer: TokenSigner, claims: Claims, now: datetime) -> str:
    """The token that says `claims`; its kind is theirs."""
    return signer.sign(claims.kind, msgspec.json.encode(claims), now)


def read_access(verifier: TokenVerifier, token: str, *, issuer: str, client: Headers, now: datetime) -> AccessClaims:
    """What an access token says, for all routes but the few that `read_bearer` is for."""
    claims = accept(verifier.verify(token, (TokenKind.ACCESS,), now), AccessClaims, issuer=issuer, now=now)
    _from_its_client(claims, client)
    return claims


def read_bearer(
    verifier: TokenVerifier, token: str, *, issuer: str, client: Headers, now: datetime
) -> AccessClaims | PendingClaims:
    """What a token says on the routes of second factors, where who still owes one is let in too."""
    verified = verifier.verify(token, (TokenKind.ACCESS, TokenKind.MFA_PENDING), now)
    expected: type[AccessClaims | PendingClaims] = AccessClaims if verified.kind is TokenKind.ACCESS else PendingClaims
    claims = accept(verified, expected, issuer=issuer, now=now)
    _from_its_client(claims, client)
    return claims


def accept(verified: Verified, expected: type[C], *, issuer: str, now: datetime) -> C:
    """The claims, if they are whole, ours, of the right kind and of this moment (within `LEEWAY`); `TokenRefused` otherwise."""
    if verified.kind is not expected.kind:
        raise TokenRefused(Refusal.KIND)
    claims = _decoded(verified.payload, expected)
    if claims.iss != issuer:
        raise TokenRefused(Refusal.ISSUER)
    if claims.aud != expected.kind.audience(issuer):
        raise TokenRefused(Refusal.AUDIENCE)
    _in_time(claims, now)
    return claims


def things(claims: AccessClaims | PendingClaims) -> tuple[tuple[Revocable, str], ...]:
    """What to ask `Ephemeral.standing` about, in one round trip."""
    token = (Revocable.TOKEN, str(claims.jti))
    if isinstance(claims, AccessClaims):
        return token, (Revocable.SESSION, str(claims.sid))
    return (token,)


def check_standing(claims: Claims, standing: Standing) -> None:
    """`TokenRefused` when it was revoked, when the person's epoch has moved on, or when the store cannot know."""
    forgotten = standing.since is not None and claims.iat < _second(standing.since)
    if standing.revoked or standing.epoch != claims.epoch or forgotten:
        raise TokenRefused(Refusal.ENDED)


def carried(credential: str) -> TokenKind | None:
    """Which kind an `Authorization` credential looks like, to choose who judges it; it proves nothing. None: none of ours."""
    if credential.startswith(TOKEN_PREFIX):
        return TokenKind.PERSONAL
    if credential.startswith(REFRESH_PREFIX):
        return TokenKind.REFRESH
    return TokenKind.ACCESS if credential.count(".") == 2 else None


def _decoded(payload: bytes, expected: type[C]) -> C:
    """A name that comes twice is refused: RFC 7519, 4 leaves it to the reader which one counts, and readers differ."""
    try:
        return msgspec.convert(json.loads(payload, object_pairs_hook=once_each), expected)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        raise TokenRefused(Refusal.CLAIMS) from None


def _in_time(claims: Claims, now: datetime) -> None:
    """RFC 7519, 4.1.4-4.1.6; and no longer than its kind may live, whatever it says."""
    leeway, instant = LEEWAY.total_seconds(), now.timestamp()
    if not claims.iat <= claims.nbf < claims.exp <= claims.iat + claims.kind.lifetime.total_seconds():
        raise TokenRefused(Refusal.CLAIMS)
    if instant >= claims.exp + leeway:
        raise TokenRefused(Refusal.EXPIRED)
    if instant < claims.nbf - leeway or instant < claims.iat - leeway:
        raise TokenRefused(Refusal.NOT_YET)


def _from_its_client(claims: AccessClaims | PendingClaims, client: Headers) -> None:
    if not same_client(claims.fgp, client.user_agent, client.accept_language, claims.jti):
        raise TokenRefused(Refusal.CLIENT)


def _second(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp())

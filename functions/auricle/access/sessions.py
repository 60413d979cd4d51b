"""Sessions and their refresh tokens as a pure state machine: times, secrets and ids are arguments, what to store is returned.

A session is one sign-in on one device and one family of refresh tokens: at most one of them is live, each use replaces it, and
one that comes back after it was replaced ends the family (RFC 9700, 4.14.2), because two parties hold what only one was given.

One exception, decided: within `GRACE` of its use, the same client (fingerprint) that presents the replaced token again gets
the *same* answer again. Browsers send it from two tabs at once, and phones repeat a request whose answer was lost; without it
both would be signed out with an alarm. The successor is derived from the presented token and a stored random salt, so it can be
told twice without being stored: no second live token ever exists, and a thief gains nothing that detection does not survive,
since thief and owner then hold one token, and whoever uses it second ends the family.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType
from uuid import UUID

import msgspec

from auricle.access.model import PrincipalId, digest
from auricle.admin.configuration.model import Section
from auricle.errors import Conflict

SessionId = NewType("SessionId", UUID)
REFRESH_PREFIX = "aurr_"
"""What refresh tokens begin with, so that scanners find leaked ones; no personal token begins so."""
REFRESH_LIFE = timedelta(days=30)
GRACE = timedelta(seconds=10)
"""Longer than two tabs are apart and than a client waits before it repeats; shorter than a thief needs to be of use."""
SEEN_EVERY = timedelta(minutes=1)
"""How exact `seen` is: a write per request would be a lot of writing for nothing."""
STEP_UP = timedelta(minutes=10)


class Factor(StrEnum):
    """How somebody showed who they are; the values are `amr` words (RFC 8176 where it has one)."""

    PASSWORD = "pwd"  # noqa: S105 - here or at a directory
    TOTP = "otp"
    PASSKEY = "pop"  # proof of possession of a key
    BACKUP_CODE = "code"  # ours: RFC 8176 has no word for it
    CERTIFICATE = "sc"  # a smart card's, shown by the gateway
    ELSEWHERE = "ext"  # ours: another house signed them in


SECOND_FACTORS = frozenset({Factor.TOTP, Factor.PASSKEY, Factor.BACKUP_CODE, Factor.CERTIFICATE})


class Why(StrEnum):
    """Why a session ended."""

    SIGNED_OUT = "signed-out"
    BY_ADMINISTRATOR = "by-administrator"
    IDLE = "idle"
    TOO_OLD = "too-old"
    TOKEN_EXPIRED = "token-expired"  # noqa: S105
    REUSE = "reuse"  # a replaced refresh token came back
    AUTHORITY = "authority"  # roles, password or second factors changed
    CROWDED = "crowded"  # a newer sign-in took its place
    REPLACED = "replaced"  # by its own successor, after a step-up or a change of authority


class WhenFull(StrEnum):
    """What happens to one sign-in too many (AC-10)."""

    OLDEST_ENDS = "oldest-ends"
    NEW_REFUSED = "new-refused"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long sessions last and how many a person has (AC-12, AC-10). They hold for sessions that exist already, too."""

    idle: timedelta = timedelta(hours=12)
    absolute: timedelta = timedelta(days=30)
    concurrent: int = 10
    when_full: WhenFull = WhenFull.OLDEST_ENDS

    def __post_init__(self) -> None:
        """Limits that end every session at once, or never, are a mistake."""
        if not (2 * SEEN_EVERY <= self.idle <= self.absolute and self.concurrent >= 1):
            raise ValueError("Sessions need idle >= 2 minutes, absolute >= idle and at least one at a time.")


SESSIONS = Section("sessions", Limits)
"""As administrators set them."""
STRICT = Limits(idle=timedelta(minutes=15), absolute=timedelta(hours=12), concurrent=3)
"""As NIST SP 800-63B asks at AAL3: 15 minutes idle, 12 hours in all."""


class Client(msgspec.Struct, frozen=True):
    """Where a session is used. `fingerprint` is salted with the session's id; `place` is the address that the gateway saw."""

    device: str
    place: str
    fingerprint: str


class Proof(msgspec.Struct, frozen=True):
    """A factor that was shown."""

    factor: Factor
    at: datetime


class Ending(msgspec.Struct, frozen=True):
    """When and why a session ended. It never changes again."""

    at: datetime
    why: Why


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One sign-in. `ends` is set when it begins, carried on, and never moved later; `epoch` is the person's at sign-in."""

    id: SessionId
    user: PrincipalId
    epoch: int
    began: datetime
    seen: datetime
    ends: datetime
    proofs: tuple[Proof, ...]
    client: Client
    ended: Ending | None = None
    banner: str | None = None
    """The digest of the notice that was acknowledged in it."""


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """A refresh token's use: when, by which client, and what makes its successor again.

    Storing a later use, set the `salt` of the session's earlier ones to b"": nothing needs them any more.
    """

    at: datetime
    fingerprint: str
    salt: bytes
    successor: bytes


class Refresh(msgspec.Struct, frozen=True, kw_only=True):
    """A refresh token as it is stored: its SHA-256 `digest`, never itself. `spent` None: the live one of its session."""

    digest: bytes
    session: SessionId
    ends: datetime
    spent: Spent | None = None


class Turn(StrEnum):
    """What came of presenting a refresh token."""

    RENEWED = "renewed"  # store session, spent and made; set the cookie to `secret`
    REPEATED = "repeated"  # the same answer once more: store nothing, set the cookie to `secret`
    STALE = "stale"  # replaced twice within the grace: 409, the client asks again with the cookie that it has by now
    REUSED = "reused"  # store session, clear the cookie, 401, alert its owner
    OVER = "over"  # store session if it changed, clear the cookie, 401


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The turn and what belongs to it. `secret` is there for RENEWED and REPEATED only."""

    turn: Turn
    session: Session
    spent: Refresh | None = None
    made: Refresh | None = None
    secret: str | None = None

    @property
    def alert(self) -> bool:
        """Whether the owner is to be told by mail."""
        return self.turn is Turn.REUSED


class Succession(msgspec.Struct, frozen=True, kw_only=True):
    """A session in another's place: store all three."""

    ended: Session
    session: Session
    refresh: Refresh


def refresh_secret(random: bytes) -> str:
    """The first token of a family, of 256 random bits."""
    if len(random) != 32:
        raise ValueError("A refresh token is made of 32 random bytes.")
    return REFRESH_PREFIX + base64.urlsafe_b64encode(random).rstrip(b"=").decode()


def begin(
    id: SessionId,
    user: PrincipalId,
    *,
    epoch: int,
    proofs: tuple[Proof, ...],
    client: Client,
    secret: str,
    limits: Limits,
    now: datetime,
) -> tuple[Session, Refresh]:
    """A new session after every factor was shown, with its first token.

    Always with a new `id` and `secret` of ours: nothing that the client held before signing in lives on (session fixation).
    """
    if not proofs:
        raise ValueError("A session begins with a factor.")
    ends = now + limits.absolute
    session = Session(id=id, user=user, epoch=epoch, began=now, seen=now, ends=ends, proofs=proofs, client=client)
    return session, _refresh(session, secret, now)


def over(session: Session, *, epoch: int, limits: Limits, now: datetime) -> Why | None:
    """Why the session is over at this moment, None while it lives. `epoch` is the person's now; asked at every request."""
    if session.ended is not None:
        return session.ended.why
    if session.epoch != epoch:
        return Why.AUTHORITY
    if now >= min(session.ends, session.began + limits.absolute):
        return Why.TOO_OLD
    return Why.IDLE if now >= session.seen + limits.idle else None


def end(session: Session, why: Why, now: datetime) -> Session:
    """Ended; one that has ended already stays as it is."""
    return session if session.ended is not None else msgspec.structs.replace(session, ended=Ending(now, why))


def saw(session: Session, now: datetime) -> Session:
    """Noted as used; the very same value while there is nothing new to store. Never brings an ended one back."""
    if session.ended is not None or now < session.seen + SEEN_EVERY:
        return session
    return msgspec.structs.replace(session, seen=now)


def renew(
    session: Session,
    presented: Refresh,
    live: Refresh | None,
    secret: str,
    *,
    client: Client,
    salt: bytes,
    epoch: int,
    limits: Limits,
    now: datetime,
) -> Outcome:
    """What comes of presenting `secret`, whose row is `presented`, when `live` is the session's unspent token.

    `salt`: 32 fresh random bytes. Call it with the session's row locked, and store the outcome in the same transaction.
    """
    if presented.session != session.id or not hmac.compare_digest(presented.digest, digest(secret)) or len(salt) != 32:
        raise ValueError("The token's row, its session and its secret belong together, and the salt has 32 bytes.")
    why = over(session, epoch=epoch, limits=limits, now=now)
    if why is not None:
        return Outcome(turn=Turn.OVER, session=end(session, why, now))
    if presented.spent is not None:
        return _again(session, presented, presented.spent, live, secret, client, now)
    if now >= presented.ends:
        return Outcome(turn=Turn.OVER, session=end(session, Why.TOKEN_EXPIRED, now))
    next_secret = _successor(secret, salt)
    made = _refresh(session, next_secret, now)
    use = Spent(at=now, fingerprint=client.fingerprint, salt=salt, successor=made.digest)
    return Outcome(
        turn=Turn.RENEWED,
        session=msgspec.structs.replace(session, seen=max(now, session.seen), client=client),
        spent=msgspec.structs.replace(presented, spent=use),
        made=made,
        secret=next_secret,
    )


def succeed(
    session: Session, id: SessionId, *, secret: str, epoch: int, proof: Proof | None, client: Client, now: datetime
) -> Succession:
    """The session goes on under a new id and token, the old ones end: after a step-up, or a change of one's own authority.

    After a change of authority `epoch` is the new one, which ends all other sessions: they carry the old. A copy of the old
    session that somebody else may hold gains nothing from the new factor. The absolute end is carried on.
    """
    if session.ended is not None:
        raise Conflict("This session has ended. Sign in again.")
    proofs = session.proofs if proof is None else (*(p for p in session.proofs if p.factor is not proof.factor), proof)
    successor = msgspec.structs.replace(session, id=id, epoch=epoch, seen=max(now, session.seen), proofs=proofs, client=client)
    return Succession(ended=end(session, Why.REPLACED, now), session=successor, refresh=_refresh(successor, secret, now))


def admit(sessions: Sequence[Session], *, epoch: int, limits: Limits, now: datetime) -> tuple[Session, ...]:
    """Which of a person's sessions to store as ended before a new one begins; `Conflict` when the policy refuses the new one.

    Sessions that are over already take no place; storing their end here keeps lists honest without a timer. Call it with the
    person's row locked: two sign-ins at once would both find the last place free.
    """
    ended, living = [], []
    for session in sessions:
        why = over(session, epoch=epoch, limits=limits, now=now)
        if why is None:
            living.append(session)
        elif session.ended is None:
            ended.append(end(session, why, now))
    excess = len(living) + 1 - limits.concurrent
    if excess > 0 and limits.when_full is WhenFull.NEW_REFUSED:
        raise Conflict(f"You are signed in {len(living)} times, as often as is allowed here. Sign out somewhere else first.")
    oldest = sorted(living, key=lambda session: (session.began, session.id))[: max(0, excess)]
    return (*ended, *(end(session, Why.CROWDED, now) for session in oldest))


def fresh_factor(
    session: Session, now: datetime, within: timedelta = STEP_UP, factors: Collection[Factor] = SECOND_FACTORS
) -> bool:
    """Whether one of the `factors` was shown within that time: what dangerous permissions ask for.

    For a person who has no second factor and need not have one, the caller passes {Factor.PASSWORD}.
    """
    return any(proof.factor in factors and now - within < proof.at <= now + GRACE for proof in session.proofs)


def _again(
    session: Session, presented: Refresh, use: Spent, live: Refresh | None, secret: str, client: Client, now: datetime
) -> Outcome:
    """A token that was replaced already: another tab's, a repeated request, or a thief's."""
    if abs(now - use.at) > GRACE or not hmac.compare_digest(use.fingerprint, client.fingerprint):
        return Outcome(turn=Turn.REUSED, session=end(session, Why.REUSE, now))
    if live is None or live.digest != use.successor or not use.salt:
        return Outcome(turn=Turn.STALE, session=session)
    return Outcome(turn=Turn.REPEATED, session=session, secret=_successor(secret, use.salt))


def _refresh(session: Session, secret: str, now: datetime) -> Refresh:
    return Refresh(digest=digest(secret), session=session.id, ends=min(now + REFRESH_LIFE, session.ends))


def _successor(secret: str, salt: bytes) -> str:
    """HMAC-SHA-256: 256 bits that are random to whoever lacks the salt or the token before."""
    return refresh_secret(hmac.digest(salt, b"auricle refresh\0" + secret.encode(), hashlib.sha256))

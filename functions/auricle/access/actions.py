"""Signing in with a token, and making and ending tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import msgspec

from auricle.access.accesstokens import AccessClaims, Headers, PendingClaims, carried, check_standing, read_bearer, things
from auricle.access.mfa import MfaPolicy, Need, fresh, need, owes
from auricle.access.model import LOCAL as LOCAL
from auricle.access.model import TOKEN_PREFIX, Asking, Known, Principal, PrincipalId, Site, Token, TokenId, digest, new_secret
from auricle.access.permissions import Decision, Reason, decide, possible_scopes
from auricle.access.sessions import Limits, Session, over, saw
from auricle.access.store import SessionStore, Thing, TokenStore
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import Trail
from auricle.contract.choices import SCOPES, Permission
from auricle.contract.ids import uuid7
from auricle.errors import Denied, Invalid, NotFound, Unauthenticated
from auricle.ports.ephemeral import Ephemeral, Standing
from auricle.ports.signing import Refusal, TokenKind, TokenRefused, TokenVerifier

HOW = "Send the header Authorization: Bearer aur_…; `auricle up` wrote the owner's token to the file owner-token."


BEFORE_CHANGING = frozenset({Permission.SIGNED_IN, Permission.MFA, Permission.ACCOUNT, Permission.ACCOUNT_SECURITY})
"""What answers who must choose another password first."""
CONFIRM, VERIFY, ENROL = "POST /api/session/confirm", "POST /api/mfa/verify", "GET /api/mfa"
"""Where to show what is needed."""
CONFIRM_FIRST = "Confirm with your password first: this needs it shown within the last ten minutes."
ENROL_FIRST = "A second factor is required of you. Set one up first: until then nothing else answers."


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A signed-in request whose token is good: what it says, and how things stand with what it names."""

    claims: AccessClaims | PendingClaims
    standing: Standing
    now: datetime


def signed_in(
    authorization: str | None, asking: Asking, site: Site, verifier: Callable[[], TokenVerifier], store: Callable[[], Ephemeral]
) -> Seen | None:
    """What an access token says, or one of who owes a second factor, before any unit of work; None: neither.

    Whoever owes one is let through by `authorise` to the routes that end that, and to nothing else.
    """
    _, _, word = (authorization or "").partition(" ")
    if carried(word.strip()) is not TokenKind.ACCESS:
        return None
    now, client = datetime.now(UTC), Headers(asking.user_agent, asking.accept_language)
    claims = read_bearer(verifier(), word.strip(), issuer=site.issuer, client=client, now=now)
    standing = store().standing(claims.sub, things(claims))
    check_standing(claims, standing)
    return Seen(claims=claims, standing=standing, now=now)


def in_session(seen: Seen, store: SessionStore, limits: Limits, thing: Thing | None = None) -> tuple[Known, Session | None]:
    """Whom the token stands for, with their roles and grants of this moment, while the session lives (or is still to begin)."""
    if isinstance(seen.claims, PendingClaims):
        person = store.person(seen.claims.sub, thing)
        if person is None:
            raise TokenRefused(Refusal.ENDED)
        return msgspec.structs.replace(person, pending=True), None
    found = store.of(seen.claims.sub, seen.claims.sid, thing)
    if found is None or over(found[1], epoch=seen.standing.epoch, limits=limits, now=seen.now) is not None:
        raise TokenRefused(Refusal.ENDED)
    return found


def authorise(known: Known, permission: Permission, session: Session | None, now: datetime, policy: MfaPolicy) -> None:
    """`Denied`, `NotFound` or `Unauthenticated` when they may not, by role, grant, scope, pending and fresh factor."""
    who, needed = known.principal, need(policy, known.principal.roles, known.second_factor)
    pending = known.pending or (session is not None and owes(session, needed))
    if pending and who.roles and permission is not Permission.MFA:  # said twice, here and in the table
        refuse_until(Decision(Reason.MFA_PENDING), needed, enrol=not known.second_factor)
    if who.must_change and permission not in BEFORE_CHANGING:
        raise Denied("Choose a password of your own before you go on: PUT /api/me/password.")
    decision = decide(
        permission,
        roles=who.roles,
        grant=known.grant,
        scopes=who.scopes,
        mfa_pending=pending,
        fresh_factor=session is not None and fresh(session, needed, now),
    )
    if decision.reason is Reason.SCOPE:
        error = Denied(f"This token may not do that: it lacks the scope {decision.needs}.", scope=decision.needs)
        error.why = decision.reason
        raise error
    if decision.reason in (Reason.FACTOR, Reason.MFA_PENDING):
        refuse_until(decision, needed, enrol=not known.second_factor)
    decision.enforce()


def refuse_until(decision: Decision, needed: Need, *, enrol: bool) -> NoReturn:
    """The refusal of who could go on at once, with what to show and where. `enrol`: they have nothing to show yet."""
    if decision.reason is Reason.FACTOR and needed is Need.PASSWORD:
        error = Denied(CONFIRM_FIRST, at=CONFIRM, needs=needed)
    elif enrol:
        error = Denied(ENROL_FIRST, at=ENROL, needs=needed)
    else:
        error = Denied(decision.sentence, at=VERIFY, needs=needed)
    error.why = decision.reason
    raise error


def used(session: Session, store: SessionStore, now: datetime) -> None:
    """Note the use, when there is something new to note."""
    after = saw(session, now)
    if after is not session:
        store.saw(after.id, after.seen)


def authenticate(authorization: str | None, store: TokenStore, thing: Thing | None = None) -> Known:
    """Who a request's `Authorization` header stands for."""
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated(f"This needs a token. {HOW}")
    if not secret.startswith(TOKEN_PREFIX):
        raise Unauthenticated(f"That is not one of our tokens: they begin with {TOKEN_PREFIX}. {HOW}")
    found = store.by_digest(digest(secret.strip()), thing)
    if found is None:
        raise Unauthenticated("This token is unknown, revoked or expired. Make a new one: POST /api/tokens.")
    if found.unnoted and found.principal.token_id is not None:
        store.used(found.principal.token_id)
    return found


def create_owner(store: TokenStore) -> tuple[Principal, str]:
    """The local owner and a fresh token for it, with all scopes that there are."""
    owner = store.principal_named(PrincipalId(uuid7()), LOCAL, LOCAL)
    _, secret = create_token(store, owner, "owner", (), None)
    return owner, secret


def create_token(
    store: TokenStore, owner: Principal, name: str, scopes: tuple[str, ...], expires_in_days: float | None
) -> tuple[Token, str]:
    """A token of `owner` and its secret, which is told this once. Without `scopes` it says all that `owner` may now.

    Whoever asks has been let through by the door: its owner, or an administrator for a service account.
    """
    name = name.strip()
    if not name or len(name) > 100:
        raise Invalid("Give the token a name of 1 to 100 characters, so that you know later what it is for.", field="name")
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise Invalid(f"There is no scope {', '.join(unknown)}. Scopes are {', '.join(SCOPES)}.", field="scopes")
    possible = possible_scopes(owner.roles)
    useless = sorted(set(scopes) - possible)
    if useless:
        raise Invalid(f"A token with {', '.join(useless)} would be of no use: the role does not allow it.", field="scopes")
    if expires_in_days is not None and not 0 < expires_in_days <= 3660:
        raise Invalid("expires_in_days is above 0 and at most 3660.", field="expires_in_days")
    secret = new_secret()
    now = datetime.now(UTC)
    token = Token(
        id=TokenId(uuid7()),
        name=name,
        hint=secret[-4:],
        scopes=tuple(sorted(set(scopes) or possible)),
        created_at=now,
        expires_at=now + timedelta(days=expires_in_days) if expires_in_days else None,
    )
    return store.add(token, owner.id, digest(secret)), secret


def tell_created(token: Token, owner: Principal, trail: Trail) -> None:
    """Note a token that was made; for whom, when that is a program."""
    about = Details(scopes=token.scopes, until=token.expires_at)
    subject, program = (SubjectKind.TOKEN, token.id), owner.id if owner.service else None
    trail.record(EventKind.API_TOKEN_CREATED, subject, about, behalf_of=program)


def revoke_token(store: TokenStore, owner: Principal, id: TokenId, trail: Trail) -> None:
    """End a token at once."""
    if not store.revoke(owner.id, id):
        raise NotFound("There is no such token, or it is revoked already.")
    subject, program = (SubjectKind.TOKEN, id), owner.id if owner.service else None
    trail.record(EventKind.API_TOKEN_REVOKED, subject, behalf_of=program)

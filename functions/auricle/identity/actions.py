"""Signing in with a password, and everything that follows from it: sessions, renewal, signing out, another password."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from auricle.access.fingerprint import device
from auricle.access.model import Asking, Principal, PrincipalId, digest
from auricle.access.permissions import Role
from auricle.access.sameorigin import Carrier, require_proof
from auricle.access.sessions import (
    Factor,
    Limits,
    Outcome,
    Proof,
    Session,
    SessionId,
    Turn,
    Why,
    end,
    over,
    renew,
)
from auricle.admin.audit.kinds import ActorKind, Credential, EventKind, Method, SubjectKind
from auricle.admin.audit.kinds import Reason as AuditReason
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import SYSTEM, Actor, Trail
from auricle.contract.ids import uuid7
from auricle.contract.store import Units
from auricle.errors import Conflict, Denied, Invalid, NotFound, Retryable, TooMany, Unauthenticated
from auricle.identity.accounts.store import LinkStore
from auricle.identity.entering import Issued, Making, Pending, acting, client_of, end_others, ending, enter
from auricle.identity.events import LetterWanted
from auricle.identity.federation.providers import Elsewhere
from auricle.identity.federation.store import FederationStore
from auricle.identity.lockout import Attempt, Guess, Lockout
from auricle.identity.mailtexts import Letter
from auricle.identity.model import Account, AccountState, SetupCode
from auricle.identity.onetime import Purpose
from auricle.identity.passwords import Kept, Passwords, Person, Profile, due, refuse
from auricle.identity.store import IdentityStore
from auricle.ports.ephemeral import Ephemeral
from auricle.ports.hashing import PasswordHasher

log = logging.getLogger(__name__)
LONGEST_EMAIL = 254
"""Characters (RFC 5321, 4.5.3.1.3, without the brackets)."""
LONGEST_NAME = 200
BY_PASSWORD = Details(method=Method.PASSWORD)
WRONG = "The e-mail address or the password is not right."
"""For whatever was wrong: it tells nobody whether there is an account, nor whether it is closed."""


class SignedOut(Unauthenticated):
    """The refresh token is worth nothing any more: the browser is told to forget it."""

    def __init__(self, cleared: str) -> None:
        """`cleared` is the `Set-Cookie` line."""
        super().__init__("You are not signed in any more. Sign in again.")
        self.headers: Mapping[str, str] = {"Set-Cookie": cleared}


def set_up(
    units: Units,
    hasher: PasswordHasher,
    passwords: Passwords,
    making: Making,
    code: SetupCode,
    asking: Asking,
    *,
    presented: str,
    email: str,
    display_name: str,
    password: str,
) -> Issued | Pending:
    """The first owner, signed in. Whoever comes second, even at the same moment, is refused."""
    making.from_our_page(asking)
    now = datetime.now(UTC)
    if not code.value or not hmac.compare_digest(code.value.encode(), presented.strip().encode(errors="replace")):
        making.trail.refused(EventKind.SETUP_COMPLETED, AuditReason.WRONG_KIND)
        raise Denied(
            "That is not the setup code. It is in the file setup-code of the data folder, or where the operator put it."
        )
    account = Account(
        id=PrincipalId(uuid7()), email=_address(email), display_name=named(display_name), role=Role.OWNER, changed_at=now
    )
    person = Person(names=(account.display_name,), email=account.email)
    refuse(passwords.check(password, person, Kept(), now))
    kept = passwords.remembered(Kept(), hasher.hash(password), now)
    with units.unit() as db:
        store = IdentityStore(db)
        if not store.begin_setup():
            raise Conflict("This installation has its first owner already. Sign in, or ask them for an invitation.")
        account = store.add_owner(account, kept)
        store.signed_in(account.id, now, must_change=False)
        making.trail.within(db).record(
            EventKind.SETUP_COMPLETED,
            (SubjectKind.USER, account.id),
            actor=Actor(kind=ActorKind.ANONYMOUS, credential=Credential.SETUP_CODE),
        )
        return enter(store, making, account, Factor.PASSWORD, Method.SETUP_CODE, asking, now)


def sign_in(
    units: Units, hasher: PasswordHasher, profile: Profile, making: Making, asking: Asking, email: str, password: str
) -> Issued | Pending:
    """A session for who knows the password. Unknown names, closed accounts and wrong passwords are answered alike."""
    making.from_our_page(asking)
    known = making.devices.known(making.site, asking, email)
    lockout = Lockout.by(making.lockout, making.ephemeral, Guess.PASSWORD)
    attempt = Attempt(email, asking.address, known)
    try:
        lockout.admit(attempt)
    except TooMany:
        making.trail.refused(EventKind.LOGIN, AuditReason.LOCKED, account=email, details=BY_PASSWORD)
        raise
    try:
        with units.unit() as db:
            account = IdentityStore(db).by_email(email)
        right = hasher.verify(password, account.password_hash if account is not None else None)
    except Retryable:
        lockout.withdrawn(attempt)
        raise
    why = _refusal(account, right)
    if account is None or why is not None:
        making.trail.refused(
            EventKind.LOGIN,
            why or AuditReason.UNKNOWN_ACCOUNT,
            (SubjectKind.USER, account.id) if account else None,
            account=email,
            details=BY_PASSWORD,
        )
        raise Unauthenticated(WRONG)
    lockout.succeeded(attempt)
    newer = hasher.hash(password) if hasher.needs_rehash(account.password_hash or "") else None
    with units.unit() as db:
        return _admitted(IdentityStore(db), account, newer, profile, making, asking)


def renew_session(units: Units, making: Making, asking: Asking) -> Issued:
    """The next access token and the next refresh token for the one in the cookie; a copy that comes back ends the session."""
    cookie, now = making.site.cookie, datetime.now(UTC)
    secret = cookie.value_in(asking.headers.get("cookie"))
    if secret is None:
        raise Unauthenticated("Sign in first: there is no sign-in to renew.")
    require_proof(Carrier.COOKIE, asking.method, asking.headers, making.site.origins(asking))
    with units.unit() as db:  # committed before anything is refused: what ended stays ended
        issued, turn = _renewed(IdentityStore(db), making, secret, asking, now)
    if turn is Turn.STALE:
        raise Conflict("Another page has renewed this sign-in just now. Ask again with the newer cookie.")
    if issued is None:
        raise SignedOut(cookie.clearing())
    return issued


def sign_out(elsewhere: Elsewhere, who: Principal) -> tuple[str, str | None]:
    """End the session that asks; the `Set-Cookie` line that clears its cookie, and where to sign out of where it came from."""
    making, own = elsewhere.making, _own(who)
    with elsewhere.units.unit() as db:
        visit = FederationStore(db).visit(own)
        if _end(IdentityStore(db), who, own, Why.SIGNED_OUT):
            making.trail.within(db).record(EventKind.LOGOUT, (SubjectKind.SESSION, own))
    return making.site.cookie.clearing(), elsewhere.way_out(visit)


def sign_out_everywhere(store: IdentityStore, making: Making, who: Principal) -> str:
    """End all sessions of the person, also those that are just beginning; the `Set-Cookie` line that clears the cookie."""
    _own(who)
    store.locked_account(who.id)  # sign-ins of one person take turns: none slips in between
    count = end_others(store, who.id, None, datetime.now(UTC), Why.SIGNED_OUT)
    # The last that can fail before the commit. It ends half-finished sign-ins, too, which have no session yet.
    making.ephemeral.bump(who.id)
    making.trail.record(EventKind.LOGOUT_ALL, (SubjectKind.USER, who.id), Details(count=count))
    return making.site.cookie.clearing()


def living_sessions(store: IdentityStore, ephemeral: Ephemeral, limits: Limits, who: Principal) -> list[Session]:
    """The person's sessions that are not over, newest first."""
    now, epoch = datetime.now(UTC), ephemeral.epoch(who.id)
    living = (s for s in store.sessions_of(who.id) if over(s, epoch=epoch, limits=limits, now=now) is None)
    return sorted(living, key=lambda session: session.id, reverse=True)


def end_session(store: IdentityStore, trail: Trail, who: Principal, id: SessionId) -> None:
    """End one of one's own sessions; its tokens are worth nothing from the next request on."""
    if not _end(store, who, id, Why.SIGNED_OUT):
        raise NotFound("You have no such session, or it has ended already.")
    trail.record(EventKind.SESSION_TERMINATED, (SubjectKind.SESSION, id))


def change_password(
    store: IdentityStore,
    hasher: PasswordHasher,
    passwords: Passwords,
    making: Making,
    who: Principal,
    asking: Asking,
    current: str,
    new: str,
) -> Issued:
    """Another password. All other sessions end, and this one goes on under new tokens; links to set one are worth nothing."""
    now, own = datetime.now(UTC), _own(who)
    account = store.locked_account(who.id)
    if account is None or account.password_hash is None:
        raise Conflict("You sign in without a password here, so there is none to change.")
    # Counted apart from strangers' guesses: they cannot keep its owner from changing it.
    lockout, attempt = (
        Lockout.by(making.lockout, making.ephemeral, Guess.PASSWORD),
        Attempt(account.email, asking.address, f"session {own}"),
    )
    lockout.admit(attempt)
    if not hasher.verify(current, account.password_hash):
        making.trail.refused(EventKind.PASSWORD_CHANGED, AuditReason.WRONG_PASSWORD, (SubjectKind.USER, who.id))
        raise Invalid("The current password is not right.", field="current_password")
    lockout.succeeded(attempt)
    kept = store.kept(account)
    person = Person(names=(account.display_name,), email=account.email)
    refuse(passwords.check(new, person, kept, now, current))
    store.choose_password(account, passwords.remembered(kept, hasher.hash(new), now))
    count = end_others(store, who.id, own, now)
    # The last that can fail before the commit: if that fails too, everybody has to sign in again, and nobody gets in.
    epoch = making.ephemeral.bump(account.id)
    making.trail.record(EventKind.PASSWORD_CHANGED, (SubjectKind.USER, who.id), Details(count=count))
    LinkStore(store.db).forget(Purpose.RESET, str(who.id))
    making.post.publish(store.db, LetterWanted(letter=Letter.PASSWORD_CHANGED, person=who.id))
    account = msgspec.structs.replace(account, must_change=False)
    return making.succeeded(store, account, own, Proof(Factor.PASSWORD, now), asking, now, epoch)


def _admitted(
    store: IdentityStore, verified: Account, newer: str | None, profile: Profile, making: Making, asking: Asking
) -> Issued | Pending:
    """What comes of it, if the account is still as it was when its password was verified."""
    now = datetime.now(UTC)
    account = store.locked_account(verified.id)
    if account is None or account.password_hash != verified.password_hash or not account.open(now):
        raise Unauthenticated(WRONG)
    if newer is not None:
        store.rehash(account.id, newer)
    must_change = due(profile, Kept(changed_at=account.changed_at, must_change=account.must_change), now) is not None
    store.signed_in(account.id, now, must_change=must_change)
    account = msgspec.structs.replace(account, must_change=must_change)
    return enter(store, making, account, Factor.PASSWORD, Method.PASSWORD, asking, now)


def _renewed(store: IdentityStore, making: Making, secret: str, asking: Asking, now: datetime) -> tuple[Issued | None, Turn]:
    """What came of a refresh token, stored. No account, no session or no token of that digest: over."""
    id = store.session_of_refresh(digest(secret))
    session = store.locked_session(id) if id is not None else None
    presented = store.refresh(digest(secret))
    if session is None or presented is None:
        return None, Turn.OVER
    account = store.account(session.user)
    if account is None or not account.open(now):
        store.store_sessions([end(session, Why.AUTHORITY, now)])
        making.trail.refused(EventKind.TOKEN_REFRESHED, AuditReason.DISABLED, (SubjectKind.SESSION, session.id))
        return None, Turn.OVER
    live = store.live_refresh(session.id)
    outcome = renew(
        session,
        presented,
        live,
        secret,
        client=client_of(asking, session.id),
        salt=secrets.token_bytes(32),
        epoch=making.ephemeral.epoch(account.id),
        limits=making.limits,
        now=now,
    )
    _store(store, outcome, making.trail)
    if outcome.alert:
        alarm = LetterWanted(letter=Letter.REFRESH_REUSED, person=account.id, device=device(asking.user_agent))
        making.post.publish(store.db, alarm)
    refresh = outcome.made or live
    if outcome.secret is None or refresh is None:
        return None, outcome.turn
    return making.issued(account, outcome.session, outcome.secret, refresh, asking, now), outcome.turn


def _store(store: IdentityStore, outcome: Outcome, trail: Trail) -> None:
    session, within = outcome.session, trail.within(store.db)
    if outcome.alert:
        log.warning("session %s ended: a refresh token came back that was replaced", session.id)
        within.record(EventKind.TOKEN_REUSED, (SubjectKind.SESSION, session.id), behalf_of=session.user)
    elif outcome.turn is Turn.OVER and session.ended is not None:
        within.record(*ending(session), actor=SYSTEM, behalf_of=session.user)
    if outcome.turn not in (Turn.REPEATED, Turn.STALE):
        store.store_sessions([session])
    if outcome.spent is not None and outcome.made is not None:
        store.rotate(outcome.spent, outcome.made)
        within.record(EventKind.TOKEN_REFRESHED, (SubjectKind.SESSION, session.id), actor=acting(session.user))


def _refusal(account: Account | None, right: bool) -> AuditReason | None:
    """Why nobody gets in, for the trail alone."""
    if account is None:
        return AuditReason.UNKNOWN_ACCOUNT
    if not right:
        return AuditReason.WRONG_PASSWORD
    if account.open(datetime.now(UTC)):
        return None
    return AuditReason.EXPIRED if account.state is AccountState.ACTIVE else AuditReason.DISABLED


def _end(store: IdentityStore, who: Principal, id: SessionId, why: Why) -> bool:
    session = store.locked_session(id)
    if session is None or session.user != who.id or session.ended is not None:
        return False
    store.store_sessions([end(session, why, datetime.now(UTC))])
    return True


def _own(who: Principal) -> SessionId:
    if who.session_id is None:
        raise Denied("This is only done by a person who is signed in, never with a token.")
    return SessionId(who.session_id)


def _address(email: str) -> str:
    email = email.strip()
    local, at, domain = email.rpartition("@")
    if not (local and at and domain) or len(email) > LONGEST_EMAIL or any(c.isspace() or not c.isprintable() for c in email):
        raise Invalid("That is no e-mail address. Write it as name@example.org.", field="email")
    return email


def named(name: str) -> str:
    """What somebody is called, on one line."""
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Invalid(f"A name has 1 to {LONGEST_NAME} characters, all on one line.", field="display_name")
    return name

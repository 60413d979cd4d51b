"""Showing a second factor, or the password again: what ends a pending sign-in, and what dangerous permissions ask for."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import msgspec

from auricle.access.sessions import Factor, Proof
from auricle.admin.audit.kinds import EventKind, Method, Reason, SubjectKind
from auricle.admin.audit.kinds import Factor as SecondFactor
from auricle.admin.audit.model import Details
from auricle.contract.store import Units
from auricle.errors import Conflict, Invalid, Retryable, TooMany
from auricle.identity import totp
from auricle.identity.backupcodes import BackupCode, matching
from auricle.identity.entering import Issued, Making, acting
from auricle.identity.factors.model import Authenticator
from auricle.identity.factors.presence import Present, present_account
from auricle.identity.factors.store import FactorStore
from auricle.identity.lockout import Guess, Lockout
from auricle.identity.store import IdentityStore
from auricle.ports.hashing import PasswordHasher
from auricle.ports.sealing import Sealing

WRONG = "That code is not right, or it was used already. Wait for the next one, or take another."
"""For whatever was wrong, also where there is nothing that it could be right for."""
REPLAY_SECONDS = 2.0 * (2 * totp.WINDOW + 1) * totp.PERIOD


class Step(msgspec.Struct, frozen=True):
    """A right code of an authenticator app: of which secret, and for which step."""

    sealed: bytes
    step: int

    @property
    def key(self) -> str:
        """What stands for it where codes are remembered: another secret may have another code for the same step."""
        return f"totp {hashlib.sha256(self.sealed).hexdigest()} {self.step}"


class Wrong(msgspec.Struct, frozen=True):
    """A code that is not good, and why, for the trail alone."""

    reason: Reason


def verify(units: Units, hasher: PasswordHasher, sealing: Sealing, making: Making, present: Present, code: str) -> Issued:
    """The session for a code of the authenticator app or a backup code: the one that waited, or this one's successor."""
    now = datetime.now(UTC)
    with units.unit() as db:
        store = FactorStore(db)
        account = IdentityStore(db).account(present.person)
        kept, codes = store.authenticator(present.person), store.backup_codes(present.person)
    if account is None:
        raise Invalid(WRONG, field="code")
    lockout, attempt = Lockout.by(making.lockout, making.ephemeral, Guess.SECOND_FACTOR), present.attempt(account, making)
    try:
        lockout.admit(attempt)
    except TooMany:
        _refused(making, present, Reason.LOCKED)
        raise
    try:
        found = _checked(hasher, sealing, present, kept, codes, code, now)
        if isinstance(found, Step) and not making.ephemeral.once(found.key, REPLAY_SECONDS):
            found = Wrong(Reason.REPLAYED)
    except Retryable:
        lockout.withdrawn(attempt)
        raise
    if isinstance(found, Wrong):
        _refused(making, present, found.reason)
        raise Invalid(WRONG, field="code")
    with units.unit() as db:
        issued = _used(IdentityStore(db), making, present, found, now)
    lockout.succeeded(attempt)
    return issued


def confirm_password(units: Units, hasher: PasswordHasher, making: Making, present: Present, password: str) -> Issued:
    """The session's successor with the password shown just now."""
    own, now = present.own, datetime.now(UTC)
    with units.unit() as db:
        account = IdentityStore(db).account(present.person)
    if account is None or account.password_hash is None:
        raise Conflict("There is no password here to confirm with. Sign out and in again.")
    attempt = msgspec.structs.replace(present.attempt(account, making), name=account.email)
    lockout = Lockout.by(making.lockout, making.ephemeral, Guess.PASSWORD)
    subject = (SubjectKind.USER, account.id)
    try:
        lockout.admit(attempt)
    except TooMany:
        making.trail.refused(EventKind.STEP_UP, Reason.LOCKED, subject, details=Details(method=Method.PASSWORD))
        raise
    try:
        right = hasher.verify(password, account.password_hash)
    except Retryable:
        lockout.withdrawn(attempt)
        raise
    if not right:
        making.trail.refused(EventKind.STEP_UP, Reason.WRONG_PASSWORD, subject, details=Details(method=Method.PASSWORD))
        raise Invalid("The password is not right.", field="password")
    lockout.succeeded(attempt)
    with units.unit() as db:
        store = IdentityStore(db)
        current = present_account(store, account.id, now)
        if current.password_hash != account.password_hash:
            raise Conflict("The password was changed just now. Sign in again.")
        details = Details(method=Method.PASSWORD, session=own)
        making.trail.within(db).record(EventKind.STEP_UP, subject, details, actor=acting(account.id))
        return making.succeeded(store, current, own, Proof(Factor.PASSWORD, now), present.asking, now)


def shown(making: Making, store: IdentityStore, present: Present, factor: SecondFactor, left: int | None = None) -> None:
    """Tell the trail that a second factor was right, and what for."""
    details = Details(factor=factor, count=left)
    trail, who = making.trail.within(store.db), acting(present.person)
    used_up = factor is SecondFactor.BACKUP_CODE
    kind = EventKind.BACKUP_CODE_USED if used_up else EventKind.MFA_VERIFIED
    trail.record(kind, (SubjectKind.USER, present.person), details, actor=who)
    if present.session is not None:
        trail.record(EventKind.STEP_UP, (SubjectKind.SESSION, present.session.id), Details(factor=factor), actor=who)


def _checked(
    hasher: PasswordHasher,
    sealing: Sealing,
    present: Present,
    kept: Authenticator | None,
    codes: tuple[BackupCode, ...],
    code: str,
    now: datetime,
) -> Step | BackupCode | Wrong:
    """What the code is good for. Six digits are an app's, all else is a backup code, so that each try costs one check."""
    if not "".join(code[:32].split()).isdigit():
        return matching(code, codes, hasher) or Wrong(Reason.WRONG_FACTOR)
    if kept is None or kept.sealed is None:
        return Wrong(Reason.WRONG_FACTOR)
    secret = totp.unseal(kept.sealed, present.person, sealing)
    step = totp.accepted_step(secret, code, now, kept.last_step)
    if step is not None:
        return Step(kept.sealed, step)
    seen_before = totp.accepted_step(secret, code, now, None) is not None
    return Wrong(Reason.REPLAYED if seen_before else Reason.WRONG_FACTOR)


def _used(store: IdentityStore, making: Making, present: Present, found: Step | BackupCode, now: datetime) -> Issued:
    """Use the code up, and give what it is good for; of two uses at once, one wins."""
    account, factors = present_account(store, present.person, now), FactorStore(store.db)
    if isinstance(found, Step):
        factor, proof, left = SecondFactor.TOTP, Factor.TOTP, None
        first = factors.spend_step(account.id, found.sealed, found.step)
    else:
        factor, proof = SecondFactor.BACKUP_CODE, Factor.BACKUP_CODE
        first = factors.spend_backup_code(account.id, found)
        left = len(factors.backup_codes(account.id))
    if not first:
        _refused(making, present, Reason.REPLAYED)
        raise Invalid(WRONG, field="code")
    shown(making, store, present, factor, left)
    return present.completed(store, making, account, Proof(proof, now), now)


def _refused(making: Making, present: Present, reason: Reason) -> None:
    making.trail.refused(EventKind.MFA_VERIFIED, reason, (SubjectKind.USER, present.person))

"""Setting up an authenticator app and backup codes, and taking factors away: each ends all other sessions of the person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import msgspec

from auricle.access.model import PrincipalId
from auricle.access.sessions import Factor, Proof
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.kinds import Factor as SecondFactor
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import Actor, Trail
from auricle.contract.store import Units
from auricle.errors import Conflict, Invalid, NotFound
from auricle.identity import totp
from auricle.identity.backupcodes import new_codes
from auricle.identity.entering import Issued, Making, acting, end_others
from auricle.identity.events import LetterWanted
from auricle.identity.factors.presence import Present, present_account
from auricle.identity.factors.store import FactorStore
from auricle.identity.lockout import Guess, Lockout
from auricle.identity.mailtexts import Letter
from auricle.identity.model import Account
from auricle.identity.store import IdentityStore
from auricle.ports.ephemeral import Ephemeral
from auricle.ports.hashing import PasswordHasher
from auricle.ports.sealing import Sealing

OFFERED_FOR = timedelta(hours=1)
"""How long a secret waits for its first code."""
WRONG = "That code is not right. Check the clock of the device, wait for the next code and type that one."
NO_OFFER = "There is nothing to confirm, or it waited too long. Begin again: POST /api/mfa/totp."
LAST = "A second factor is required of you, and this is your last one. Set up another one first."


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A secret for an authenticator app: to be typed, as an `otpauth:` address, and as a picture (SVG) of that."""

    secret: str
    uri: str
    qr_svg: str

    def __repr__(self) -> str:
        """Without the secret."""
        return "Offer()"


def offer_totp(store: IdentityStore, sealing: Sealing, making: Making, present: Present) -> Offer:
    """A new secret. The one in use, if there is any, stays in use until the new one's first code was right."""
    now = datetime.now(UTC)
    account = present_account(store, present.person, now)
    present.may_change(account, now)
    secret = totp.new_secret()
    FactorStore(store.db).offer(account.id, totp.seal(secret, account.id, sealing), now)
    # A colon would cut what the app shows in two, elsewhere than we mean.
    uri = totp.provisioning_uri(secret, _issuer(making), account.email.replace(":", " "))
    return Offer(secret=secret, uri=uri, qr_svg=totp.qr_svg(uri))


def confirm_totp(
    units: Units, hasher: PasswordHasher, sealing: Sealing, making: Making, present: Present, code: str
) -> tuple[Issued, tuple[str, ...]]:
    """The offered secret is in use from its first code on; with a new set of backup codes, told this once."""
    now = datetime.now(UTC)
    with units.unit() as db:
        kept = FactorStore(db).authenticator(present.person)
    if kept is None or kept.offered is None or kept.offered_at is None or now >= kept.offered_at + OFFERED_FOR:
        raise Conflict(NO_OFFER)
    step = totp.accepted_step(totp.unseal(kept.offered, present.person, sealing), code, now, None)
    if step is None:
        raise Invalid(WRONG, field="code")
    codes, plain = new_codes(hasher)  # ten slow hashes: no connection is held meanwhile
    with units.unit() as db:
        store, factors = IdentityStore(db), FactorStore(db)
        account = present_account(store, present.person, now)
        present.may_change(account, now)
        if not factors.confirm(account.id, kept.offered, step, now):
            raise Conflict(NO_OFFER)
        factors.replace_backup_codes(account.id, codes)
        return changed(store, making, present, account, SecondFactor.TOTP, EventKind.MFA_SETUP, now), plain


def remove_totp(store: IdentityStore, making: Making, present: Present) -> Issued:
    """Forget the authenticator app; `Conflict` when it is the last factor of who must have one."""
    now = datetime.now(UTC)
    account, factors = present_account(store, present.person, now), FactorStore(store.db)
    if not factors.drop_authenticator(account.id):
        raise NotFound("You have no authenticator app set up.")
    return removed(store, making, present, account, SecondFactor.TOTP, EventKind.MFA_DISABLED, now)


def renew_backup_codes(units: Units, hasher: PasswordHasher, making: Making, present: Present) -> tuple[str, ...]:
    """Ten others in place of all backup codes, told this once."""
    codes, plain = new_codes(hasher)
    now = datetime.now(UTC)
    with units.unit() as db:
        account = present_account(IdentityStore(db), present.person, now)
        if not account.second_factor:
            raise Conflict("Backup codes stand in for a second factor. Set one up first: POST /api/mfa/totp.")
        present.may_change(account, now)
        FactorStore(db).replace_backup_codes(account.id, codes)
        subject = (SubjectKind.USER, account.id)
        making.trail.within(db).record(EventKind.BACKUP_CODES_RENEWED, subject, Details(count=len(codes)))
        making.post.publish(db, LetterWanted(letter=Letter.FACTORS_CHANGED, person=account.id))
    return plain


def reset_factors(
    store: IdentityStore, ephemeral: Ephemeral, trail: Trail, person: PrincipalId, actor: Actor | None = None
) -> int:
    """An administrator's: take all second factors of somebody away and end all their sessions; how many factors there were.

    `trail` writes in the unit of work of `store`. `NotFound` when that is no person's account.
    """
    account = store.locked_account(person)
    if account is None:
        raise NotFound("There is no such account.")
    count, now = FactorStore(store.db).forget(person), datetime.now(UTC)
    end_others(store, person, None, now)
    Lockout(ephemeral, Guess.SECOND_FACTOR).unlock(str(person))
    trail.record(EventKind.MFA_RESET, (SubjectKind.USER, person), Details(count=count), actor=actor)
    ephemeral.bump(person)  # last: should the commit fail, somebody has to sign in again, and nobody gets in
    return count


def changed(
    store: IdentityStore,
    making: Making,
    present: Present,
    account: Account,
    factor: SecondFactor,
    kind: EventKind,
    now: datetime,
) -> Issued:
    """After a factor was added, and thereby shown: all other sessions end, and this one goes on (or begins)."""
    FactorStore(store.db).settle(account.id)
    _told(store, making, present, account, factor, kind, now)
    proof = Proof(Factor.TOTP if factor is SecondFactor.TOTP else Factor.PASSKEY, now)
    epoch = making.ephemeral.bump(account.id)
    account = msgspec.structs.replace(account, second_factor=True)
    return present.completed(store, making, account, proof, now, epoch)


def removed(
    store: IdentityStore,
    making: Making,
    present: Present,
    account: Account,
    factor: SecondFactor,
    kind: EventKind,
    now: datetime,
) -> Issued:
    """After a factor was taken away: all other sessions end. `Conflict` when none is left of who must have one."""
    factors = FactorStore(store.db)
    left = factors.settle(account.id)
    if not left and making.policy.requires({account.role}):
        raise Conflict(LAST)
    if not left:
        factors.replace_backup_codes(account.id, ())
    _told(store, making, present, account, factor, kind, now)
    epoch = making.ephemeral.bump(account.id)
    account = msgspec.structs.replace(account, second_factor=left)
    return making.succeeded(store, account, present.own, None, present.asking, now, epoch)


def _told(
    store: IdentityStore,
    making: Making,
    present: Present,
    account: Account,
    factor: SecondFactor,
    kind: EventKind,
    now: datetime,
) -> None:
    own = present.session.id if present.session is not None else None
    details = Details(factor=factor, count=end_others(store, account.id, own, now))
    making.trail.within(store.db).record(kind, (SubjectKind.USER, account.id), details, actor=acting(account.id))
    making.post.publish(store.db, LetterWanted(letter=Letter.FACTORS_CHANGED, person=account.id))


def _issuer(making: Making) -> str:
    """What apps show beside the code; an address with a colon in it would be cut."""
    host = urlsplit(making.site.issuer).hostname or ""
    return f"Auricle {host}" if host and ":" not in host else "Auricle"

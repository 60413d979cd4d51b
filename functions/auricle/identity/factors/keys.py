"""Passkeys: registered, listed, renamed and removed; shown as a second factor, or alone to sign in."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from auricle.access.model import Asking, PrincipalId
from auricle.access.sessions import Factor, Proof
from auricle.admin.audit.kinds import EventKind, Method, Reason, SubjectKind
from auricle.admin.audit.kinds import Factor as SecondFactor
from auricle.admin.audit.model import Details
from auricle.contract.ids import uuid7
from auricle.contract.store import Units
from auricle.errors import Conflict, NotFound
from auricle.identity import passkeys as ceremonies
from auricle.identity.backupcodes import new_codes
from auricle.identity.entering import Issued, Making, Pending, enter
from auricle.identity.factors.enrolling import changed, removed
from auricle.identity.factors.model import Registered
from auricle.identity.factors.presence import Present, present_account
from auricle.identity.factors.proving import shown
from auricle.identity.factors.store import FactorStore
from auricle.identity.model import Account
from auricle.identity.passkeys import Act, Ceremony
from auricle.identity.store import IdentityStore
from auricle.ports.ephemeral import Ephemeral
from auricle.ports.hashing import PasswordHasher
from auricle.ports.passkeys import Owner, Passkey, PasskeyRefused, Passkeys, Refusal, Use

log = logging.getLogger(__name__)


class Begun(msgspec.Struct, frozen=True):
    """A ceremony: `id` comes back with the answer, `options` is what the browser is asked (JSON)."""

    id: str
    options: bytes


def begin_registration(store: IdentityStore, passkeys: Passkeys, making: Making, present: Present, use: Use) -> Begun:
    """Ask the device for a new passkey."""
    now = datetime.now(UTC)
    account, factors = present_account(store, present.person, now), FactorStore(store.db)
    present.may_change(account, now)
    own = [one.passkey for one in factors.passkeys(account.id)]
    ceremonies.check_room(own)
    ceremony = ceremonies.begin(Act.REGISTER, use, account.id, now)
    options = passkeys.registration_options(_owner(account, factors), use, ceremony.challenge, own)
    return _kept(making.ephemeral, ceremony, options)


def register(
    units: Units,
    hasher: PasswordHasher,
    passkeys: Passkeys,
    making: Making,
    present: Present,
    *,
    ceremony: str,
    use: Use,
    name: str,
    response: bytes,
) -> tuple[Issued, Registered, tuple[str, ...]]:
    """Keep the passkey that was made. Who has no backup codes yet is given some, told this once."""
    now, name = datetime.now(UTC), ceremonies.good_name(name)
    with units.unit() as db:
        account = present_account(IdentityStore(db), present.person, now)
        owner, has_codes = _owner(account, FactorStore(db)), bool(FactorStore(db).backup_codes(account.id))
    begun = ceremonies.finish(_taken(making.ephemeral, ceremony), Act.REGISTER, use, account.id, now)
    made = passkeys.register(response, owner, use, begun.challenge)
    codes, plain = ((), ()) if has_codes else new_codes(hasher)
    one = Registered(id=uuid7(), person=account.id, name=name, passkey=made, created_at=now)
    with units.unit() as db:
        store, factors = IdentityStore(db), FactorStore(db)
        account = present_account(store, present.person, now)
        present.may_change(account, now)
        own = [known.passkey for known in factors.passkeys(account.id)]
        ceremonies.check_new(made, own, not factors.add_passkey(one))
        if codes:
            factors.replace_backup_codes(account.id, codes)
        issued = changed(store, making, present, account, SecondFactor.PASSKEY, EventKind.PASSKEY_ADDED, now)
    return issued, one, plain


def rename(store: IdentityStore, present: Present, id: UUID, name: str) -> None:
    """Call a passkey otherwise."""
    if not FactorStore(store.db).rename_passkey(present.person, id, ceremonies.good_name(name)):
        raise NotFound("You have no such passkey.")


def remove(store: IdentityStore, making: Making, present: Present, id: UUID) -> Issued:
    """Forget a passkey; `Conflict` when it is the last factor of who must have one."""
    now = datetime.now(UTC)
    account = present_account(store, present.person, now)
    if not FactorStore(store.db).drop_passkey(account.id, id):
        raise NotFound("You have no such passkey.")
    return removed(store, making, present, account, SecondFactor.PASSKEY, EventKind.PASSKEY_REMOVED, now)


def begin_factor(store: IdentityStore, passkeys: Passkeys, making: Making, present: Present) -> Begun:
    """Ask for one of the person's passkeys, as the second factor."""
    own = [one.passkey for one in FactorStore(store.db).passkeys(present.person)]
    if not own:
        raise Conflict("You have no passkey. Show another factor: POST /api/mfa/verify.")
    ceremony = ceremonies.begin(Act.AUTHENTICATE, Use.SECOND_FACTOR, present.person, datetime.now(UTC))
    options = passkeys.authentication_options(Use.SECOND_FACTOR, ceremony.challenge, own)
    return _kept(making.ephemeral, ceremony, options)


def show_factor(
    units: Units, passkeys: Passkeys, making: Making, present: Present, *, ceremony: str, response: bytes
) -> Issued:
    """The session for a passkey that is the second factor: the one that waited, or this one's successor."""
    now = datetime.now(UTC)
    with units.unit() as db:
        own = FactorStore(db).passkeys(present.person)
    try:
        begun = ceremonies.finish(_taken(making.ephemeral, ceremony), Act.AUTHENTICATE, Use.SECOND_FACTOR, present.person, now)
        one, after = _answered(passkeys, response, own, begun)
        with units.unit() as db:
            store = IdentityStore(db)
            account = present_account(store, present.person, now)
            _use(FactorStore(db), one, after, now)
            shown(making, store, present, SecondFactor.PASSKEY)
            return present.completed(store, making, account, Proof(Factor.PASSKEY, now), now)
    except PasskeyRefused as refused:
        _refused(making, EventKind.MFA_VERIFIED, refused, present.person, Details(factor=SecondFactor.PASSKEY))
        raise


def begin_sign_in(passkeys: Passkeys, making: Making, asking: Asking) -> Begun:
    """Ask for whichever passkey the device has for us: for nobody, so that a stranger learns of nobody."""
    making.from_our_page(asking)
    ceremony = ceremonies.begin(Act.AUTHENTICATE, Use.PASSWORDLESS, None, datetime.now(UTC))
    return _kept(making.ephemeral, ceremony, passkeys.authentication_options(Use.PASSWORDLESS, ceremony.challenge, ()))


def sign_in(
    units: Units, passkeys: Passkeys, making: Making, asking: Asking, *, ceremony: str, response: bytes
) -> Issued | Pending:
    """A session for a passkey alone, whose device has checked who uses it. All that is wrong is answered alike."""
    making.from_our_page(asking)
    now, person, details = datetime.now(UTC), None, Details(method=Method.PASSKEY)
    try:
        begun = ceremonies.finish(_taken(making.ephemeral, ceremony), Act.AUTHENTICATE, Use.PASSWORDLESS, None, now)
        presented = passkeys.presented(response)
        with units.unit() as db:
            known = FactorStore(db).passkey(presented.id)
        person = known.person if known is not None else None
        one, after = _answered(passkeys, response, [] if known is None else [known], begun)
        with units.unit() as db:
            store = IdentityStore(db)
            account = store.locked_account(one.person)
            if account is None or not account.open(now):
                raise PasskeyRefused(Refusal.OTHER_PERSON)
            _use(FactorStore(db), one, after, now)
            store.signed_in(account.id, now, must_change=account.must_change)
            return enter(store, making, account, Factor.PASSKEY, Method.PASSKEY, asking, now)
    except PasskeyRefused as refused:
        _refused(making, EventKind.LOGIN, refused, person, details)
        raise


def _owner(account: Account, factors: FactorStore) -> Owner:
    handle = factors.handle(account.id, ceremonies.new_handle())
    return Owner(handle=handle, name=account.email, display_name=account.display_name)


def _kept(ephemeral: Ephemeral, ceremony: Ceremony, options: bytes) -> Begun:
    ephemeral.put(f"ceremony {ceremony.id}", ceremony.encoded(), ceremonies.LIFE.total_seconds())
    return Begun(ceremony.id, options)


def _taken(ephemeral: Ephemeral, id: str) -> bytes | None:
    return ephemeral.take(f"ceremony {id[:64]}")


def _answered(passkeys: Passkeys, response: bytes, candidates: list[Registered], begun: Ceremony) -> tuple[Registered, Passkey]:
    """Which passkey answered, and what is to be kept of it from now on."""
    found = ceremonies.among(passkeys.presented(response), [one.passkey for one in candidates])
    one = next(one for one in candidates if one.passkey.id == found.id)
    return one, passkeys.authenticate(response, one.passkey, begun.use, begun.challenge)


def _use(factors: FactorStore, one: Registered, after: Passkey, now: datetime) -> None:
    if not factors.used_passkey(one, after, now):
        raise PasskeyRefused(Refusal.COUNTER)


def _refused(making: Making, kind: EventKind, refused: PasskeyRefused, person: PrincipalId | None, details: Details) -> None:
    why = Refusal(refused.why or "")
    if why is Refusal.COUNTER:
        log.warning("a passkey of %s did not count on: there may be a copy of its key", person)
    reason = REASONS.get(why, Reason.WRONG_FACTOR)
    making.trail.refused(kind, reason, (SubjectKind.USER, person) if person is not None else None, details=details)


REASONS = {
    Refusal.TOO_LARGE: Reason.MALFORMED,
    Refusal.MALFORMED: Reason.MALFORMED,
    Refusal.CEREMONY: Reason.WRONG_STATE,
    Refusal.COUNTER: Reason.REPLAYED,
    Refusal.CROSS_ORIGIN: Reason.CROSS_SITE,
}
"""Why a passkey was refused → the trail's word; all others are a wrong factor."""

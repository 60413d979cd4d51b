"""Second factors over HTTP: enrolling, showing and removing them, and signing in with a passkey alone."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from auricle.access.mfa import need
from auricle.access.model import Asking
from auricle.admin.audit.kinds import Factor
from auricle.contract.choices import Guarded, Permission
from auricle.contract.function import route
from auricle.contract.http import Body, Reply
from auricle.contract.store import Units
from auricle.identity.answers import FactorOwed, SignedIn, renewed, session_of, told
from auricle.identity.entering import Issued, Making
from auricle.identity.factors import enrolling, keys, proving
from auricle.identity.factors.enrolling import Offer
from auricle.identity.factors.keys import Begun
from auricle.identity.factors.model import Registered
from auricle.identity.factors.presence import Present
from auricle.identity.factors.store import FactorStore
from auricle.identity.store import IdentityStore
from auricle.ports.hashing import PasswordHasher
from auricle.ports.passkeys import Passkeys, Use
from auricle.ports.sealing import Sealing


class Code(Body, frozen=True, kw_only=True):
    """Six digits of an authenticator app, or where it says so a backup code."""

    code: str


class OwnPassword(Body, frozen=True, kw_only=True):
    """The caller's password, once more."""

    password: str


class NewPasskey(Body, frozen=True, kw_only=True):
    """What a passkey will be used for: after a password, or alone in place of one."""

    use: Use = Use.PASSWORDLESS


class MadePasskey(Body, frozen=True, kw_only=True):
    """`response`: what the browser answered (`PublicKeyCredential.toJSON()`); `ceremony` and `use` as it was begun."""

    ceremony: str
    use: Use = Use.PASSWORDLESS
    name: str
    response: msgspec.Raw


class ShownPasskey(Body, frozen=True, kw_only=True):
    """`response`: what the browser answered (`PublicKeyCredential.toJSON()`) to the options of this `ceremony`."""

    ceremony: str
    response: msgspec.Raw


class PasskeyName(Body, frozen=True, kw_only=True):
    """What a passkey is called from now on."""

    name: str


class CeremonyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`options` are for `PublicKeyCredential.parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON`."""

    ceremony: str
    options: msgspec.Raw


class OwnPasskey(msgspec.Struct, frozen=True, kw_only=True):
    """One of the caller's passkeys. `passwordless`: it signs in alone; `synced`: it can be on several devices."""

    id: UUID
    name: str
    passwordless: bool
    synced: bool
    created_at: datetime
    used_at: datetime | None


class OwnPasskeys(msgspec.Struct, frozen=True, kw_only=True):
    """All of the caller's passkeys, the oldest first: there are twenty at most."""

    items: list[OwnPasskey]


class OwnFactors(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller has. `required`: one must be there; `needs`: what has to be shown before something dangerous.

    `signed_in`: there is a session; else a factor is to be shown, or enrolled, first.
    """

    factors: tuple[Factor, ...]
    backup_codes_left: int
    required: bool
    needs: str
    signed_in: bool


class BackupCodes(msgspec.Struct, frozen=True, kw_only=True):
    """Codes to be kept on paper, each good once. They are told this once."""

    backup_codes: tuple[str, ...]


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """A new factor. `session`: under which the caller goes on, all others have ended; `backup_codes` as in `BackupCodes`."""

    session: SignedIn
    backup_codes: tuple[str, ...]
    passkey: OwnPasskey | None = None


@route("GET /api/mfa", permission=Permission.MFA, guarded=Guarded.DEFAULT)
def own_factors(store: FactorStore, making: Making, present: Present) -> OwnFactors:
    """The second factors that the caller has and needs."""
    factors, roles = store.shown(present.person), present.who.roles
    has_one = bool({Factor.TOTP, Factor.PASSKEY} & set(factors))
    return OwnFactors(
        factors=factors,
        backup_codes_left=len(store.backup_codes(present.person)),
        required=making.policy.requires(roles),
        needs=need(making.policy, roles, has_one),
        signed_in=present.session is not None,
    )


@route("POST /api/mfa/totp", permission=Permission.MFA, guarded=Guarded.FACTOR_ENROL)
def offer_totp(store: IdentityStore, sealing: Sealing, making: Making, present: Present) -> Reply[Offer]:
    """Begin to set up an authenticator app: its secret, which counts from its first code on."""
    return Reply(enrolling.offer_totp(store, sealing, making, present), secret=True)


@route("POST /api/mfa/totp/confirm", permission=Permission.MFA, guarded=Guarded.FACTOR_ENROL)
def confirm_totp(
    given: Code, units: Units, hasher: PasswordHasher, sealing: Sealing, making: Making, present: Present
) -> Reply[Enrolled]:
    """Finish it with the first code. All other sign-ins end; the backup codes are told this once."""
    issued, codes = enrolling.confirm_totp(units, hasher, sealing, making, present, given.code)
    return _enrolled(issued, codes, None, 200)


@route("DELETE /api/mfa/totp", permission=Permission.ACCOUNT_SECURITY, guarded=Guarded.FACTOR_ENROL)
def remove_totp(store: IdentityStore, making: Making, present: Present) -> Reply[SignedIn]:
    """Forget the authenticator app. All other sign-ins end."""
    return renewed(enrolling.remove_totp(store, making, present))


@route("POST /api/mfa/backup-codes", permission=Permission.ACCOUNT_SECURITY, guarded=Guarded.FACTOR_ENROL)
def renew_backup_codes(units: Units, hasher: PasswordHasher, making: Making, present: Present) -> Reply[BackupCodes]:
    """Ten others in place of all backup codes."""
    return Reply(BackupCodes(backup_codes=enrolling.renew_backup_codes(units, hasher, making, present)), secret=True)


@route("POST /api/mfa/verify", permission=Permission.MFA, guarded=Guarded.FACTOR)
def verify(
    given: Code, units: Units, hasher: PasswordHasher, sealing: Sealing, making: Making, present: Present
) -> Reply[SignedIn]:
    """Show a code of the authenticator app or a backup code: it ends a pending sign-in, or refreshes the one there is."""
    return renewed(proving.verify(units, hasher, sealing, making, present, given.code))


@route("POST /api/session/confirm", permission=Permission.MFA, guarded=Guarded.FACTOR)
def confirm_password(
    given: OwnPassword, units: Units, hasher: PasswordHasher, making: Making, present: Present
) -> Reply[SignedIn]:
    """Show the password once more, before something dangerous; this sign-in goes on with the tokens of the answer."""
    return renewed(proving.confirm_password(units, hasher, making, present, given.password))


@route("POST /api/mfa/passkeys/options", permission=Permission.MFA, guarded=Guarded.PASSKEY_BEGIN)
def begin_registration(
    given: NewPasskey, store: IdentityStore, passkeys: Passkeys, making: Making, present: Present
) -> Reply[CeremonyOptions]:
    """Begin to register a passkey."""
    return _options(keys.begin_registration(store, passkeys, making, present, given.use))


@route("POST /api/mfa/passkeys", permission=Permission.MFA, guarded=Guarded.FACTOR_ENROL, status=201)
def register_passkey(
    given: MadePasskey, units: Units, hasher: PasswordHasher, passkeys: Passkeys, making: Making, present: Present
) -> Reply[Enrolled]:
    """Finish it with the device's answer. All other sign-ins end; first backup codes are told this once."""
    issued, one, codes = keys.register(
        units,
        hasher,
        passkeys,
        making,
        present,
        ceremony=given.ceremony,
        use=given.use,
        name=given.name,
        response=bytes(given.response),
    )
    return _enrolled(issued, codes, one, 201)


@route("GET /api/mfa/passkeys", permission=Permission.ACCOUNT, guarded=Guarded.DEFAULT)
def list_passkeys(store: FactorStore, present: Present) -> OwnPasskeys:
    """The caller's passkeys."""
    return OwnPasskeys(items=[_own(one) for one in store.passkeys(present.person)])


@route("PATCH /api/mfa/passkeys/{passkey_id}", permission=Permission.ACCOUNT_SECURITY, guarded=Guarded.FACTOR_ENROL)
def rename_passkey(passkey_id: UUID, given: PasskeyName, store: IdentityStore, present: Present) -> None:
    """Call a passkey otherwise."""
    keys.rename(store, present, passkey_id, given.name)


@route("DELETE /api/mfa/passkeys/{passkey_id}", permission=Permission.ACCOUNT_SECURITY, guarded=Guarded.FACTOR_ENROL)
def remove_passkey(passkey_id: UUID, store: IdentityStore, making: Making, present: Present) -> Reply[SignedIn]:
    """Forget a passkey. All other sign-ins end."""
    return renewed(keys.remove(store, making, present, passkey_id))


@route("POST /api/mfa/passkey/options", permission=Permission.MFA, guarded=Guarded.PASSKEY_BEGIN)
def begin_passkey_factor(store: IdentityStore, passkeys: Passkeys, making: Making, present: Present) -> Reply[CeremonyOptions]:
    """Begin to show one of the caller's passkeys as the second factor."""
    return _options(keys.begin_factor(store, passkeys, making, present))


@route("POST /api/mfa/passkey", permission=Permission.MFA, guarded=Guarded.PASSKEY_FINISH)
def show_passkey_factor(
    given: ShownPasskey, units: Units, passkeys: Passkeys, making: Making, present: Present
) -> Reply[SignedIn]:
    """Show a passkey: it ends a pending sign-in, or refreshes the one there is."""
    response = bytes(given.response)
    return renewed(keys.show_factor(units, passkeys, making, present, ceremony=given.ceremony, response=response))


@route("POST /api/session/passkey/options", permission=Permission.PUBLIC, guarded=Guarded.PASSKEY_BEGIN)
def begin_passkey_sign_in(asking: Asking, passkeys: Passkeys, making: Making) -> Reply[CeremonyOptions]:
    """Begin to sign in with a passkey alone."""
    return _options(keys.begin_sign_in(passkeys, making, asking))


@route("POST /api/session/passkey", permission=Permission.PUBLIC, guarded=Guarded.PASSKEY_FINISH, status=201, also=(200,))
def sign_in_with_passkey(
    given: ShownPasskey, asking: Asking, units: Units, passkeys: Passkeys, making: Making
) -> Reply[SignedIn | FactorOwed]:
    """Sign in with a passkey alone: its device has checked who uses it."""
    response = bytes(given.response)
    return told(keys.sign_in(units, passkeys, making, asking, ceremony=given.ceremony, response=response))


def _options(begun: Begun) -> Reply[CeremonyOptions]:
    return Reply(CeremonyOptions(ceremony=begun.id, options=msgspec.Raw(begun.options)), secret=True)


def _enrolled(issued: Issued, codes: tuple[str, ...], one: Registered | None, status: int) -> Reply[Enrolled]:
    made = Enrolled(session=session_of(issued), backup_codes=codes, passkey=_own(one) if one is not None else None)
    return Reply(made, status=status, cookies=issued.cookies)


def _own(one: Registered) -> OwnPasskey:
    return OwnPasskey(
        id=one.id,
        name=one.name,
        passwordless=one.passkey.passwordless,
        synced=one.passkey.synced,
        created_at=one.created_at,
        used_at=one.used_at,
    )

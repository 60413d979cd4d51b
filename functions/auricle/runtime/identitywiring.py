"""How the ports of signing in are made: keys, limits, passwords. `runtime.wiring` adds these tables to its own."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auricle.errors import Conflict, Denied

if TYPE_CHECKING:
    from auricle.runtime.wiring import Wiring

NO_CODE = (
    "There is no setup code here. Sign in if this installation has an owner; else whoever runs it makes a code with "
    "`auricle manifests secrets`."
)
EPHEMERAL_SECONDS = 5.0
"""How long the store of limits and ended sign-ins may take to answer."""


def _ephemeral(wiring: Wiring) -> Any:
    s = wiring.settings
    key = bytes.fromhex(s.ephemeral_key)
    if s.redis_url:
        from auricle.adapters.ephemeral.redis import RedisEphemeral

        return RedisEphemeral(s.redis_url, key)
    from sqlalchemy.engine import make_url

    from auricle.adapters.ephemeral.postgres import PostgresEphemeral
    from auricle.runtime.database import connect_arguments

    url = make_url(s.database_url)
    connect = {**connect_arguments(url), "timeout": EPHEMERAL_SECONDS}
    return PostgresEphemeral(url.difference_update_query(["sslmode"]), key, connect=connect)


def _token_signer(wiring: Wiring) -> Any:
    from auricle.adapters.signing.joserfc import JoserfcSigner

    return JoserfcSigner(Path(wiring.settings.signing_keys_file).read_bytes)


def _token_verifier(wiring: Wiring) -> Any:
    from auricle.adapters.signing.es256 import Es256Verifier

    return Es256Verifier(Path(wiring.settings.jwks_file).read_bytes)


def _setup_code(wiring: Wiring) -> Any:
    from auricle.identity.model import SetupCode

    path = wiring.settings.setup_code_file
    try:
        return SetupCode(Path(path).read_text().strip())
    except (FileNotFoundError, IsADirectoryError):  # not made yet, or taken away since there is an owner
        raise Denied(NO_CODE) from None


def _password_hasher(wiring: Wiring) -> Any:
    from auricle.adapters.hashing.argon2id import Argon2id

    return Argon2id()


def passwords(wiring: Wiring) -> Any:
    from auricle.adapters.breaches.sorted_file import PwnedFile
    from auricle.identity.passwords import Passwords, Profile
    from auricle.ports.hashing import PasswordHasher

    s = wiring.settings
    breaches = PwnedFile(Path(s.breached_passwords)) if s.breached_passwords else None
    return Passwords(wiring.provide(Profile), wiring.provide(PasswordHasher), breaches)


def _devices(wiring: Wiring) -> Any:
    from auricle.identity.devices import Devices

    return Devices(hmac.digest(bytes.fromhex(wiring.settings.ephemeral_key), b"auricle known device", "sha256"))


def _passkeys(wiring: Wiring) -> Any:
    from auricle.access.model import Site
    from auricle.adapters.passkeys.webauthn import WebauthnPasskeys

    domain, origin = wiring.provide(Site).passkey_domain
    try:
        return WebauthnPasskeys(domain, "Auricle", (origin,))
    except ValueError as error:
        raise Conflict(f"{error} Set PUBLIC_URL to such an address.") from error


def _site(wiring: Wiring) -> Any:
    from auricle.access.model import Site

    return Site(wiring.settings.public_url or wiring.settings.blobs_public_url)


PROVIDERS: dict[str, Callable[[Wiring], Any]] = {
    "auricle.ports.ephemeral.Ephemeral": _ephemeral,
    "auricle.ports.signing.TokenSigner": _token_signer,
    "auricle.ports.signing.TokenVerifier": _token_verifier,
    "auricle.ports.hashing.PasswordHasher": _password_hasher,
    "auricle.identity.model.SetupCode": _setup_code,
    "auricle.identity.devices.Devices": _devices,
    "auricle.ports.passkeys.Passkeys": _passkeys,
    "auricle.access.model.Site": _site,
}
"""Port or settings struct (by dotted name) → how it is made."""

SECRETS: dict[str, tuple[str, ...]] = {
    "auricle.ports.ephemeral.Ephemeral": ("database_url", "ephemeral_key", "redis_url"),
    "auricle.ports.signing.TokenSigner": ("signing_keys_file",),
    "auricle.ports.signing.TokenVerifier": ("jwks_file",),
    "auricle.identity.model.SetupCode": ("setup_code_file",),
    "auricle.identity.devices.Devices": ("ephemeral_key",),
}
"""Port → the secret settings that its adapter reads; of those that end in `_file`, the file is what is given."""

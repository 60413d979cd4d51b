"""A provider's public keys: which one a token must be signed with, and when they are read again (RFC 7517, RFC 8725 §3)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from auricle.adapters.oidc.cached import Cached
from auricle.adapters.oidc.http import Web
from auricle.errors import Permanent

FRESH_SECONDS = 3600.0
UNKNOWN_KEY_SECONDS = 60.0
"""Keys are read again for a key id nobody knows, but no oftener: anybody may send us a token."""
MAX_KEYS = 64
MIN_RSA_BITS = 2048
CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


class Keys:
    """The keys behind one `jwks_uri` (which `address` tells, as discovery may change it). Safe for threads."""

    def __init__(self, web: Web, address: Callable[[], str], monotonic: Callable[[], float]) -> None:
        self._web = web
        self._address = address
        self._cached = Cached(self.read, FRESH_SECONDS, monotonic)

    def read(self) -> tuple[Key, ...]:
        """The usable keys as they are published now."""
        published = self._web.get(self._address()).document().get("keys")
        if not isinstance(published, list):
            raise Permanent("The identity provider publishes no keys where it says it does. Its jwks_uri must give a JWK set.")
        found = (usable(entry) for entry in published[:MAX_KEYS] if isinstance(entry, dict))
        return tuple(key for key in found if key is not None)

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The one key that a token with this header must be signed with; None when there is none, or more than one."""
        found = pick(self._cached.get(), kid, algorithm)
        return found or pick(self._cached.renewed(UNKNOWN_KEY_SECONDS), kid, algorithm)


def usable(entry: Mapping[str, Any]) -> Key | None:
    """The key, if it is one that may verify signatures: what is symmetric, weak, for encryption or unknown is passed over."""
    if entry.get("kty") not in ("RSA", "EC", "OKP") or entry.get("use", "sig") != "sig":
        return None
    if "verify" not in entry.get("key_ops", ("verify",)):
        return None
    try:
        with warnings.catch_warnings(record=True):  # of keys too short, which are refused below
            key = JWKRegistry.import_key(public_part(entry))
            weak = isinstance(key, RSAKey) and key.public_key.key_size < MIN_RSA_BITS
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):  # all that a malformed entry leads to
        return None
    return None if weak else key


def public_part(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Without private members: a provider that published them shall not make us hold its private key."""
    return {name: entry[name] for name in ("kty", "n", "e", "crv", "x", "y", "kid", "alg") if name in entry}


def pick(keys: tuple[Key, ...], kid: str | None, algorithm: str) -> Key | None:
    """The only key that fits."""
    fitting = [key for key in keys if (kid is None or key.kid == kid) and fits(key, algorithm)]
    return fitting[0] if len(fitting) == 1 else None


def fits(key: Key, algorithm: str) -> bool:
    """Whether `key` may be used with `algorithm`: by its own `alg`, its type and its curve."""
    if key.alg is not None and key.alg != algorithm:
        return False
    if isinstance(key, RSAKey):
        return algorithm[:2] in ("RS", "PS")
    if isinstance(key, ECKey):
        return CURVES.get(key.curve_name) == algorithm
    return isinstance(key, OKPKey) and algorithm == "EdDSA"

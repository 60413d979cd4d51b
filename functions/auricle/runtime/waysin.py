"""How the ports of signing in by another house are made. `runtime.wiring` adds these tables to its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auricle.runtime.wiring import Wiring


def _providers(wiring: Wiring) -> Any:
    from auricle.adapters.oidc.providers import OpenIdProviders

    return OpenIdProviders()


class LazyDirectories:
    """`ports.directory.Directories`: ldap3, a fifth of a second, is loaded by the first who signs in so."""

    def __init__(self) -> None:
        """Nothing is loaded."""
        self._made: Any = None

    def for_(self, connection: Any) -> Any:
        """See `Directories.for_`."""
        from auricle.adapters.directory.ldap3 import Ldap3Directories

        self._made = self._made or Ldap3Directories()
        return self._made.for_(connection)


class LazyCheckers:
    """`ports.certificates.CertificateCheckers`: cryptography's X.509 is loaded by the first certificate."""

    def __init__(self) -> None:
        """Nothing is loaded."""
        self._made: Any = None

    def for_(self, trust: Any) -> Any:
        """See `CertificateCheckers.for_`."""
        from auricle.adapters.certificates.x509 import X509Checkers

        self._made = self._made or X509Checkers()
        return self._made.for_(trust)


def _methods(wiring: Wiring) -> Any:
    from auricle.admin.configuration.actions import Configuration
    from auricle.identity.methods.reading import Methods

    return Methods(wiring.provide(Configuration))


PROVIDERS: dict[str, Callable[[Wiring], Any]] = {
    "auricle.ports.oidc.OidcProviders": _providers,
    "auricle.ports.directory.Directories": lambda wiring: LazyDirectories(),
    "auricle.ports.certificates.CertificateCheckers": lambda wiring: LazyCheckers(),
    "auricle.identity.methods.reading.Methods": _methods,
}
"""Port (by dotted name) → how it is made."""

LIVE = ("auricle.identity.methods.reading.Methods",)
"""What reads what administrators have set."""

SECRETS: dict[str, tuple[str, ...]] = {"auricle.identity.methods.reading.Methods": ("database_url", "sealing_keys")}
"""Port → the secret settings that it reads."""

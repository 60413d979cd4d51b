"""The configured ways to sign in, with their secrets, as sign-ins use them."""

from __future__ import annotations

from auricle.admin.configuration.actions import Configuration
from auricle.errors import NotFound
from auricle.identity.ldap import ConfiguredDirectory
from auricle.identity.methods.model import AUTHORITIES, DIRECTORIES, HEADER, PROVIDERS, OfferedWay, Way
from auricle.identity.oidc.configuration import Provider
from auricle.identity.pki import CertificateConfiguration
from auricle.identity.trustedheader import HeaderConfiguration, TrustedHeader

UNKNOWN = "There is no such way to sign in here, or it is switched off. GET /api/sign-in tells which there are."


class Methods:
    """What is switched on. Ask it before a unit of work is open: it may read the configuration in one of its own."""

    def __init__(self, configuration: Configuration) -> None:
        """`configuration` opens the secrets beside it."""
        self._configuration = configuration

    def provider(self, id: str) -> Provider:
        """A provider; `NotFound` unless it is there and on."""
        held = self._configuration.held(PROVIDERS, id)
        if held is None or not held.value.enabled:
            raise NotFound(UNKNOWN)
        return Provider(configuration=held.value, secret=self._configuration.secret(PROVIDERS, id))

    def directory(self, id: str) -> ConfiguredDirectory:
        """A directory; `NotFound` unless it is there and on."""
        held = self._configuration.held(DIRECTORIES, id)
        if held is None or not held.value.enabled:
            raise NotFound(UNKNOWN)
        return ConfiguredDirectory(configuration=held.value, password=self._configuration.secret(DIRECTORIES, id))

    def authorities(self) -> list[CertificateConfiguration]:
        """All sets of authorities that are on."""
        return [held.value for held in self._configuration.all(AUTHORITIES).values() if held.value.enabled]

    def header(self) -> TrustedHeader:
        """The proxy's header: off where nobody set it."""
        has = self._configuration.of(HEADER, HeaderConfiguration())
        return TrustedHeader(configuration=has, secret=self._configuration.secret(HEADER) if has.enabled else None)

    def offers(self) -> list[OfferedWay]:
        """Everything that is on, as the sign-in page shows it."""
        found = [OfferedWay(way=Way.PASSWORD, path="/api/session")]
        for id, provider in self._configuration.all(PROVIDERS).items():
            if provider.value.enabled:
                found.append(OfferedWay(way=Way.PROVIDER, path=f"/api/sign-in/{id}", id=id, name=provider.value.name))
        for id, directory in self._configuration.all(DIRECTORIES).items():
            if directory.value.enabled:
                found.append(
                    OfferedWay(way=Way.DIRECTORY, path=f"/api/session/directory/{id}", id=id, name=directory.value.name)
                )
        found += [OfferedWay(way=Way.CERTIFICATE, path="/api/session/certificate", name=one.name) for one in self.authorities()]
        if self._configuration.of(HEADER, HeaderConfiguration()).enabled:
            found.append(OfferedWay(way=Way.PROXY, path="/api/session/header"))
        return found

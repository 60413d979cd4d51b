"""How people sign in, limits and the banner: what administrators set."""

from __future__ import annotations

from typing import Annotated

import msgspec

from auricle.access.model import Asking, Principal, Site
from auricle.admin.audit.trail import Trail
from auricle.admin.configuration.actions import Configuration
from auricle.contract.choices import Guarded, Permission
from auricle.contract.function import route
from auricle.contract.http import Header, Reply
from auricle.contract.store import Units
from auricle.identity import ldap, trustedheader
from auricle.identity.accounts.model import MailServer
from auricle.identity.ldap import DirectoryBody, DirectoryView
from auricle.identity.methods import actions
from auricle.identity.methods.actions import Changing
from auricle.identity.methods.model import AUTHORITIES, DIRECTORIES, PROVIDERS
from auricle.identity.methods.reading import Methods
from auricle.identity.oidc import configuration as oidc
from auricle.identity.oidc.configuration import Provider, ProviderBody, ProviderView
from auricle.identity.oidc.report import ConnectionReport
from auricle.identity.pki import CertificateBody, CertificateConfiguration
from auricle.identity.trustedheader import HeaderBody, HeaderView
from auricle.ports.certificates import CertificateCheckers
from auricle.ports.directory import Directories
from auricle.ports.mail import Mail
from auricle.ports.oidc import OidcProviders

IfMatch = Annotated[str | None, Header("If-Match")]


class AllProviders(msgspec.Struct, frozen=True):
    """Every provider, switched on or off."""

    items: list[ProviderView]


class AllDirectories(msgspec.Struct, frozen=True):
    """Every directory, switched on or off."""

    items: list[DirectoryView]


class AllAuthorities(msgspec.Struct, frozen=True):
    """Every set of authorities, switched on or off."""

    items: list[CertificateConfiguration]


# Providers (OpenID Connect)


@route("GET /api/settings/providers", permission=Permission.SETTINGS, function="settings")
def list_providers(configuration: Configuration, site: Site) -> AllProviders:
    """All OpenID Connect providers, without their secrets."""
    known = (actions.provider(configuration, id)[0] for id in configuration.all(PROVIDERS))
    return AllProviders([oidc.view(provider, site.issuer) for provider in known])


@route("GET /api/settings/providers/{provider}", permission=Permission.SETTINGS, function="settings")
def get_provider(provider: str, configuration: Configuration, site: Site) -> Reply[ProviderView]:
    """One provider. `redirect_uri` is what to register there."""
    return _told(actions.provider(configuration, provider), site)


@route("PUT /api/settings/providers/{provider}", permission=Permission.SETTINGS, function="settings")
def put_provider(
    provider: str,
    body: ProviderBody,
    if_match: IfMatch,
    who: Principal,
    units: Units,
    configuration: Configuration,
    methods: Methods,
    site: Site,
    trail: Trail,
) -> Reply[ProviderView]:
    """Set a provider up, or change it. Without `client_secret` the stored one stays."""
    changing = Changing(units, configuration, trail, who, if_match)
    return _told(actions.put_provider(changing, provider, body), site)


@route("DELETE /api/settings/providers/{provider}", permission=Permission.SETTINGS, function="settings")
def drop_provider(
    provider: str, if_match: IfMatch, who: Principal, units: Units, configuration: Configuration, trail: Trail
) -> None:
    """Remove a provider. To keep it for later, set `enabled` to false instead."""
    actions.drop_provider(Changing(units, configuration, trail, who, if_match), provider)


@route(
    "POST /api/settings/providers/{provider}/test",
    permission=Permission.SETTINGS,
    guarded=Guarded.TEST_CONNECTION,
    function="settings",
)
def test_provider(
    provider: str,
    who: Principal,
    units: Units,
    configuration: Configuration,
    methods: Methods,
    providers: OidcProviders,
    site: Site,
    trail: Trail,
) -> ConnectionReport:
    """Ask the provider, with nobody signing in, and tell what was seen."""
    return actions.try_provider(Changing(units, configuration, trail, who), site, providers, provider)


# Directories (LDAP, Active Directory)


@route("GET /api/settings/directories", permission=Permission.SETTINGS, function="settings")
def list_directories(configuration: Configuration) -> AllDirectories:
    """All directories, without their passwords."""
    known = (actions.directory(configuration, id)[0] for id in configuration.all(DIRECTORIES))
    return AllDirectories([ldap.view(directory) for directory in known])


@route("GET /api/settings/directories/{directory}", permission=Permission.SETTINGS, function="settings")
def get_directory(directory: str, configuration: Configuration) -> Reply[DirectoryView]:
    """One directory."""
    found, version = actions.directory(configuration, directory)
    return Reply(ldap.view(found), etag=str(version))


@route("PUT /api/settings/directories/{directory}", permission=Permission.SETTINGS, function="settings")
def put_directory(
    directory: str,
    body: DirectoryBody,
    if_match: IfMatch,
    who: Principal,
    units: Units,
    configuration: Configuration,
    methods: Methods,
    trail: Trail,
) -> Reply[DirectoryView]:
    """Set a directory up, or change it. Without `bind_password` the stored one stays."""
    found, version = actions.put_directory(Changing(units, configuration, trail, who, if_match), directory, body)
    return Reply(ldap.view(found), etag=str(version))


@route("DELETE /api/settings/directories/{directory}", permission=Permission.SETTINGS, function="settings")
def drop_directory(
    directory: str, if_match: IfMatch, who: Principal, units: Units, configuration: Configuration, trail: Trail
) -> None:
    """Remove a directory, and that people are of it. To keep it for later, set `enabled` to false instead."""
    actions.drop_directory(Changing(units, configuration, trail, who, if_match), directory)


@route(
    "POST /api/settings/directories/{directory}/test",
    permission=Permission.SETTINGS,
    guarded=Guarded.TEST_CONNECTION,
    function="settings",
)
def test_directory(
    directory: str,
    who: Principal,
    units: Units,
    configuration: Configuration,
    methods: Methods,
    directories: Directories,
    trail: Trail,
) -> ConnectionReport:
    """Ask every server as the service account, and tell what was seen."""
    return actions.try_directory(Changing(units, configuration, trail, who), directories, directory)


# Certificates (CAC, PIV, any X.509)


@route("GET /api/settings/certificates", permission=Permission.SETTINGS, function="settings")
def list_authorities(configuration: Configuration) -> AllAuthorities:
    """All authorities whose certificates sign people in."""
    return AllAuthorities([held.value for held in configuration.all(AUTHORITIES).values()])


@route("GET /api/settings/certificates/{authorities}", permission=Permission.SETTINGS, function="settings")
def get_authorities(authorities: str, configuration: Configuration) -> Reply[CertificateConfiguration]:
    """One set of authorities."""
    found, version = actions.authorities(configuration, authorities)
    return Reply(found, etag=str(version))


@route("PUT /api/settings/certificates/{authorities}", permission=Permission.SETTINGS, function="settings")
def put_authorities(
    authorities: str,
    body: CertificateBody,
    if_match: IfMatch,
    who: Principal,
    units: Units,
    configuration: Configuration,
    checkers: CertificateCheckers,
    trail: Trail,
) -> Reply[CertificateConfiguration]:
    """Set authorities up, or change them. What cannot be used as such is refused."""
    changing = Changing(units, configuration, trail, who, if_match)
    found, version = actions.put_authorities(changing, checkers, authorities, body)
    return Reply(found, etag=str(version))


@route("DELETE /api/settings/certificates/{authorities}", permission=Permission.SETTINGS, function="settings")
def drop_authorities(
    authorities: str, if_match: IfMatch, who: Principal, units: Units, configuration: Configuration, trail: Trail
) -> None:
    """Remove authorities, and that people are of them. To keep them for later, set `enabled` to false instead."""
    actions.drop_authorities(Changing(units, configuration, trail, who, if_match), authorities)


@route(
    "POST /api/settings/certificates/{authorities}/test",
    permission=Permission.SETTINGS,
    guarded=Guarded.TEST_CONNECTION,
    function="settings",
)
def test_authorities(
    authorities: str,
    who: Principal,
    units: Units,
    configuration: Configuration,
    checkers: CertificateCheckers,
    trail: Trail,
) -> ConnectionReport:
    """Whether certificates can be checked against them."""
    return actions.try_authorities(Changing(units, configuration, trail, who), checkers, authorities)


# A proxy's header


@route("GET /api/settings/trusted-header", permission=Permission.SETTINGS, function="settings")
def get_header(configuration: Configuration) -> Reply[HeaderView]:
    """Sign-in by a proxy's header; off until somebody sets it."""
    found, version = actions.header(configuration)
    return Reply(trustedheader.view(found), etag=str(version))


@route("PUT /api/settings/trusted-header", permission=Permission.SETTINGS, function="settings")
def put_header(
    body: HeaderBody,
    if_match: IfMatch,
    who: Principal,
    units: Units,
    configuration: Configuration,
    methods: Methods,
    trail: Trail,
) -> Reply[HeaderView]:
    """Switch it on or off, or change it. Without `proxy_secret` the stored one stays."""
    found, version = actions.put_header(Changing(units, configuration, trail, who, if_match), body)
    return Reply(trustedheader.view(found), etag=str(version))


@route("DELETE /api/settings/trusted-header", permission=Permission.SETTINGS, function="settings")
def drop_header(if_match: IfMatch, who: Principal, units: Units, configuration: Configuration, trail: Trail) -> None:
    """Forget it: no header is believed."""
    actions.drop_header(Changing(units, configuration, trail, who, if_match))


@route(
    "POST /api/settings/trusted-header/test",
    permission=Permission.SETTINGS,
    guarded=Guarded.TEST_CONNECTION,
    function="settings",
)
def test_header(
    asking: Asking, who: Principal, units: Units, configuration: Configuration, methods: Methods, trail: Trail
) -> ConnectionReport:
    """What the header of this very request would be worth: ask through the proxy."""
    return actions.try_header(Changing(units, configuration, trail, who), asking)


def _told(found: tuple[Provider, int], site: Site) -> Reply[ProviderView]:
    return Reply(oidc.view(found[0], site.issuer), etag=str(found[1]))


# Mail


@route("POST /api/settings/mail/test", permission=Permission.SETTINGS, guarded=Guarded.TEST_CONNECTION, function="settings")
def test_mail(
    who: Principal, units: Units, configuration: Configuration, server: MailServer, mail: Mail, site: Site, trail: Trail
) -> ConnectionReport:
    """Send a letter to whoever asks, by the settings in force, and tell what the mail server said."""
    return actions.try_mail(Changing(units, configuration, trail, who), server, mail, site)

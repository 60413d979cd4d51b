"""Where each way to sign in is kept, and what the sign-in page is told of them."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from auricle.admin.configuration.model import Section
from auricle.identity.ldap import DirectoryConfiguration
from auricle.identity.oidc.configuration import ProviderConfiguration
from auricle.identity.pki import CertificateConfiguration
from auricle.identity.trustedheader import HeaderConfiguration

PROVIDERS = Section("oidc", ProviderConfiguration)
DIRECTORIES = Section("ldap", DirectoryConfiguration)
AUTHORITIES = Section("pki", CertificateConfiguration)
HEADER = Section("header", HeaderConfiguration)
MOST = 16
"""Directories, and sets of authorities: nobody has more, and each certificate is held against all."""


class Way(StrEnum):
    """How somebody can sign in."""

    PASSWORD = "password"  # noqa: S105 - a word
    PROVIDER = "provider"  # the browser goes there and comes back
    DIRECTORY = "directory"  # login and password are typed here
    CERTIFICATE = "certificate"
    PROXY = "proxy"  # whoever gets as far as here is known already


class OfferedWay(msgspec.Struct, frozen=True, kw_only=True):
    """One way to sign in. `path`: what the page asks; for a provider where it sends the browser (with `?next=`)."""

    way: Way
    path: str
    id: str = ""
    name: str = ""

"""Every section that administrators set, as a table: what it is about, and who may set it.

Sections are named by where they stand, so that this table imports no room: `auricle.access.sessions:SESSIONS`. What holds
where nobody set anything is the deployment's, and provided from outside (`Defaults`).
"""

# ruff: noqa: S106 - what secrets are, none of them
from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

import msgspec

from auricle.access.permissions import ADMINS, Role
from auricle.admin.configuration.model import Section
from auricle.errors import NotFound

OWNERS = frozenset({Role.OWNER})


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `about`: a sentence for people. `secret`: what is kept sealed beside the values; empty: nothing is.

    `several`: there may be many of it, each with an id: `oidc:keycloak`. `test`: the route that tries it out, if there is one.
    `place`: the path of the routes that set it, where those check more than its type can; it is only shown here then.
    """

    section: str
    about: str
    secret: str = ""
    several: bool = False
    roles: frozenset[Role] = ADMINS
    test: str = ""
    place: str = ""

    def resolved(self) -> Section[Any]:
        """The section; its room is imported now."""
        module, _, name = self.section.partition(":")
        found: Section[Any] = getattr(import_module(module), name)
        return found


SECTIONS: dict[str, Listed] = {
    "sessions": Listed(
        section="auricle.access.sessions:SESSIONS",
        about="How long sign-ins last, and how many a person has; it holds for those that exist already, too.",
    ),
    "mfa": Listed(
        section="auricle.access.mfa:MFA",
        about="Of whom a second factor is required; it holds for sign-ins that exist already, too.",
    ),
    "registration": Listed(
        section="auricle.identity.accounts.model:REGISTRATION",
        about="Who may make an account, and what they are then.",
    ),
    "mail": Listed(
        section="auricle.identity.accounts.model:MAIL",
        about="The server that letters are handed to.",
        secret="the password of the mail server",
        test="POST /api/settings/mail/test",
    ),
    "oidc": Listed(
        section="auricle.identity.methods.model:PROVIDERS",
        about="Houses that people sign in at by OpenID Connect.",
        secret="the client's secret there",
        several=True,
        place="/api/settings/providers",
    ),
    "ldap": Listed(
        section="auricle.identity.methods.model:DIRECTORIES",
        about="Directories whose people sign in here.",
        secret="the password of the account that searches",
        several=True,
        place="/api/settings/directories",
    ),
    "pki": Listed(
        section="auricle.identity.methods.model:AUTHORITIES",
        about="Authorities whose client certificates sign people in.",
        several=True,
        place="/api/settings/certificates",
    ),
    "header": Listed(
        section="auricle.identity.methods.model:HEADER",
        about="The proxy whose header is believed to name who asks.",
        secret="what the proxy proves itself with",
        place="/api/settings/trusted-header",
    ),
    "passwords": Listed(
        section="auricle.identity.passwords:PASSWORDS",
        about="What passwords must be: a profile, and whatever is to be stricter than it.",
    ),
    "lockout": Listed(
        section="auricle.identity.lockout:LOCKOUT",
        about="After how many failures a name or an address has to wait, and how long.",
    ),
    "banner": Listed(
        section="auricle.identity.banner.model:BANNER",
        about="The notice that everybody acknowledges before anything else is answered.",
    ),
    "audit": Listed(
        section="auricle.admin.audit.model:AUDIT",
        about="How long audit entries stay in the database after they were published.",
        roles=OWNERS,  # who administers does not also shorten the record of it (AU-9(4))
    ),
}
"""Name → its row. A house test holds it against the sections that there are."""


class Defaults(Protocol):
    """What the deployment's environment says of each section."""

    def of(self, name: str) -> Any:
        """The values of the section called `name`; None where the environment says nothing of it."""
        ...


def find(name: str) -> tuple[Listed, Section[Any], str]:
    """The row, the section and the id that `name` (`sessions`, `oidc:keycloak`) means; `NotFound` when there is none."""
    kind, colon, id = name.partition(":")
    row = SECTIONS.get(kind)
    if row is None or bool(colon) is not row.several or (row.several and not id):
        raise NotFound(f"There are no settings called {name}. GET /api/settings lists what there is.")
    return row, row.resolved(), id

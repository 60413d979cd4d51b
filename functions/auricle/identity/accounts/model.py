"""Who may come in, what an invitation is, and where letters are handed over."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType
from uuid import UUID

import msgspec

from auricle.access.model import PrincipalId
from auricle.access.permissions import Role
from auricle.admin.configuration.model import Section
from auricle.identity.lockout import account_key
from auricle.identity.oidc.admission import domain_of
from auricle.ports.mail import is_address

InvitationId = NewType("InvitationId", UUID)
ChangeId = NewType("ChangeId", UUID)
INVITED_FOR = timedelta(days=7)
CONFIRM_WITHIN = timedelta(hours=24)
"""A registration, and a new address: long enough for a letter that is held up over night."""
FIRST_PASSWORD_WITHIN = timedelta(days=7)


class RegistrationMode(StrEnum):
    """Who may make an account."""

    CLOSED = "closed"  # nobody: administrators make them
    OPEN = "open"  # whoever has an address
    INVITATION = "invitation"  # whom somebody invited
    APPROVAL = "approval"  # whoever has an address, once an administrator agrees


class FirstRole(StrEnum):
    """What somebody is who made their account themselves."""

    MEMBER = "member"
    GUEST = "guest"


class RegistrationPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may come in. `domains` of addresses that may register by themselves, compared whole; empty: all."""

    mode: RegistrationMode = RegistrationMode.INVITATION
    domains: tuple[str, ...] = ()
    role: FirstRole = FirstRole.MEMBER

    @property
    def asks(self) -> bool:
        """Whether strangers may ask for an account."""
        return self.mode in (RegistrationMode.OPEN, RegistrationMode.APPROVAL)

    def takes(self, email: str) -> bool:
        """Whether an address may register."""
        return not self.domains or domain_of(email) in {domain.strip().lower() for domain in self.domains}


REGISTRATION = Section("registration", RegistrationPolicy)
"""As administrators set it."""


class MailSecurity(StrEnum):
    """How the connection to a mail server is protected; there is no third way."""

    STARTTLS = "starttls"
    TLS = "tls"


class MailServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where letters are handed over; the password is the section's secret. `host` empty: they go to the log, without links."""

    host: str = ""
    port: int = 587
    security: MailSecurity = MailSecurity.STARTTLS
    username: str = ""
    sender: str = ""

    def __post_init__(self) -> None:
        """Refuse what no letter can be sent with."""
        if self.host and not (is_address(self.sender) and 0 < self.port < 65536):
            raise ValueError("A mail server needs a port and an address to send from, like auricle@example.org.")


MAIL = Section("mail", MailServer)
"""As administrators set it."""


class Coming(StrEnum):
    """How an invitation came about."""

    INVITED = "invited"
    REGISTERED = "registered"  # they asked for it themselves


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody may make an account, with this role, until `ends_at`. `sent_at`: when its letter was handed over.

    `by_house`: whoever runs this deployment asks for them (the job `invite`), so that nobody in it has to stand behind it.
    """

    id: InvitationId
    kind: Coming
    email: str
    role: Role
    invited_by: PrincipalId | None
    created_at: datetime
    ends_at: datetime
    sent_at: datetime | None = None
    accepted_at: datetime | None = None
    revoked_at: datetime | None = None
    by_house: bool = False

    def open(self, now: datetime) -> bool:
        """Whether it can be accepted at this moment."""
        return self.accepted_at is None and self.revoked_at is None and now < self.ends_at

    @property
    def key(self) -> str:
        """Its address, the same for all ways to type it."""
        return account_key(self.email)


class AddressChange(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody wants another address. `former`: the one before, once it is changed."""

    id: ChangeId
    person: PrincipalId
    email: str
    ends_at: datetime
    former: str | None = None

"""One entry of the audit trail: a closed set of small values. There is no field that content, a name or a secret fits in.

Texts in an entry are either words of our own enums, ids, or *slugs* (what a deployment calls its roles and settings, checked
when the entry is made). The one text that comes from outside, the user agent, is cut and cleaned.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from datetime import UTC, date, datetime
from functools import cache
from ipaddress import ip_address
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from auricle.admin.audit.kinds import ActorKind, Credential, EventKind, Factor, Method, Outcome, Reason, SubjectKind
from auricle.admin.configuration.model import Section

Slug = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9]*(?:[._:-][a-z0-9]+)*\Z", max_length=48)]
"""What a deployment calls a role, setting, provider or scope: `editor`, `files:read`, `smtp.host`."""
RouteName = Annotated[str, Meta(pattern=r"\A[A-Z]{3,7} (?:/(?:v\d|[a-z._-]+|\{[a-z_]+\})?)+\Z", max_length=128)]
"""A route as it is declared, never as it was called: `GET /api/files/{file_id}`."""
Tag = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
"""Sixteen hex digits that say "the same again" and nothing else (`account_tag`)."""
Address = Annotated[str, Meta(max_length=45)]
TraceId = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
SubjectId = Annotated[
    str, Meta(pattern=r"\A(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[a-z][a-z0-9]*(?:[._:-][a-z0-9]+)*)\Z", max_length=48)
]
"""A UUID, or the slug of what has no UUID (a setting)."""
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
HttpStatus = Annotated[int, Meta(ge=100, le=599)]
MAX_AGENT = 200
"""Characters of a user agent that are kept."""
MAX_SLUGS = 32


def one_form(address: str) -> str:
    """An address as it is usually written; IPv4 inside IPv6 (RFC 4291, 2.5.5.2) as what it is."""
    found = ip_address(address.partition("%")[0])  # a zone is the name of a network card here
    return str(getattr(found, "ipv4_mapped", None) or found)


@cache
def _types(kind: type[Struct]) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, field.type) for field in msgspec.structs.fields(kind))


def _check(value: Struct) -> None:
    """Hold an instance against its own types: msgspec checks them when it decodes, not when Python makes one."""
    for name, kind in _types(type(value)):
        try:
            msgspec.convert(getattr(value, name), kind)
        except msgspec.ValidationError as error:
            raise ValueError(f"{name}: {error}") from None


class Details(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What else may be said of an event. Every field is a small value of a closed type; a test looks after that."""

    method: Method | None = None
    factor: Factor | None = None
    reason: Reason | None = None
    provider: Slug | None = None
    role_before: Slug | None = None
    role_after: Slug | None = None
    permission: Slug | None = None
    scopes: Annotated[tuple[Slug, ...], Meta(max_length=MAX_SLUGS)] = ()
    setting: Slug | None = None
    route: RouteName | None = None
    status: HttpStatus | None = None
    format: Slug | None = None
    account: Tag | None = None
    session: UUID | None = None
    group: UUID | None = None
    count: Count | None = None
    seconds: Count | None = None
    until: datetime | None = None
    day: date | None = None
    first_seq: Count | None = None
    last_seq: Count | None = None

    def __post_init__(self) -> None:
        """Refuse what is not of the declared types; `ValueError` names the field."""
        _check(self)


NO_DETAILS = Details()


class AuditEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who did what, when, where, to what, and how it went (NIST AU-3). Making one checks all of it (`ValueError`).

    `at` is when it happened (any zone; kept as UTC to the microsecond). `actor` acted, `behalf_of` is whom for (an
    administrator for a user, a service account for its owner). `function` is the function that served it.
    """

    id: UUID
    at: datetime
    kind: EventKind
    outcome: Outcome
    actor_kind: ActorKind
    actor: UUID | None = None
    behalf_of: UUID | None = None
    credential: Credential | None = None
    credential_id: UUID | None = None
    address: Address | None = None
    user_agent: Annotated[str, Meta(max_length=MAX_AGENT)] | None = None
    function: Slug | None = None
    subject_kind: SubjectKind | None = None
    subject_id: SubjectId | None = None
    trace_id: TraceId | None = None
    details: Details = NO_DETAILS

    def __post_init__(self) -> None:
        """Bring time and address to one form, then refuse what does not fit."""
        if self.at.tzinfo is None:
            raise ValueError("at: say the time zone")
        msgspec.structs.force_setattr(self, "at", self.at.astimezone(UTC))
        if self.address is not None:
            msgspec.structs.force_setattr(self, "address", one_form(self.address))
        if self.user_agent is not None:
            msgspec.structs.force_setattr(self, "user_agent", clean_agent(self.user_agent))
        if self.details == NO_DETAILS:  # msgspec leaves a default out by identity, and empty details are no details
            msgspec.structs.force_setattr(self, "details", NO_DETAILS)
        _check(self)
        known = self.actor_kind in (ActorKind.PERSON, ActorKind.SERVICE)
        if known is not (self.actor is not None):
            raise ValueError("actor: a person or a service has an id, the system and strangers have none")
        if (self.subject_kind is None) is not (self.subject_id is None):
            raise ValueError("subject_id: a subject has a kind and an id")


class AuditRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry as it is read back: the same fields, with words as they stand (a newer release may know others)."""

    id: UUID
    at: datetime
    kind: str
    outcome: str
    actor_kind: str
    actor: UUID | None = None
    behalf_of: UUID | None = None
    credential: str | None = None
    credential_id: UUID | None = None
    address: str | None = None
    user_agent: str | None = None
    function: str | None = None
    subject_kind: str | None = None
    subject_id: str | None = None
    trace_id: str | None = None
    details: dict[str, Any] = {}


class AuditFilter(Struct, frozen=True, kw_only=True):
    """Which entries: all that is said must hold. `since` is included, `until` is not."""

    kinds: tuple[EventKind, ...] = ()
    outcome: Outcome | None = None
    actor: UUID | None = None
    behalf_of: UUID | None = None
    subject_kind: SubjectKind | None = None
    subject_id: SubjectId | None = None
    address: Address | None = None
    function: Slug | None = None
    trace_id: TraceId | None = None
    since: datetime | None = None
    until: datetime | None = None


EVERYTHING = AuditFilter()


class AuditRules(Struct, frozen=True, kw_only=True):
    """How long entries stay in the database, in days; published days stay where they were published.

    Nobody sets less than 90 (FedRAMP AU-11); the database itself refuses less.
    """

    keep_days: Annotated[int, Meta(ge=90, le=36500)] = 400

    def __post_init__(self) -> None:
        """`ValueError` for what is too short or too long."""
        _check(self)


AUDIT = Section("audit", AuditRules)
"""As owners set it."""


def clean_agent(text: str) -> str | None:
    """A user agent in one line of at most 200 printable characters; None when nothing is left."""
    shown = "".join(c if unicodedata.category(c)[0] not in "CZ" else " " for c in text[: MAX_AGENT * 4])
    return " ".join(shown.split())[:MAX_AGENT].rstrip() or None


def account_tag(key: bytes, name: str) -> str:
    """Sixteen hex digits for a tried account name: the same name gives the same tag, and the trail never holds the name.

    People type passwords into name fields, so the name itself is no audit detail. `key` is the deployment's (HMAC-SHA256).
    """
    return hmac.new(key, name.strip().casefold().encode(), hashlib.sha256).hexdigest()[:16]

"""The audit trail, for those who judge it: read, exported, verified. Each of that is told in the trail itself."""

from __future__ import annotations

from datetime import date, datetime
from ipaddress import ip_address
from typing import Annotated
from uuid import UUID

import msgspec

from auricle.admin.audit.export import CONTENT_TYPES, Format, stream
from auricle.admin.audit.inspecting import Checked, check
from auricle.admin.audit.kinds import EventKind, Outcome, SubjectKind
from auricle.admin.audit.model import Address, AuditFilter, AuditRow, Details, Slug, SubjectId, TraceId, one_form
from auricle.admin.audit.store import AuditStore
from auricle.admin.audit.trail import Trail
from auricle.contract.choices import Permission, Scale
from auricle.contract.cursors import uuid_cursor
from auricle.contract.function import route
from auricle.contract.http import Page, PageQuery, Query, Redirect, Stream
from auricle.contract.store import Units
from auricle.errors import Invalid, NotFound
from auricle.ports.blobs import Audience, BlobStore

TRAIL = (SubjectKind.AUDIT, "trail")
URL_SECONDS = 900
"""How long the URL of a published day lives: long enough to begin a download."""
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""RFC 3339 with a time zone: `2025-01-31T00:00:00Z`."""
Sequence = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]


class Which(Query, frozen=True, kw_only=True):
    """Which entries: all that is said must hold; `kind` may be repeated. `since` is included, `until` is not."""

    kind: tuple[EventKind, ...] = ()
    outcome: Outcome | None = None
    actor: UUID | None = None
    behalf_of: UUID | None = None
    subject_kind: SubjectKind | None = None
    subject_id: SubjectId | None = None
    address: Address | None = None
    function: Slug | None = None
    trace_id: TraceId | None = None
    since: Instant | None = None
    until: Instant | None = None

    def wanted(self) -> AuditFilter:
        """As the trail is asked."""
        try:
            address = one_form(str(ip_address(self.address.partition("%")[0]))) if self.address else None
        except ValueError:
            raise Invalid("address is no IP address.", field="address") from None
        return AuditFilter(
            kinds=self.kind,
            outcome=self.outcome,
            actor=self.actor,
            behalf_of=self.behalf_of,
            subject_kind=self.subject_kind,
            subject_id=self.subject_id,
            address=address,
            function=self.function,
            trace_id=self.trace_id,
            since=self.since,
            until=self.until,
        )


class AuditQuery(Which, frozen=True, kw_only=True):
    """Which entries, and which page of them: `limit` (1 … 200) after `cursor`."""

    limit: int = 50
    cursor: str | None = None


class ExportQuery(Which, frozen=True, kw_only=True):
    """Which entries, and how they are written down: `jsonl` (which can be verified), `csv` or `cef`."""

    format: Format = Format.JSONL


class VerifyQuery(Query, frozen=True, kw_only=True):
    """From which entry to which; without them from the first to the end of the chain."""

    first: Sequence | None = None
    last: Sequence | None = None


class PublishedQuery(Query, frozen=True, kw_only=True):
    """Days from `since` to `until`, both included; without them the last hundred."""

    since: date | None = None
    until: date | None = None


class PublishedDay(msgspec.Struct, frozen=True, kw_only=True):
    """A day (UTC) that was published: its entries `first` to `last`, the object and its checksum.

    `whole`: it was verified while it was published. `pruned` entries are nowhere but in the object.
    """

    day: date
    first: int
    last: int
    hash: str
    object: str | None
    sha256: str | None
    whole: bool
    pruned: bool


@route("GET /api/audit", permission=Permission.AUDIT, function="audit", scale=Scale.STREAM)
def list_audit(query: AuditQuery, audit: AuditStore, trail: Trail) -> Page[AuditRow]:
    """Entries of the audit trail, newest first."""
    wanted = query.wanted()
    page = uuid_cursor(
        PageQuery(limit=query.limit, cursor=query.cursor), lambda limit, before: audit.page(limit, before, wanted)
    )
    trail.record(EventKind.AUDIT_READ, TRAIL, Details(count=len(page.items)))
    return page


@route("GET /api/audit/export", permission=Permission.AUDIT, function="audit", scale=Scale.STREAM)
def export_audit(query: ExportQuery, units: Units, audit: AuditStore, trail: Trail) -> Stream:
    """The chosen entries, oldest first, as far as the chain reaches now; of any length."""
    wanted = query.wanted()
    head = audit.head()
    trail.record(EventKind.AUDIT_EXPORTED, TRAIL, Details(format=query.format.value, last_seq=head.seq))
    name = f"audit.{'log' if query.format is Format.CEF else query.format}"
    return Stream(stream(units, query.format, wanted), CONTENT_TYPES[query.format], filename=name)


@route("GET /api/audit/verify", permission=Permission.AUDIT, function="audit", scale=Scale.STREAM)
def verify_audit(query: VerifyQuery, audit: AuditStore, trail: Trail) -> Checked:
    """Whether the chain holds, 50,000 entries at a time: go on at `next` until there is none.

    What was cut off at the end or forged whole shows against the published days: download those, and run
    `auricle audit verify` over them.
    """
    found = check(audit, query.first, query.last)
    details = Details(count=found.checked, first_seq=found.first, last_seq=max(found.last, 0))
    outcome = Outcome.SUCCESS if found.whole else Outcome.FAILURE
    trail.record(EventKind.AUDIT_VERIFIED if found.whole else EventKind.AUDIT_BROKEN, TRAIL, details, outcome=outcome)
    return found


@route("GET /api/audit/published", permission=Permission.AUDIT, function="audit", scale=Scale.STREAM)
def list_published(query: PublishedQuery, audit: AuditStore, trail: Trail) -> Page[PublishedDay]:
    """The days that were published to the blob store, oldest first; they are never changed."""
    anchors = list(audit.anchors(since=query.since, until=query.until))
    floor = audit.head().floor
    days = [
        PublishedDay(
            day=anchor.day,
            first=anchor.previous_seq + 1,
            last=anchor.seq,
            hash=anchor.hash,
            object=anchor.object,
            sha256=anchor.sha256,
            whole=anchor.whole,
            pruned=anchor.seq <= floor,
        )
        for anchor in (anchors if query.since or query.until else anchors[-100:])
    ]
    trail.record(EventKind.AUDIT_READ, TRAIL, Details(count=len(days)))
    return Page(days)


@route("GET /api/audit/published/{day}", permission=Permission.AUDIT, function="audit", scale=Scale.STREAM)
def get_published(day: str, audit: AuditStore, blobs: BlobStore, trail: Trail) -> Redirect:
    """A published day's object (gzipped JSON Lines that can be verified by itself), from where it is stored."""
    try:
        wanted = date.fromisoformat(day)
    except ValueError:
        raise NotFound("A day is written like 2025-01-31.") from None
    anchor = next(audit.anchors(since=wanted, until=wanted), None)
    if anchor is None or anchor.object is None:
        raise NotFound("That day was not published (yet): a day is published soon after it is over, in UTC.")
    trail.record(EventKind.AUDIT_EXPORTED, TRAIL, Details(day=wanted, format=Format.JSONL.value, last_seq=anchor.seq))
    return Redirect(blobs.sign_get(anchor.object, URL_SECONDS, Audience.BROWSER, f"audit-{wanted}.jsonl.gz"))

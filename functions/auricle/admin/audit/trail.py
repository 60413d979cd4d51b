"""The audit trail as one request writes it: who asks and from where is known already, the caller says what happened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from auricle.admin.audit.actions import record, record_apart
from auricle.admin.audit.kinds import ActorKind, Credential, EventKind, Outcome, Reason, SubjectKind
from auricle.admin.audit.model import NO_DETAILS, AuditEvent, Details
from auricle.contract.ids import uuid7
from auricle.contract.store import Units
from auricle.errors import Retryable
from auricle.ports.ephemeral import Ephemeral

HOUR = 3600.0
Subject = tuple[SubjectKind, UUID | str]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for every entry of one request: where from, what served it, by which route."""

    function: str | None = None
    route: str | None = None
    address: str | None = None
    user_agent: str | None = None
    trace_id: str | None = None


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts, and what they showed. `behalf_of`: whom for."""

    kind: ActorKind
    id: UUID | None = None
    credential: Credential | None = None
    credential_id: UUID | None = None


ANONYMOUS = Actor(kind=ActorKind.ANONYMOUS)
SYSTEM = Actor(kind=ActorKind.SYSTEM)


class Trail:
    """Entries of one request. The door makes it, and sets `actor` once it is known who asks.

    `record` is for what happened and belongs to the work's transaction; `refused` is for what did not, and is written when the
    request has ended, whatever became of it.
    """

    def __init__(
        self, facts: Facts, now: Callable[[], datetime], tag: Callable[[str], str], db: Any = None, actor: Actor = ANONYMOUS
    ) -> None:
        """`db`: the request's unit of work, if it has one. `tag`: account names as `account_tag` hides them."""
        self.facts = facts
        self.actor = actor
        self._now = now
        self._tag = tag
        self._db = db
        self._refusals: list[AuditEvent] = []

    def within(self, db: Any) -> Trail:
        """The same trail in the unit of work `db`; what is refused is still written with this request's."""
        inner = Trail(self.facts, self._now, self._tag, db, self.actor)
        inner._refusals = self._refusals
        return inner

    def record(
        self,
        kind: EventKind,
        subject: Subject | None = None,
        details: Details = NO_DETAILS,
        *,
        actor: Actor | None = None,
        behalf_of: UUID | None = None,
        outcome: Outcome = Outcome.SUCCESS,
    ) -> None:
        """Write what has happened in this unit of work: the two stand or fall together."""
        if self._db is None:
            raise RuntimeError("This request has no unit of work: say trail.within(db).record(…).")
        record(self._db, self._event(kind, outcome, subject, details, actor, behalf_of))

    def record_hourly(self, ephemeral: Ephemeral, kind: EventKind, subject: Subject) -> None:
        """Write what one does over and over (a player asks for its file with every page) once an hour: for each credential
        and subject. When nobody knows whether it was written, it is written."""
        key = f"told {kind} {self.actor.id} {self.actor.credential_id} {subject[0]} {subject[1]}"
        try:
            if not ephemeral.once(key, HOUR):
                return
        except Retryable:
            pass
        self.record(kind, subject)

    def refused(
        self,
        kind: EventKind,
        reason: Reason,
        subject: Subject | None = None,
        *,
        account: str | None = None,
        details: Details = NO_DETAILS,
        actor: Actor | None = None,
    ) -> None:
        """Remember what was not done, and why. `account`: the name as it was typed; only its tag is kept."""
        tag = self._tag(account) if account is not None else details.account
        about = msgspec.structs.replace(details, reason=reason, account=tag)
        self._refusals.append(self._event(kind, Outcome.FAILURE, subject, about, actor, None))

    @property
    def has_refusals(self) -> bool:
        """Whether somebody said why already."""
        return bool(self._refusals)

    def write_refusals(self, units: Units) -> None:
        """Write what was refused; the request's own connection must have been given back. Never raises."""
        while self._refusals:
            record_apart(units, self._refusals.pop(0))

    def _event(
        self,
        kind: EventKind,
        outcome: Outcome,
        subject: Subject | None,
        details: Details,
        actor: Actor | None,
        behalf_of: UUID | None,
    ) -> AuditEvent:
        who = actor or self.actor
        if details.route is None and outcome is Outcome.FAILURE:
            details = msgspec.structs.replace(details, route=self.facts.route)
        return AuditEvent(
            id=uuid7(),
            at=self._now(),
            kind=kind,
            outcome=outcome,
            actor_kind=who.kind,
            actor=who.id,
            behalf_of=behalf_of,
            credential=who.credential,
            credential_id=who.credential_id,
            address=self.facts.address,
            user_agent=self.facts.user_agent,
            function=self.facts.function,
            subject_kind=subject[0] if subject else None,
            subject_id=str(subject[1]) if subject else None,
            trace_id=self.facts.trace_id,
            details=details,
        )

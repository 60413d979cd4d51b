"""Telling the rest of the house what happened."""

from __future__ import annotations

from typing import Any, Protocol

from auricle.contract.event import Envelope, Fact
from auricle.contract.store import Units


class Bus(Protocol):
    """Publishes facts with the unit of work: they leave if, and only if, it commits."""

    def publish(self, fact: Fact, *, id: str | None = None, subject: str | None = None) -> None:
        """Record `fact` for sending. A deterministic `id` makes repeats harmless; without one a UUIDv7 is used."""
        ...

    def republish(self, event: Envelope) -> None:
        """Send an old event's content again under a new id, signed anew; `causationid` names the old one."""
        ...


class PublishingUnits(Units, Protocol):
    """Short units of work that also publish: for slow work that holds no transaction, and tells what came of it."""

    def publish(self, db: Any, fact: Fact, *, id: str | None = None) -> None:
        """Record `fact` in the open unit `db`, whoever opened it: it leaves if, and only if, that one commits."""
        ...


class Progress(Protocol):
    """Tells how far slow work is. Lossy and rate-limited; never fails the work."""

    def __call__(self, fraction: float) -> None:
        """`fraction` 0..1 of this piece of work."""
        ...

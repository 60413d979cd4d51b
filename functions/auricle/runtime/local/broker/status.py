"""What `GET /status` says, for `auricle status` and the host."""

from __future__ import annotations

from datetime import datetime

import msgspec

from auricle.runtime.local.workers import PoolStatus


class SubscriptionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription. `waiting` includes what is under way; None while the database is away. The rest since the start."""

    name: str
    waiting: int | None
    retrying: int | None
    dead_letters: int | None
    oldest_seconds: float | None
    in_flight: int
    delivered: int
    failed: int
    dead_lettered: int


class TimerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One timer."""

    name: str
    minutes: int
    due_in_seconds: float | None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. `orphaned` counts deliveries of subscriptions that the plan does not have any more."""

    pid: int
    path: str
    started_at: datetime
    database: str  # ok | away
    accepted: int
    orphaned: int
    subscriptions: tuple[SubscriptionStatus, ...]
    timers: tuple[TimerStatus, ...]
    pools: tuple[PoolStatus, ...]

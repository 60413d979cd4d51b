"""Usage as administrators see it, and what everybody sees of it."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken, and the limits (null: none). `storage_bytes` counts originals, the trash included; `unfinished_bytes` what
    uploads under way announced. Minutes are of recordings whose transcription began in this calendar month (UTC)."""

    storage_bytes: int
    unfinished_bytes: int
    storage_limit_bytes: int | None
    minutes_this_month: float
    minutes_per_month: int | None
    minutes_renew_at: datetime
    runs_under_way: int
    runs_queued: int
    runs_at_once: int | None


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What is left for all together; null: there is no limit."""

    minutes_left: float | None
    minutes_renew_at: datetime
    storage_left_bytes: int | None

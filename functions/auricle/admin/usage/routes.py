"""What a deployment has taken of what it may: all of it for administrators, and what is left for everybody."""

from __future__ import annotations

from auricle.admin.usage.model import Allowance, Usage
from auricle.admin.usage.store import UsageStore
from auricle.contract.choices import Permission
from auricle.contract.function import route
from auricle.intake.model import UploadLimits
from auricle.runs.limits.store import MinutesStore
from auricle.runs.model import Pace


@route("GET /api/usage", permission=Permission.OPERATE)
def get_usage(usage: UsageStore, minutes: MinutesStore, pace: Pace, limits: UploadLimits) -> Usage:
    """What this deployment takes and may take: bytes, minutes, runs."""
    month = minutes.month()
    (stored, unfinished), (under_way, queued) = usage.bytes_kept(), usage.runs_active()
    return Usage(
        storage_bytes=stored,
        unfinished_bytes=unfinished,
        storage_limit_bytes=limits.storage_bytes,
        minutes_this_month=month.minutes,
        minutes_per_month=pace.minutes_per_month,
        minutes_renew_at=month.renews_at,
        runs_under_way=under_way,
        runs_queued=queued,
        runs_at_once=pace.max_runs or None,
    )


@route("GET /api/allowance", permission=Permission.READ)
def get_allowance(usage: UsageStore, minutes: MinutesStore, pace: Pace, limits: UploadLimits) -> Allowance:
    """How many minutes and bytes are left in this deployment, for all who use it."""
    month, room = minutes.month(), None
    if limits.storage_bytes is not None:
        room = max(0, limits.storage_bytes - sum(usage.bytes_kept()))
    return Allowance(
        minutes_left=None if pace.minutes_per_month is None else month.left(pace.minutes_per_month),
        minutes_renew_at=month.renews_at,
        storage_left_bytes=room,
    )

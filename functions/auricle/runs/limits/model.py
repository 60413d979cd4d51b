"""A month's minutes, and why a recording does not fit into what is left of them."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Month(msgspec.Struct, frozen=True, kw_only=True):
    """This calendar month (UTC): seconds of recordings whose transcription began in it, and when the next one begins."""

    seconds: float
    renews_at: datetime

    @property
    def minutes(self) -> float:
        """As people count."""
        return round(self.seconds / 60, 1)

    def left(self, limit: int) -> float:
        """Minutes that are left of `limit`."""
        return round(max(0.0, limit - self.seconds / 60), 1)


def refusal(month: Month, limit: int, seconds: float) -> str | None:
    """Why a recording of this length may not be transcribed in this month; None when it may."""
    if month.seconds + seconds <= limit * 60:
        return None
    if limit == 0:
        return "This vault transcribes nothing: it is allowed 0 minutes a month. Its administrator can change that."
    day = f"{month.renews_at.day} {month.renews_at:%B %Y}"
    return (
        f"This recording has {seconds / 60:.1f} minutes, and of this month's {limit} only {month.left(limit):g} are left. "
        f"They renew on {day} (UTC): try again then, or ask your administrator for more."
    )

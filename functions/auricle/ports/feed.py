"""Following what happens, for people who watch."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the event log. `position` is what `Last-Event-ID` resumes after."""

    position: str
    type: str
    at: datetime
    data: msgspec.Raw


class EventFeed(Protocol):
    """The event log as it grows, without gaps: an entry is seen only when every earlier one is committed or gone."""

    def follow(self, owner: UUID, after: str | None) -> Iterator[Happening | None]:
        """Entries that they may see, after `after` (None: from now on), as they come; None every 15 s."""
        ...

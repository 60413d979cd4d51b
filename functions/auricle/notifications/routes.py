"""The live line to people's screens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

from auricle.access.model import Principal
from auricle.contract.choices import Permission, Scale
from auricle.contract.function import route
from auricle.contract.http import Header, Stream
from auricle.ports.feed import EventFeed, Happening

LINE_SECONDS = 290
"""A line ends cleanly before gateways cut it; listeners come back by themselves with Last-Event-ID."""
RETRY_MILLISECONDS = 2000


@route("GET /api/events", permission=Permission.READ, function="progress", scale=Scale.STREAM)
def follow_events(
    who: Principal, feed: EventFeed, last_event_id: Annotated[str | None, Header("Last-Event-ID")] = None
) -> Stream:
    """Server-sent events of the caller's files and runs, as they happen; resumes after `Last-Event-ID`."""
    return Stream(_lines(feed.follow(who.id, last_event_id)), "text/event-stream")


def _lines(happenings: Iterator[Happening | None]) -> Iterator[bytes]:
    end = time.monotonic() + LINE_SECONDS
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    for happening in happenings:
        if happening is None:
            yield b": still here\n\n"
        else:
            yield f"id: {happening.position}\nevent: {happening.type}\ndata: ".encode() + bytes(happening.data) + b"\n\n"
        if time.monotonic() > end:
            return

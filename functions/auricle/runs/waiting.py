"""Telling people that runs wait: nothing happens while they do, so whoever listens looks now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from uuid import UUID

from auricle.contract.store import Units
from auricle.errors import AuricleError
from auricle.notifications.store import EventLogStore
from auricle.ports.feed import EventFeed, Happening
from auricle.runs.store import RunStore

LOOK_SECONDS = 10.0
"""Between looks of one process, however many listen. A line is asked at least every 15 s (`EventFeed.follow`)."""
MOST = 50


class NoticingFeed:
    """An `EventFeed` whose listeners also learn that a run has begun to wait."""

    def __init__(self, feed: EventFeed, units: Units, seconds: float = LOOK_SECONDS) -> None:
        """`feed` tells what happens; runs are looked at in units of their own, not oftener than every `seconds`."""
        self._feed = feed
        self._units = units
        self._seconds = seconds
        self._lock = threading.Lock()
        self._next = 0.0

    def follow(self, owner: UUID, after: str | None) -> Iterator[Happening | None]:
        """As the feed does."""
        for happening in self._feed.follow(owner, after):
            if self._my_turn():
                self._look()
            yield happening

    def _my_turn(self) -> bool:
        with self._lock:
            if time.monotonic() < self._next:
                return False
            self._next = time.monotonic() + self._seconds
            return True

    def _look(self) -> None:
        try:
            with self._units.unit() as connection:
                tell_waiting(RunStore(connection), EventLogStore(connection))
        except AuricleError:  # the database is away: the line itself says so soon enough
            return


def tell_waiting(runs: RunStore, log: EventLogStore) -> int:
    """Write down, for those who watch, each run that has begun to wait; returns how many that were."""
    found = runs.newly_waiting(MOST)
    for owner, run in found:
        log.append(owner, run.file_id, "run", run)
    return len(found)

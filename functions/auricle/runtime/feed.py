"""Following the event log: one poller a process, only while somebody listens.

Entries are read below `pg_snapshot_xmin`, in the order of (transaction, sequence): no later commit can slip in behind
what was read, so a listener that resumes misses nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

import msgspec
from sqlalchemy import text

from auricle.errors import Invalid, Retryable
from auricle.ports.feed import Happening
from auricle.runtime.database import Database

log = logging.getLogger(__name__)
POLL_SECONDS = 0.25
QUIET_SECONDS = 15.0
"""After so long without an entry a listener gets None, to keep the line open."""
PAGE = 500
KEPT = 2000
"""Entries the poller remembers; a listener that falls further behind reads the database itself."""

_READ = text(
    "select xid::text::bigint as xid, seq, owner, type, at, data::text as data from event_log"
    " where (xid, seq) > (cast(cast(:xid as text) as xid8), :seq) and xid < pg_snapshot_xmin(pg_current_snapshot())"
    " order by xid, seq limit :n"
)
_NEWEST = text(
    "select coalesce(max((xid::text::bigint)), 0) from event_log where xid < pg_snapshot_xmin(pg_current_snapshot())"
)

Position = tuple[int, int]


@dataclass(slots=True)
class _Entry:
    position: Position
    owner: UUID
    happening: Happening


@dataclass(slots=True)
class _Window:
    """The newest entries, and how far was read."""

    entries: list[_Entry] = field(default_factory=list)
    read_to: Position | None = None
    listeners: int = 0


class DatabaseFeed:
    """`ports.feed.EventFeed` on the event log."""

    def __init__(self, database: Database) -> None:
        """Nothing is polled until somebody listens."""
        self._database = database
        self._window = _Window()
        self._changed = threading.Condition()

    def follow(self, owner: UUID, after: str | None) -> Iterator[Happening | None]:
        """Entries after `after` as they come; None when it has been quiet."""
        position = _position(after) if after else self._newest()
        return self._following(owner, position)

    def _following(self, owner: UUID, position: Position) -> Iterator[Happening | None]:
        with self._changed:
            self._window.listeners += 1
            if self._window.listeners == 1:
                self._window = _Window([], position, 1)
                threading.Thread(target=self._poll, name="event-feed", daemon=True).start()
        try:
            while True:
                entries, complete = self._after(position)
                if not complete:
                    entries = self._read(position)
                for entry in entries:
                    position = entry.position
                    if entry.owner == owner:
                        yield entry.happening
                if not entries and not self._wait(position):
                    yield None
        finally:
            with self._changed:
                self._window.listeners -= 1

    def _after(self, position: Position) -> tuple[list[_Entry], bool]:
        """Remembered entries after `position`; not complete when the memory begins later."""
        with self._changed:
            entries = self._window.entries
            newer = [e for e in entries if e.position > position]
            begins = entries[0].position if entries else self._window.read_to
            return newer, begins is not None and (
                position >= begins or (not newer and position >= (self._window.read_to or position))
            )

    def _wait(self, position: Position) -> bool:
        """Wait for something new; False after a quiet while."""
        deadline = time.monotonic() + QUIET_SECONDS
        with self._changed:
            while not (self._window.entries and self._window.entries[-1].position > position):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def _poll(self) -> None:
        window = self._window
        while window.listeners > 0:
            try:
                found = self._read(window.read_to or (0, 0))
            except Retryable as error:
                log.info("event feed waits: %s", error)
                found = []
                time.sleep(1)
            if found:
                with self._changed:
                    window.entries = (window.entries + found)[-KEPT:]
                    window.read_to = found[-1].position
                    self._changed.notify_all()
            else:
                time.sleep(POLL_SECONDS)

    def _read(self, position: Position) -> list[_Entry]:
        with self._database.work() as connection:
            rows = connection.execute(_READ, {"xid": str(position[0]), "seq": position[1], "n": PAGE}).all()
        return [
            _Entry(
                (row.xid, row.seq),
                row.owner,
                Happening(position=f"{row.xid}-{row.seq}", type=row.type, at=row.at, data=msgspec.Raw(row.data.encode())),
            )
            for row in rows
        ]

    def _newest(self) -> Position:
        with self._database.work() as connection:
            return int(connection.execute(_NEWEST).scalar_one()), 2**62


def _position(text_: str) -> Position:
    xid, _, seq = text_.partition("-")
    if not (xid.isdigit() and seq.isdigit()):
        raise Invalid("Last-Event-ID is not one of ours. Leave it out to start from now.")
    return int(xid), int(seq)

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

from auricle.access.relations import shared_files
from auricle.errors import Invalid, Retryable
from auricle.ports.feed import Happening
from auricle.runtime.database import Database

log = logging.getLogger(__name__)
POLL_SECONDS = 0.25
QUIET_SECONDS = 15.0
"""After so long without an entry a listener gets None, to keep the line open."""
SHARED_SECONDS = 2.0
"""A grant that was given or taken changes what an open line tells after so long; at every listener's cost of one query."""
PAGE = 500
KEPT = 2000
"""Entries the poller remembers; a listener that falls further behind reads the database itself."""

_READ = text(
    "select xid::text::bigint as xid, seq, owner, file_id, type, at, data::text as data from event_log"
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
    file_id: UUID | None
    happening: Happening


@dataclass(slots=True)
class _Window:
    """The newest entries: everything after `begins`, as far as was read."""

    begins: Position
    entries: list[_Entry] = field(default_factory=list)
    listeners: int = 0

    def read_to(self) -> Position:
        """The last entry's position."""
        return self.entries[-1].position if self.entries else self.begins

    def add(self, found: list[_Entry]) -> None:
        """Remember what was read, the newest of it."""
        self.entries += found
        if len(self.entries) > KEPT:
            self.begins = self.entries[-KEPT - 1].position
            self.entries = self.entries[-KEPT:]


class _Shared:
    """The files that others shared with a listener, as they were at most `SHARED_SECONDS` ago."""

    def __init__(self, database: Database, who: UUID) -> None:
        self._database = database
        self._who = who
        self._files: frozenset[UUID] = frozenset()
        self._until = 0.0

    def holds(self, file_id: UUID | None) -> bool:
        """Whether they may hear of it. Asked of the database only while others' files make news."""
        if time.monotonic() >= self._until:
            with self._database.work() as connection:
                self._files = frozenset(connection.execute(shared_files(self._who)).scalars())
            self._until = time.monotonic() + SHARED_SECONDS
        return file_id in self._files


class DatabaseFeed:
    """`ports.feed.EventFeed` on the event log: what is about one's own files, and about those that others shared."""

    def __init__(self, database: Database) -> None:
        """Nothing is polled until somebody listens."""
        self._database = database
        self._window = _Window((0, 0))
        self._changed = threading.Condition()

    def follow(self, owner: UUID, after: str | None) -> Iterator[Happening | None]:
        """Entries after `after` as they come; None when it has been quiet."""
        position = _position(after) if after else self._newest()
        return self._following(owner, position)

    def _following(self, owner: UUID, position: Position) -> Iterator[Happening | None]:
        with self._changed:
            first = self._window.listeners == 0
            if first:
                self._window = _Window(position)
            window = self._window
            window.listeners += 1
        if first:  # only now: a poller that sees no listener ends
            threading.Thread(target=self._poll, args=(window,), name="event-feed", daemon=True).start()
        shared = _Shared(self._database, owner)
        try:
            while True:
                entries = self._after(window, position)
                for entry in entries:
                    position = entry.position
                    if entry.owner == owner or shared.holds(entry.file_id):
                        yield entry.happening
                if not entries and not self._wait(window, position):
                    yield None
        finally:
            with self._changed:
                window.listeners -= 1

    def _after(self, window: _Window, position: Position) -> list[_Entry]:
        """What came after `position`: from memory, or from the database when the memory begins later."""
        with self._changed:
            if position >= window.begins:
                return [entry for entry in window.entries if entry.position > position]
        return self._read(position)

    def _wait(self, window: _Window, position: Position) -> bool:
        """Wait for something new; False after a quiet while."""
        with self._changed:
            return self._changed.wait_for(lambda: window.read_to() > position, QUIET_SECONDS)

    def _poll(self, window: _Window) -> None:
        while window.listeners > 0:
            try:
                found = self._read(window.read_to())
            except Retryable as error:
                log.info("event feed waits: %s", error)
                found = []
            if found:
                with self._changed:
                    window.add(found)
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
                row.file_id,
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

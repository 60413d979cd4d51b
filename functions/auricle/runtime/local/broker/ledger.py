"""What the broker keeps, for its loop: three lines to the database, so that settling never holds up accepting."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

from auricle.runtime.local.broker import store
from auricle.runtime.local.broker.changes import Change, Depth, Load, together
from auricle.runtime.local.broker.lines import Line
from auricle.runtime.local.broker.store import Statements

R = TypeVar("R")

IDS_PER_GENERATION = 2**32
WINDOW_ROWS = 128
WINDOW_BYTES = 4 * 2**20
"""How much of a backlog one subscription holds in memory."""
TRIM_ROWS = 5000
ONE_STATEMENT = 2**20
CHANGE_WEIGHT = 2**13
"""Bytes written together (a change without data counts, too): enough to make commits cheap, few enough to keep the first
of them waiting only shortly and memory small."""


class Ledger:
    """The durable side. Every call raises `Away` while there is no database, `Superseded` when it is another broker's."""

    def __init__(self, url: str) -> None:
        """`url` is a SQLAlchemy address. Made within the running loop."""
        connect = store.connector(url)
        self._generation = 0
        self._ids = itertools.count()
        self._arrivals: Line[Change, None] = Line("arrivals", connect, self._write, _weight, ONE_STATEMENT)
        self._outcomes: Line[Change, None] = Line("outcomes", connect, self._write, _weight, ONE_STATEMENT)
        self._reads: Line[Callable[[Statements], object], object] = Line("reads", connect, _each, _alone, 1)

    async def take_over(self) -> None:
        """Become the one broker of this database."""
        self._generation = await self._read(lambda s: store.take_over(s.connection))
        self._ids = itertools.count(self._generation * IDS_PER_GENERATION)

    def next_id(self) -> int:
        """A number that no event and no delivery had before; later ones are larger."""
        return next(self._ids)

    async def arrive(self, change: Change) -> None:
        """Keep what was published."""
        await self._arrivals.put(change)

    async def settle(self, change: Change) -> None:
        """Keep what came of deliveries. May be repeated after `Away`: the second time changes nothing."""
        await self._outcomes.put(change)

    async def due(self, subscription: str, known: Sequence[int]) -> Load:
        """A window of what is due, without what is `known`."""
        return await self._read(lambda s: store.due(s, subscription, known, WINDOW_ROWS, WINDOW_BYTES))

    async def depths(self) -> list[Depth]:
        """How much waits, by subscription."""
        return await self._read(store.depths)

    async def trim(self, keep: float) -> None:
        """Forget finished events older than `keep` seconds, in small bites."""
        while await self._read(lambda s: store.trim(s, self._generation, keep, TRIM_ROWS)) == TRIM_ROWS:
            pass

    async def timer_wait(self, name: str, minutes: int) -> float:
        """Seconds until a timer is due."""
        return await self._read(lambda s: store.timer_wait(s, name, minutes))

    async def fire(self, name: str, minutes: int, change: Change) -> bool:
        """Keep a timer's event and move the timer on; False when it was not due."""
        return await self._read(lambda s: store.fire(s, self._generation, name, minutes, change))

    def close(self, patience: float) -> None:
        """End the threads."""
        for line in (self._arrivals, self._outcomes, self._reads):
            line.close(patience)

    def _write(self, statements: Statements, changes: Sequence[Change]) -> Sequence[None]:
        store.write(statements, self._generation, together(changes))
        return [None] * len(changes)

    async def _read(self, ask: Callable[[Statements], R]) -> R:
        return await self._reads.put(ask)  # type: ignore[return-value]  # one line serves questions of every type


def _each(statements: Statements, questions: Sequence[Callable[[Statements], object]]) -> Sequence[object]:
    return [question(statements) for question in questions]


def _weight(change: Change) -> int:
    return CHANGE_WEIGHT + sum(len(event.data) for event in change.events)


def _alone(_: object) -> int:
    return 1

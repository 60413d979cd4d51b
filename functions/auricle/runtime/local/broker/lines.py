"""Threads that speak to the database: what comes while one call is under way goes into the next, all together.

That is the group commit: under load, one transaction carries the work of many.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from pg8000.native import Connection

from auricle.errors import Retryable
from auricle.runtime.local.broker.store import Statements, is_away

log = logging.getLogger(__name__)

REST = 60.0
"""Seconds without work after which a connection is given back: an idle laptop keeps the memory of a server process each."""

J = TypeVar("J")
R = TypeVar("R")


class Away(Retryable):
    """The database cannot be used now. Whether the last change was kept is not known."""


class Line(Generic[J, R]):
    """One connection in one thread. `work` gets the jobs that are there and gives a result for each, or fails for all."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        work: Callable[[Statements, Sequence[J]], Sequence[R]],
        weigh: Callable[[J], int],
        capacity: int,
    ) -> None:
        """Jobs go into one call until they weigh `capacity`. Made within the running loop."""
        self._connect = connect
        self._work = work
        self._weigh = weigh
        self._capacity = capacity
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[tuple[J, asyncio.Future[R]] | None] = SimpleQueue()
        self._statements: Statements | None = None
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def put(self, job: J) -> R:
        """The result for `job`; raises `Away`, or what `work` raised."""
        future: asyncio.Future[R] = self._loop.create_future()
        self._queue.put((job, future))
        return await future

    def close(self, patience: float) -> None:
        """End the thread after what is queued."""
        self._queue.put(None)
        self._thread.join(patience)

    def _run(self) -> None:
        ended = False
        while not ended:
            try:
                first = self._queue.get(timeout=REST if self._connection else None)
            except Empty:
                self._drop()
                continue
            if first is None:
                break
            batch, ended = self._with_following(first)
            self._handle(batch)
        self._drop()

    def _with_following(self, first: tuple[J, asyncio.Future[R]]) -> tuple[list[tuple[J, asyncio.Future[R]]], bool]:
        """`first` and what came meanwhile; and whether the line is closed after it."""
        batch, weight = [first], self._weigh(first[0])
        with contextlib.suppress(Empty):
            while weight < self._capacity:
                following = self._queue.get_nowait()
                if following is None:
                    return batch, True
                batch.append(following)
                weight += self._weigh(following[0])
        return batch, False

    def _handle(self, batch: Sequence[tuple[J, asyncio.Future[R]]]) -> None:
        try:
            if self._statements is None:
                self._connection = self._connect()
                self._statements = Statements(self._connection)
            results = self._work(self._statements, [job for job, _ in batch])
        except Exception as error:
            self._failed(batch, error)
        else:
            self._tell(_resolve, batch, results)

    def _failed(self, batch: Sequence[tuple[J, asyncio.Future[R]]], error: Exception) -> None:
        self._drop()  # whatever state the connection is in
        if not is_away(error) and len(batch) > 1:
            for one in batch:  # find the job that cannot be done; the others can
                self._handle([one])
            return
        reason = Away(f"The broker's database is away: {error}") if is_away(error) else error
        self._tell(_refuse, batch, reason)

    def _tell(self, act: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(act, *arguments)

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):  # it is broken, or soon will be
                self._connection.close()
        self._connection = self._statements = None


def _resolve(batch: Sequence[tuple[J, asyncio.Future[R]]], results: Sequence[R]) -> None:
    for (_, future), result in zip(batch, results, strict=True):
        if not future.done():
            future.set_result(result)


def _refuse(batch: Sequence[tuple[J, asyncio.Future[R]]], reason: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(reason)

"""Processes that are started by need and stopped when idle: scale to zero on a laptop.

A pool with a `url` is there already and only its concurrency is minded. For the others the first loan starts a process,
more loans than it takes start more, and who has nothing to do for `idle_seconds` is stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from auricle.runtime.local.broker.client import ConnectionLost, HttpClient
from auricle.runtime.local.crew import Crew, NoWorker, PoolStatus, WorkerState, WorkerStatus
from auricle.runtime.local.parent import watch_parent
from auricle.runtime.local.plan import Pool

__all__ = ["Loan", "NoWorker", "PoolStatus", "WorkerDied", "WorkerState", "WorkerStatus", "Workers", "watch_parent"]


class WorkerDied(ConnectionLost):
    """The process ended while it had the request."""


class Loan(Protocol):
    """The right to send one request to `url`."""

    @property
    def url(self) -> str:
        """`http://HOST:PORT`."""

    async def died(self) -> bool:
        """After a lost connection: whether the process behind it has ended."""

    def release(self, *, answered: bool) -> None:
        """Give the place back; `answered` is whether the request got an answer."""

    def spoil(self) -> None:
        """Say that the process may hang: it serves nobody else and is stopped."""


class Workers:
    """All pools of a plan. Belongs to one loop."""

    def __init__(self, pools: Iterable[Pool], *, logs: Path, client: HttpClient, environment: Mapping[str, str]) -> None:
        """`logs` is a folder (made by need); processes get `environment`, their pool's `env` and PORT."""
        self._crews: dict[str, Resident | Crew] = {
            pool.name: Resident(pool) if pool.url else Crew(pool, logs, client, environment) for pool in pools
        }
        self._pool_of = {name: crew for crew in self._crews.values() for name in crew.pool.functions}

    @asynccontextmanager
    async def loan(self, pool: str) -> AsyncIterator[Loan]:
        """Wait for a place in `pool`, and give it back afterwards; raises `NoWorker`.

        A `ConnectionLost` within becomes `WorkerDied` when that is why.
        """
        crew = self._crews[pool]
        loan: Loan = await crew.take()
        answered = False
        try:
            yield loan
            answered = True
        except ConnectionLost as error:
            if await loan.died():
                raise WorkerDied(f"the process ended while it had the request: {error}") from error
            raise
        finally:
            loan.release(answered=answered)

    async def activate(self, function: str) -> str:
        """Have a process ready that serves `function`; its url. Keeps it for `idle_seconds` more. Raises `KeyError`."""
        return await self._pool_of[function].activate()

    def status(self) -> list[PoolStatus]:
        """How it stands, by pool."""
        return [crew.status() for crew in self._crews.values()]

    async def stop(self, patience: float) -> None:
        """End all processes: politely, and after `patience` seconds by force."""
        await asyncio.gather(*(crew.stop(patience) for crew in self._crews.values() if isinstance(crew, Crew)))


class Resident:
    """A pool that somebody else keeps running."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.url = (pool.url or "").rstrip("/")
        self._slots = pool.max_workers * pool.concurrency
        self._free = asyncio.Semaphore(self._slots)
        self._wanted = 0

    async def take(self) -> Resident:
        """A place, in order of asking."""
        self._wanted += 1
        try:
            await self._free.acquire()
        except BaseException:
            self._wanted -= 1
            raise
        return self

    def release(self, *, answered: bool) -> None:
        """Give a place back."""
        self._wanted -= 1
        self._free.release()

    async def died(self) -> bool:
        """Never, as far as we know."""
        return False  # whoever keeps it knows; a lost connection counts as a failed try

    def spoil(self) -> None:
        """Nothing: it is not ours to stop."""

    async def activate(self) -> str:
        """The url; it is ready."""
        return self.url

    def status(self) -> PoolStatus:
        """How it stands."""
        busy = min(self._wanted, self._slots)
        return PoolStatus(
            name=self.pool.name,
            functions=self.pool.functions,
            url=self.url,
            max_workers=self.pool.max_workers,
            concurrency=self.pool.concurrency,
            busy=busy,
            queued=self._wanted - busy,
            trouble=None,
            workers=(),
        )

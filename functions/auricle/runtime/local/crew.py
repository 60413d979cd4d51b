"""The processes of one pool: who starts, serves, rests and goes."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from auricle.errors import Retryable
from auricle.runtime.local.broker.client import ConnectionLost, HttpClient
from auricle.runtime.local.plan import Pool
from auricle.runtime.telemetry import masked

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
"""Seconds between starts of a pool whose processes end without having answered anything; doubled each time."""
FORGIVEN = 2
"""Starts in a row that may fail before those who wait are told: a process may be killed while it starts."""
LOG_BYTES = 5 * 2**20
"""A pool's log larger than this is set aside (`.1`) at the next start."""
POLITE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL, for a worker that is stopped because it is idle."""
NOTICE_SECONDS = 0.5
"""How long after a lost connection a process may take to be seen dead."""


class NoWorker(Retryable):
    """No process of a pool comes up; says why."""


class WorkerState(StrEnum):
    """Where a process is in its life."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process. `busy` requests are under way."""

    pid: int
    port: int
    state: WorkerState
    busy: int
    served: int
    idle_seconds: float
    started_at: datetime


class PoolStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One pool. `trouble` is why its processes do not come up, while they do not."""

    name: str
    functions: tuple[str, ...]
    url: str | None
    max_workers: int
    concurrency: int
    busy: int
    queued: int
    trouble: str | None
    workers: tuple[WorkerStatus, ...]


class Worker:
    """One process of a crew."""

    def __init__(
        self, process: asyncio.subprocess.Process, port: int, lifeline: int, released: Callable[[Worker, bool], None]
    ) -> None:
        """`lifeline` is our end of its standard input: when we are gone, it closes and the process ends itself.

        `released` is told when a request is over, and whether it was answered.
        """
        self.process = process
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self.state = WorkerState.STARTING
        self.busy = 0
        self.served = 0
        self.spoiled = False
        self.idle_since = time.monotonic()
        self.started_at = datetime.now(UTC)
        self.retirement: asyncio.TimerHandle | None = None
        self._lifeline = lifeline
        self._released = released

    @property
    def serves(self) -> bool:
        """Whether it takes requests. Its end is known here before its crew has taken it out."""
        return self.state is WorkerState.READY and self.process.returncode is None

    def release(self, *, answered: bool) -> None:
        """End of one request."""
        self._released(self, answered)

    async def died(self) -> bool:
        """After a lost connection: whether that is why."""
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTICE_SECONDS):
                await self.process.wait()
        return self.process.returncode is not None

    def spoil(self) -> None:
        """Say that it may hang."""
        self.spoiled = True

    def signal(self, number: int) -> None:
        """To the process and whatever it started."""
        with suppress(ProcessLookupError, PermissionError):  # gone, or (macOS) a zombie
            os.killpg(self.process.pid, number)

    async def end(self, patience: float) -> None:
        """Stop it, politely for `patience` seconds."""
        self.state = WorkerState.STOPPING
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self.process.wait()
        self.signal(signal.SIGKILL)  # also what it left behind in its group
        await self.process.wait()

    def close(self) -> None:
        """Forget an ended process."""
        os.close(self._lifeline)

    def status(self) -> WorkerStatus:
        return WorkerStatus(
            pid=self.process.pid,
            port=self.port,
            state=self.state,
            busy=self.busy,
            served=self.served,
            idle_seconds=0.0 if self.busy else time.monotonic() - self.idle_since,
            started_at=self.started_at,
        )


class Crew:
    """A pool whose processes are ours."""

    def __init__(self, pool: Pool, logs: Path, client: HttpClient, environment: Mapping[str, str]) -> None:
        self.pool = pool
        self._log = logs / f"{pool.name}.log"
        self._client = client
        self._environment = {**environment, **pool.env}
        self._workers: list[Worker] = []
        self._beginning = 0
        self._waiting: deque[asyncio.Future[Worker]] = deque()
        self._lives: set[asyncio.Task[None]] = set()
        self._failures = 0  # processes in a row that ended without having answered anything
        self._stillborn = 0  # starts in a row that did not get ready
        self._trouble: str | None = None
        self._not_before = 0.0
        self._closing = asyncio.Event()

    async def take(self) -> Worker:
        """A place at a ready process, in order of asking."""
        if not self._waiting and (worker := self._place()):
            self._occupy(worker)
            return worker
        future: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._hire()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().release(answered=False)
            raise

    def _released(self, loan: Worker, answered: bool) -> None:
        """End of one request."""
        loan.busy -= 1
        if answered:
            loan.served += 1
            self._failures = 0
        if loan.spoiled and not loan.busy and loan.state is WorkerState.READY:
            log.warning("a worker of %s (pid %d) did not answer in time and is stopped", self.pool.name, loan.process.pid)
            loan.state = WorkerState.STOPPING
            self._later(loan.end(POLITE_SECONDS))
        self._hand_out()
        self._rest(loan)

    async def activate(self) -> str:
        """Have a process ready."""
        ready = next((w for w in self._workers if w.serves), None)
        if ready is None:
            ready = await self.take()
            ready.release(answered=False)
        self._rest(ready)
        return ready.url

    def status(self) -> PoolStatus:
        return PoolStatus(
            name=self.pool.name,
            functions=self.pool.functions,
            url=None,
            max_workers=self.pool.max_workers,
            concurrency=self.pool.concurrency,
            busy=sum(worker.busy for worker in self._workers),
            queued=sum(not future.done() for future in self._waiting),
            trouble=self._trouble,
            workers=tuple(worker.status() for worker in self._workers),
        )

    async def stop(self, patience: float) -> None:
        self._closing.set()
        self._refuse("The host is stopping.")
        await asyncio.gather(*(worker.end(patience) for worker in self._workers))
        await asyncio.gather(*self._lives, return_exceptions=True)

    def _place(self) -> Worker | None:
        """The longest-serving process with room: the youngest then get to rest, and go."""
        free = (w for w in self._workers if w.serves and not w.spoiled and w.busy < self.pool.concurrency)
        return next(free, None)

    def _occupy(self, worker: Worker) -> None:
        worker.busy += 1
        if worker.retirement is not None:
            worker.retirement.cancel()

    def _hand_out(self) -> None:
        while self._waiting and (worker := self._place()):
            future = self._waiting.popleft()
            if not future.done():
                self._occupy(worker)
                future.set_result(worker)

    def _rest(self, worker: Worker) -> None:
        """From now on the process is idle, if it is."""
        if worker.busy or worker.state is not WorkerState.READY:
            return
        worker.idle_since = time.monotonic()
        if worker.retirement is not None:
            worker.retirement.cancel()
        worker.retirement = asyncio.get_running_loop().call_later(self.pool.idle_seconds, self._retire, worker)

    def _retire(self, worker: Worker) -> None:
        if worker.state is WorkerState.READY and not worker.busy:
            log.info("a worker of %s (pid %d) is idle and stopped", self.pool.name, worker.process.pid)
            worker.state = WorkerState.STOPPING
            self._later(worker.end(POLITE_SECONDS))

    def _hire(self) -> None:
        """Start what is missing for those who wait: now, or when the pause after a failed start is over."""
        waiting = sum(not future.done() for future in self._waiting)
        coming = self._beginning + sum(w.state is WorkerState.STARTING for w in self._workers)
        room = self.pool.max_workers - len(self._workers) - self._beginning
        missing = math.ceil(waiting / self.pool.concurrency) - coming
        for _ in range(0 if self._closing.is_set() else min(room, missing)):
            self._beginning += 1
            self._later(self._live())

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._lives.add(task)
        task.add_done_callback(self._lives.discard)

    async def _live(self) -> None:
        """One process from start to end."""
        worker, trouble = None, None
        try:
            await self._pause(self._not_before - time.monotonic())
            if not self._closing.is_set():
                worker = await self._spawn()
                self._workers.append(worker)
        except OSError as error:
            trouble = f"it cannot be started: {error.strerror}: {self.pool.command[0]}"
        finally:
            self._beginning -= 1
        if worker is not None:
            trouble = await self._watch_over(worker)
            self._workers.remove(worker)
            self._client.forget(worker.url)
            worker.close()
        if trouble is not None and not self._closing.is_set():
            self._failed(trouble, came_up=worker is not None and worker.state is WorkerState.READY)
        self._hire()

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless the host stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._closing.wait()

    async def _spawn(self) -> Worker:
        port = _free_port()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        standard_input, lifeline = os.pipe()
        try:
            with self._log.open("ab") as output:
                process = await asyncio.create_subprocess_exec(
                    *self.pool.command,
                    stdin=standard_input,
                    stdout=output,
                    stderr=output,
                    env={**self._environment, "PORT": str(port)},
                    start_new_session=True,  # Ctrl-C is the host's business; and a group to end as a whole
                )
        except BaseException:
            os.close(lifeline)
            raise
        finally:
            os.close(standard_input)
        log.info("a worker of %s (pid %d) starts on port %d", self.pool.name, process.pid, port)
        return Worker(process, port, lifeline, self._released)

    async def _watch_over(self, worker: Worker) -> str | None:
        """Until the process has ended; why, if it was not our wish."""
        trouble = await self._until_ready(worker)
        if trouble is not None:
            await worker.end(POLITE_SECONDS)
            return trouble
        if worker.state is WorkerState.STARTING:
            worker.state = WorkerState.READY
            self._stillborn, self._trouble = 0, None
            self._hand_out()
            self._rest(worker)
        code = await worker.process.wait()
        worker.signal(signal.SIGKILL)  # what it left behind in its group
        return f"it ended with {code}" if worker.state is WorkerState.READY else None

    async def _until_ready(self, worker: Worker) -> str | None:
        """None, or why it is not."""
        until, pause = time.monotonic() + self.pool.ready_seconds, 0.02
        while time.monotonic() < until and worker.state is WorkerState.STARTING:
            if worker.process.returncode is not None:
                return f"it ended with {worker.process.returncode} while starting: {self._last_words()}"
            with suppress(ConnectionLost, TimeoutError):
                async with asyncio.timeout(5.0):
                    answer = await self._client.request("GET", f"{worker.url}/readyz")
                    if answer.status == 200:
                        return None
            await self._pause(pause)
            pause = min(pause * 1.5, 0.25)
        return f"it was not ready after {self.pool.ready_seconds:g} s: {self._last_words()}"

    def _last_words(self) -> str:
        """The last line of the log, which usually says it."""
        with suppress(OSError), self._log.open("rb") as log_file:
            log_file.seek(max(0, self._log.stat().st_size - 2000))
            lines = log_file.read().decode(errors="replace").strip().splitlines()
            if lines:
                return masked(lines[-1][:500])
        return "it said nothing"

    def _failed(self, trouble: str, *, came_up: bool) -> None:
        """A process ended by itself. Pause before the next; tell those who wait, if it looks as if none would come up."""
        self._failures += 1
        self._stillborn += 0 if came_up else 1
        pause = min(FIRST_PAUSE * 2 ** (self._failures - 1), LONGEST_PAUSE) if self._failures > 1 or not came_up else 0.0
        self._not_before = time.monotonic() + pause
        if pause:
            self._trouble = f"No worker of {self.pool.name} comes up: {trouble}. Its log is {self._log}."
        log.error("a worker of %s is lost: %s (the next one starts in %.1f s)", self.pool.name, trouble, pause)
        if self._stillborn > FORGIVEN and not self._workers:
            self._refuse(self._trouble or trouble)

    def _refuse(self, why: str) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(NoWorker(why))


def _free_port() -> int:
    """A port that nobody holds. Somebody may take it before the worker does: then that start fails, and the next works."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])

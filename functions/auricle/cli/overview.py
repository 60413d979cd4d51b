"""What runs on a data folder: the host's own file, the broker's word and the system's numbers, put together."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

import msgspec
import psutil
import urllib3

from auricle.runtime.local import hostfile

BROKER_SECONDS = 5.0
"""How long the broker may think about how it stands."""


class ProcessView(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the host with all it started, workers apart. Memory is proportional (PSS) where the system knows it."""

    name: str
    pid: int
    since: float
    restarts: int
    memory_bytes: int


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process."""

    pid: int
    state: str
    busy: int
    served: int
    idle_seconds: float
    memory_bytes: int


class PoolView(msgspec.Struct, frozen=True, kw_only=True):
    """The workers of some functions; a resident pool is the gateway's own process."""

    name: str
    functions: tuple[str, ...]
    resident: bool
    max_workers: int
    concurrency: int
    busy: int
    queued: int
    trouble: str | None
    workers: tuple[WorkerView, ...]


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. `queued` deliveries wait or are under way; None while the broker or its database is away."""

    running: bool
    ready: bool
    url: str
    data: str
    since: float
    isolated: bool
    database: str
    broker: str  # ok | away
    queued: int | None
    dead_letters: int | None
    memory_bytes: int
    processes: tuple[ProcessView, ...]
    pools: tuple[PoolView, ...]


def look(data: Path) -> Overview | None:
    """How the host of `data` stands; None when none runs."""
    host = hostfile.read(data)
    if host is None:
        return None
    said = _broker(host.broker_url)
    pools = tuple(_pool(pool) for pool in (said or {}).get("pools", ()))
    workers = {worker.pid for pool in pools for worker in pool.workers}
    processes = tuple(_process(running, workers) for running in _with_supervisor(host))
    subscriptions = (said or {}).get("subscriptions", ())
    return Overview(
        running=True,
        ready=host.ready,
        url=host.url,
        data=str(data),
        since=host.since,
        isolated=host.isolated,
        database=host.database,
        broker="ok" if said else "away",
        queued=_total(subscriptions, "waiting", "retrying") if said else None,
        dead_letters=_total(subscriptions, "dead_letters") if said else None,
        memory_bytes=sum(p.memory_bytes for p in processes) + sum(w.memory_bytes for pool in pools for w in pool.workers),
        processes=processes,
        pools=pools,
    )


def _with_supervisor(host: hostfile.HostFile) -> tuple[hostfile.Running, ...]:
    return (hostfile.Running(name="supervisor", pid=host.supervisor, since=host.since), *host.processes)


def _process(running: hostfile.Running, workers: Set[int]) -> ProcessView:
    alone = running.name == "supervisor"  # everything else is its child, and listed
    memory = memory_of(running.pid, without=workers, children=not alone)
    return ProcessView(name=running.name, pid=running.pid, since=running.since, restarts=running.restarts, memory_bytes=memory)


def _pool(pool: dict[str, Any]) -> PoolView:
    workers = tuple(
        WorkerView(
            pid=worker["pid"],
            state=worker["state"],
            busy=worker["busy"],
            served=worker["served"],
            idle_seconds=worker["idle_seconds"],
            memory_bytes=memory_of(worker["pid"]),
        )
        for worker in pool["workers"]
    )
    plain = {name: pool[name] for name in ("name", "max_workers", "concurrency", "busy", "queued", "trouble")}
    return PoolView(functions=tuple(pool["functions"]), resident=pool["url"] is not None, workers=workers, **plain)


def _broker(url: str) -> dict[str, Any] | None:
    """What the broker says of itself; None when it says nothing."""
    try:
        answer = urllib3.PoolManager(retries=False).request("GET", f"{url}/status", timeout=BROKER_SECONDS)
        return msgspec.json.decode(answer.data, type=dict[str, Any]) if answer.status == 200 else None
    except (urllib3.exceptions.HTTPError, OSError, msgspec.DecodeError):
        return None


def _total(subscriptions: Any, *names: str) -> int | None:
    counts = [subscription[name] for subscription in subscriptions for name in names]
    return None if None in counts else sum(counts)


def memory_of(pid: int, *, without: Set[int] = frozenset(), children: bool = True) -> int:
    """Bytes of a process and of those it started, except `without` and what those started; 0 when it is gone."""
    try:
        process = psutil.Process(pid)
        below = process.children() if children else []
    except psutil.NoSuchProcess:
        return 0
    return _own_memory(process) + sum(memory_of(child.pid, without=without) for child in below if child.pid not in without)


def _own_memory(process: psutil.Process) -> int:
    """Proportional memory: pages that processes share are counted once in all. Where the system knows no such number,
    what the process has for itself."""
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", 0) or full.uss)
    except psutil.NoSuchProcess:
        return 0
    except psutil.AccessDenied:  # somebody else's process: what everybody may know
        return int(process.memory_info().rss)

"""What the embedded host has to run, as plain data: written by `auricle up` to `DIR/run/plan.json`, read by its children.

The children (broker, workers' pool) never import a room: the plan tells them all they need, so they stay small.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import msgspec


class Backoff(StrEnum):
    """How the wait grows between tries; the words of Knative's delivery spec."""

    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One Trigger's complete delivery. Seconds; `retry` counts tries after the first one."""

    retry: int = 5
    backoff: Backoff = Backoff.EXPONENTIAL
    delay: float = 1.0
    timeout: float = 60.0
    dead_letter: str | None = None  # the subscription that gets what could not be delivered


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One Trigger: which events (exact attributes, all of them) reach which function, and how many at once."""

    name: str
    filter: dict[str, str]
    pool: str
    path: str  # `/events/<function>`
    parallelism: int = 1
    delivery: Delivery = Delivery()


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Processes that serve some functions. A resident one is there already, at `url`; others are started by need.

    `command` is an argument vector in which the environment variable PORT says where to listen; ready when
    `GET /readyz` answers 200. `max_workers` × `concurrency` bounds the requests under way.
    """

    name: str
    functions: tuple[str, ...]
    url: str | None = None
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    max_workers: int = 1
    concurrency: int = 1
    idle_seconds: float = 60.0
    ready_seconds: float = 120.0


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """A PingSource: every `minutes` an event of type `dev.knative.sources.ping` with `data` is published."""

    name: str
    minutes: int
    data: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. Ports are on 127.0.0.1; `broker_path` is `/<namespace>/<broker>` as on Knative."""

    data: Path
    database_url: str
    broker_port: int
    broker_path: str = "/auricle/default"
    gateway_port: int
    subscriptions: tuple[Subscription, ...]
    pools: tuple[Pool, ...]
    timers: tuple[Timer, ...] = ()
    routes: dict[str, str] = {}  # with --isolate: path template → pool; else empty (the gateway serves all itself)


def read(path: Path) -> Plan:
    """The plan in `path`."""
    return msgspec.json.decode(path.read_bytes(), type=Plan, dec_hook=_decode)


def write(path: Path, plan: Plan) -> None:
    """Replace `path` by `plan`, readable by the owner alone (the database URL is a secret)."""
    partial = path.with_suffix(".new")
    partial.touch(mode=0o600)
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(plan, enc_hook=str), indent=2))
    partial.replace(path)


def _decode(kind: type, value: object) -> object:
    return kind(value)

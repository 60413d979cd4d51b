"""What an overlay costs: pods, memory, GPUs and database connections, asleep and at full scale, the broker's own included.

At rest a pod counts with what it requests, at full scale with what it may take. What no object states (queue-proxy, the
broker's processes) counts with what was measured; the constants say where.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from auricle.deploy.lint.facts import Facts
from auricle.deploy.lint.gpu import gpus
from auricle.deploy.lint.places import Place, number, quantity
from auricle.deploy.lint.scaling import MAX, MIN
from auricle.deploy.lint.world import BROKER_CLASS, RABBITMQ, Container, Pod, World

MIB = 2**20
QUEUE_PROXY_MIB = 25
"""Resident memory of Knative's own container beside each function: 23 to 25, measured on Knative 1.23 after few requests."""
RABBITMQ_SERVER_MIB = 147
"""Measured on one RabbitMQ 3.10 server with 26 quorum queues after bursts of 3000 events."""
DISPATCHER_MIB = 51
"""One process per Trigger, one more per Trigger with its own dead letter sink, one per Broker with one: measured on
eventing-rabbitmq 1.21, 38 for the process and 13 for its containerd shim (24 processes took 935)."""
INGRESS_MIB = 45
"""The door of each RabbitMQ Broker, measured on eventing-rabbitmq 1.21 (39 to 46)."""
RABBITMQ_OPERATORS_MIB = 210
"""Once per cluster: the cluster and topology operators (94) and the broker controller and its webhook (116), measured idle."""
DATABASE_VARIABLES = ("DATABASE_URL", "OWNER_DATABASE_URL")
POSTGRES_DEFAULTS = {"max_connections": 100, "superuser_reserved_connections": 3, "reserved_connections": 0}
"""PostgreSQL's own defaults (its documentation, Connections and Authentication)."""
POOLER_DEFAULTS = {"max_client_conn": 100, "default_pool_size": 20, "reserve_pool_size": 0, "max_db_connections": 0}
"""PgBouncer's own defaults (its documentation, Connection limits)."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one object costs. Memory in MiB, connections to the database at full scale."""

    object: str
    pods_at_rest: int = 0
    pods_at_full: int = 0
    memory_at_rest: float = 0
    memory_at_full: float = 0
    connections: int = 0
    gpus: int = 0
    unbounded: bool = False
    """No largest scale is stated: it counts once, and the sums are the least there can be."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """How many connections somebody accepts, and how many are wanted of them at full scale."""

    place: Place
    setting: str
    allowed: int
    wanted: int
    remedy: str


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """The costs of one overlay."""

    overlay: str
    rows: tuple[Row, ...]
    limits: tuple[Limit, ...]

    @property
    def total(self) -> Row:
        """The sums."""
        summed = {name: sum(getattr(row, name) for row in self.rows) for name in Row.__struct_fields__[1:-1]}
        return Row(object="all", unbounded=any(row.unbounded for row in self.rows), **summed)

    def lines(self) -> list[tuple[str, ...]]:
        """The table's cells: a heading, a line per object, the sums."""
        return [HEADING, *(_cells(row) for row in self.rows), _cells(self.total)]

    def table(self) -> str:
        """The whole budget for a terminal, as text."""
        lines = self.lines()
        widths = [max(len(line[column]) for line in lines) for column in range(len(HEADING))]
        shown = [
            "  ".join(
                cell.ljust(w) if column == 0 else cell.rjust(w)
                for column, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        shown.insert(-1, "  ".join("-" * w for w in widths))
        told = [
            f"{limit.place.label}: {limit.wanted} of {limit.allowed} connections ({limit.setting})" for limit in self.limits
        ]
        missing = "The database is not among these objects: compare the connections with its limit yourself."
        notes = [*(told or [missing]), *([UNBOUNDED] if self.total.unbounded else [])]
        return "\n".join([f"Overlay {self.overlay}: pods, MiB and connections", *shown, "", *notes, *NOTES]) + "\n"


HEADING = ("object", "pods asleep", "pods at most", "MiB asleep", "MiB at most", "connections", "GPUs")
UNBOUNDED = "Marked ∞: no max-scale is set, so the sums are the least it can take."
NOTES = (
    "Asleep counts requests, at most counts limits; a rolling update doubles a function's pods for a moment.",
    f"Measured: queue-proxy {QUEUE_PROXY_MIB} MiB a pod; RabbitMQ {RABBITMQ_SERVER_MIB} MiB a server, {DISPATCHER_MIB} MiB "
    f"a dispatcher, {INGRESS_MIB} MiB a Broker's ingress; its operators {RABBITMQ_OPERATORS_MIB} MiB more, once per cluster.",
)


def budget(objects: Sequence[Mapping[str, Any]], facts: Facts) -> Budget:
    """What `objects` (the output of `kubectl kustomize`) cost. Pure."""
    world = World(objects, facts)
    rows = sorted([*_pods(world), *_rabbitmq(world)], key=lambda row: row.object)
    return Budget(overlay=facts.overlay, rows=tuple(rows), limits=tuple(limits(world)))


def limits(world: World) -> Iterator[Limit]:
    """Whoever accepts connections, from the clients inwards: the pooler, then the database."""
    rows = [(pod, _row(pod, world)) for pod in world.pods]
    clients = sum(row.connections for pod, row in rows if not pod.owner.kind.endswith("Job"))
    jobs = sum(row.connections for pod, row in rows if pod.owner.kind.endswith("Job"))
    pooler, database = _server(world, "pgbouncer"), _server(world, "postgres")
    if pooler:
        said = {name: _declared(world, pooler, name, default) for name, default in POOLER_DEFAULTS.items()}
        each = said["max_db_connections"] or said["default_pool_size"] + said["reserve_pool_size"]
        yield Limit(
            place=pooler.owner,
            setting="max_client_conn",
            allowed=said["max_client_conn"] * _scale(pooler, world)[1],
            wanted=clients + jobs,
            remedy="Raise max_client_conn of pgbouncer, or lower max-scale or DATABASE_POOL",
        )
        clients = each * _scale(pooler, world)[1]
    if database:
        told = {name: _declared(world, database, name, default) for name, default in POSTGRES_DEFAULTS.items()}
        yield Limit(
            place=database.owner,
            setting="max_connections less those reserved",
            allowed=told["max_connections"] - told["superuser_reserved_connections"] - told["reserved_connections"],
            wanted=clients + jobs,  # jobs that alter the schema go round the pooler
            remedy="Raise max_connections of postgres, or lower pgbouncer's default_pool_size"
            if pooler
            else "Put pgbouncer in front (components/pgbouncer), raise max_connections, or lower max-scale or DATABASE_POOL",
        )


def _pods(world: World) -> Iterator[Row]:
    for pod in world.pods:
        yield _row(pod, world)


def _row(pod: Pod, world: World) -> Row:
    rest, full, unbounded = _scale(pod, world)
    beside = QUEUE_PROXY_MIB if pod.knative else 0
    return Row(
        object=pod.owner.label,
        pods_at_rest=rest,
        pods_at_full=full,
        memory_at_rest=rest * (_memory(pod, "requests", "limits") + beside),
        memory_at_full=full * (_memory(pod, "limits", "requests") + beside),
        connections=full * sum(_pool(container, world) for container in pod.containers(init=False)),
        gpus=full * gpus(pod),
        unbounded=unbounded,
    )


def _scale(pod: Pod, world: World) -> tuple[int, int, bool]:
    """Pods at rest and at full scale, and whether the latter is nowhere bounded."""
    if pod.knative:
        settings = world.facts.knative.get("config-autoscaler", {})
        most = pod.annotation(MAX).number or number(settings.get("max-scale")) or number(settings.get("max-scale-limit")) or 0
        least = int(pod.annotation(MIN).number or 0)
        return least, int(most) or max(1, least), not most
    if pod.owner.kind in ("Job", "CronJob", "JobSink"):
        return 0, int((pod.owner / "spec" / "parallelism").number or 1), False
    replicas = (pod.owner / "spec" / "replicas").number
    there = 1 if replicas is None else int(replicas)
    for scaler in world.of("HorizontalPodAutoscaler", "autoscaling"):
        target = scaler / "spec" / "scaleTargetRef"
        if ((target / "kind").text, (target / "name").text, scaler.namespace) == (
            pod.owner.kind,
            pod.owner.name,
            pod.owner.namespace,
        ):
            return (
                int((scaler / "spec" / "minReplicas").number or 1),
                int((scaler / "spec" / "maxReplicas").number or there),
                False,
            )
    return there, there, False


def _memory(pod: Pod, field: str, otherwise: str) -> float:
    """One pod's memory in MiB: its containers together."""
    total = 0.0
    for container in pod.containers(init=False):
        resources = container.place / "resources"
        stated = resources / field / "memory" if (resources / field / "memory").present else resources / otherwise / "memory"
        total += (quantity(stated.value) or 0) / MIB
    return total


def _pool(container: Container, world: World) -> int:
    """Connections that one container may hold: its pool, and the one of limits and ended sign-ins, in each of its processes."""
    named = {(variable / "name").text for variable in (container.place / "env").each()} | set(world.environment(container))
    if not any(name in named for name in DATABASE_VARIABLES):
        return 0
    processes = number(world.environment(container).get("WORKERS")) or 1
    beside = 1 if "EPHEMERAL_KEY" in named and not _has_redis(container, world) else 0
    return int(((number(world.setting(container, "DATABASE_POOL")) or 1) + beside) * processes)


def _has_redis(container: Container, world: World) -> bool:
    """Whether limits and ended sign-ins are remembered in Redis, and not by a connection of their own beside the pool."""
    for variable in (container.place / "env").each():
        reference = variable / "valueFrom" / "secretKeyRef"
        if (variable / "name").text == "REDIS_URL" and reference.present:
            made = world.named("Secret", (reference / "name").text, container.pod.owner.namespace)
            return made is not None or (reference / "optional").value is not True
    return bool(world.environment(container).get("REDIS_URL"))


def _rabbitmq(world: World) -> Iterator[Row]:
    """The broker's own: servers, a door per Broker, a dispatcher per Trigger and per dead letter sink."""
    beneath = [place for item in world.facts.platform if (place := Place.top(item)).kind == "RabbitmqCluster"]
    for cluster in (*world.of("RabbitmqCluster", "rabbitmq.com"), *beneath):
        servers = int((cluster / "spec" / "replicas").number or 1)
        resources = cluster / "spec" / "resources"
        asked, most = (quantity((resources / field / "memory").value) for field in ("requests", "limits"))
        yield _steady(cluster.label, servers, (asked or most or RABBITMQ_SERVER_MIB * MIB) / MIB, (most or asked or 0) / MIB)
    for broker in world.brokers:
        if broker.annotation(BROKER_CLASS).text == RABBITMQ:
            heard = [trigger for trigger in world.triggers if world.broker_of(trigger) is broker]
            sinks = [place for place in (broker, *heard) if (place / "spec" / "delivery" / "deadLetterSink").mapping]
            yield _steady(f"{broker.label} ingress", 1, INGRESS_MIB)
            yield _steady(f"{broker.label} dispatchers", len(heard) + len(sinks), DISPATCHER_MIB)


def _steady(name: str, pods: int, each: float, most: float = 0) -> Row:
    """Something that does not scale."""
    return Row(
        object=name, pods_at_rest=pods, pods_at_full=pods, memory_at_rest=pods * each, memory_at_full=pods * (most or each)
    )


def _server(world: World, name: str) -> Pod | None:
    return next((pod for pod in world.pods if pod.owner.name == name and pod.owner.kind in ("Deployment", "StatefulSet")), None)


def _declared(world: World, pod: Pod, name: str, default: int) -> int:
    """A server's setting, wherever it is written: arguments, variables, or the ConfigMaps that it mounts."""
    texts = [str(word) for c in pod.containers() for field in ("args", "command") for word in (c.place / field).words]
    texts += [f"{key.lower()}={value}" for c in pod.containers() for key, value in world.environment(c).items()]
    for volume in (pod.spec / "volumes").each():
        for source in (volume, *(volume / "projected" / "sources").each()):
            config = world.named("ConfigMap", (source / "configMap" / "name").text, pod.owner.namespace)
            texts += [str(text) for text in (config / "data").mapping.values()] if config else []
    pattern = re.compile(rf"(?:^|[\s_]|-c|--){name}\s*[=:]\s*['\"]?(\d+)", re.MULTILINE)
    found = [match for text in texts if (match := pattern.search(text))]
    return int(found[0][1]) if found else default


def _cells(row: Row) -> tuple[str, ...]:
    most = "∞" if row.unbounded and row.object != "all" else f"{row.pods_at_full}"
    return (
        row.object,
        f"{row.pods_at_rest}",
        most,
        f"{row.memory_at_rest:.0f}",
        f"{row.memory_at_full:.0f}",
        f"{row.connections}",
        f"{row.gpus}",
    )

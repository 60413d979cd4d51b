"""What an overlay costs is counted from its objects."""

from __future__ import annotations

import pytest

from auricle.deploy.budget import (
    DISPATCHER_MIB,
    INGRESS_MIB,
    QUEUE_PROXY_MIB,
    RABBITMQ_SERVER_MIB,
    Budget,
    Row,
    budget,
)
from unit.deploy_lint.an_overlay import ANNOTATIONS, CONTAINER, SCALE, Change, Overlay, add, clean, drop, facts, put, remove

RUNS = "Service/runs"


def counted(*changes: Change) -> tuple[Budget, dict[str, Row]]:
    """The budget of the clean overlay after `changes`, and its rows by object."""
    overlay: Overlay = clean()
    for change in changes:
        change(overlay)
    made = budget(overlay.objects, overlay.facts)
    return made, {row.object: row for row in made.rows}


def test_a_function_costs_nothing_asleep_and_its_limits_at_full_scale() -> None:
    _, rows = counted()
    row = rows[RUNS]
    assert (row.pods_at_rest, row.pods_at_full) == (0, 4)
    assert (row.memory_at_rest, row.memory_at_full) == (0, 4 * (256 + QUEUE_PROXY_MIB))


def test_a_warm_function_costs_its_requests_asleep() -> None:
    _, rows = counted(put(RUNS, f"{ANNOTATIONS} {SCALE}/min-scale", "2"))
    assert rows[RUNS].memory_at_rest == 2 * (96 + QUEUE_PROXY_MIB)


def test_connections_are_pods_times_pool_for_whoever_holds_the_database() -> None:
    _, rows = counted(
        put("ConfigMap/auricle-settings", "data DATABASE_POOL", "3"),
        put(RUNS, f"{CONTAINER} env +", {"name": "WORKERS", "value": "2"}),
    )
    assert rows[RUNS].connections == 4 * (3 + 1) * 2  # one beside the pool, for limits and ended sign-ins
    assert rows["Service/files"].connections == 4 * (3 + 1)
    assert rows["Service/advance"].connections == 4 * 3
    assert rows["Service/transcribe"].connections == 0
    assert rows["Deployment/gateway"].connections == 0


def test_with_a_redis_nobody_holds_a_connection_beside_the_pool() -> None:
    without, there = counted()[1], {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "auricle-redis"}}
    _, rows = counted(add(there))
    assert (without[RUNS].connections, rows[RUNS].connections) == (4 * 3, 4 * 2)


def test_gpus_are_counted_at_full_scale() -> None:
    made, rows = counted()
    assert rows["Service/transcribe"].gpus == 4
    assert made.total.gpus == 4


def test_rabbitmq_costs_a_server_a_door_and_a_dispatcher_per_trigger_and_per_sink() -> None:
    made, rows = counted()
    triggers = sum(1 for o in clean().objects if o["kind"] == "Trigger")
    assert triggers == 9
    assert rows["Broker/default dispatchers"].pods_at_rest == 2 * triggers + 1
    assert rows["Broker/default dispatchers"].memory_at_rest == (2 * triggers + 1) * DISPATCHER_MIB
    assert rows["Broker/default ingress"].memory_at_rest == INGRESS_MIB
    assert rows["RabbitmqCluster/rabbit"].memory_at_full == RABBITMQ_SERVER_MIB
    _, fewer = counted(drop("Trigger/erase", "spec delivery deadLetterSink"))
    assert fewer["Broker/default dispatchers"].pods_at_rest == 2 * triggers
    assert made.total.pods_at_rest == 2 + 1 + 1 + (2 * triggers + 1) + 1 + 1  # gateway, postgres, pgbouncer, broker


def test_a_rabbitmq_of_the_cluster_beneath_is_counted_too() -> None:
    _, within = counted()
    overlay = clean()
    beneath = overlay.one("RabbitmqCluster/rabbit")
    beneath["spec"]["replicas"] = 3
    overlay.objects.remove(beneath)
    facts(platform=(beneath,))(overlay)
    rows = {row.object: row for row in budget(overlay.objects, overlay.facts).rows}
    assert rows["RabbitmqCluster/rabbit"].memory_at_rest == 3 * within["RabbitmqCluster/rabbit"].memory_at_rest


def test_a_broker_of_another_class_has_no_dispatchers() -> None:
    _, rows = counted(put("Broker/default", "metadata annotations eventing.knative.dev/broker.class", "Kafka"))
    assert not [name for name in rows if name.startswith("Broker/")]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (f"{CONTAINER} args", ["-c", "max_connections=250"]),
        (f"{CONTAINER} args", ["-cmax_connections=250"]),
        (f"{CONTAINER} env", [{"name": "POSTGRES_MAX_CONNECTIONS", "value": "250"}]),
    ],
)
def test_the_databases_limit_is_read_wherever_it_is_written(place: str, value: object) -> None:
    made, _ = counted(drop("StatefulSet/postgres", f"{CONTAINER} args"), put("StatefulSet/postgres", place, value))
    assert made.limits[-1].allowed == 250 - 3


def test_behind_a_pooler_the_database_sees_its_pool_and_the_jobs() -> None:
    made, _ = counted()
    pooler, database = made.limits
    jobs = 2 * 2
    functions = sum(row.connections for row in made.rows) - jobs
    assert (pooler.setting, pooler.allowed, pooler.wanted) == ("max_client_conn", 500, functions + jobs)
    assert (database.allowed, database.wanted) == (97, 40 + jobs)


def test_without_a_pooler_the_database_sees_everybody() -> None:
    made, _ = counted(remove("Deployment/pgbouncer"))
    (database,) = made.limits
    assert database.wanted == made.total.connections


def test_an_autoscaled_server_counts_with_its_largest_size() -> None:
    overlay = clean()
    target = {"scaleTargetRef": {"kind": "Deployment", "name": "gateway"}, "minReplicas": 2, "maxReplicas": 6}
    meta = {"name": "gateway", "namespace": "auricle"}
    overlay.objects.append(
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta, "spec": target}
    )
    rows = {row.object: row for row in budget(overlay.objects, overlay.facts).rows}
    assert (rows["Deployment/gateway"].pods_at_rest, rows["Deployment/gateway"].pods_at_full) == (2, 6)


def test_the_table_names_every_object_the_sums_and_the_limits() -> None:
    made, _ = counted(drop(RUNS, f"{ANNOTATIONS} {SCALE}/max-scale"))
    text = made.table()
    lines = text.splitlines()
    for row in made.rows:
        assert any(line.startswith(row.object + " ") for line in lines)
    (runs,) = [line for line in lines if line.startswith(RUNS)]
    assert "∞" in runs
    assert "no max-scale" in text
    assert "StatefulSet/postgres: 44 of 97 connections" in text
    (sums,) = [line.split() for line in lines if line.startswith("all ")]
    assert sums[1:3] == [str(made.total.pods_at_rest), str(made.total.pods_at_full)]


def test_an_overlay_without_its_database_says_so() -> None:
    made, _ = counted(remove("Deployment/pgbouncer", "StatefulSet/postgres"))
    assert "not among these objects" in made.table()

"""Faults of events, schedules, and of objects that speak of each other."""

from __future__ import annotations

import copy

import msgspec

from auricle.contract.choices import Image
from auricle.deploy.catalogue import catalogue
from auricle.deploy.lint import EventKind
from auricle.deploy.lint.world import BROKER_CLASS
from auricle.deploy.render import Manifest, service_name
from unit.deploy_lint.an_overlay import (
    CONTAINER,
    FEATURES,
    Change,
    Overlay,
    account,
    add,
    address,
    clean,
    drop,
    entry,
    named,
    policy,
    put,
    remove,
    settings,
    spaces,
)
from unit.deploy_lint.planted import Planted

RUNS, HEARING, DIARIZE = "Service/runs", "Trigger/transcribe", "Trigger/diarize"
PARALLELISM = "rabbitmq.eventing.knative.dev/parallelism"
RELEASED = "auricle.speech.chunk-released.v1"
SINK = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "transcribe"}, "uri": "/events/transcribe"}
NEXT, AGAIN = "auricle.speech.heard-once.v1", "auricle.speech.heard-twice.v1"


def kinds(*more: EventKind) -> Change:
    """More event types in the code."""

    def change(overlay: Overlay) -> None:
        overlay.facts = msgspec.structs.replace(overlay.facts, kinds=(*overlay.facts.kinds, *more))

    return change


def second(label: str, **spec: object) -> Change:
    """A copy of a Trigger under another name."""

    def change(overlay: Overlay) -> None:
        copied = copy.deepcopy(overlay.one(label))
        copied["metadata"]["name"] = "second"
        copied["spec"] |= spec
        overlay.objects.append(copied)

    return change


def event_type(name: str) -> dict[str, object]:
    """An EventType document."""
    return {
        "apiVersion": "eventing.knative.dev/v1beta3",
        "kind": "EventType",
        "metadata": {"name": name.removeprefix("auricle.")},
        "spec": {"attributes": [{"name": "type", "required": True, "value": name}]},
    }


DELIVERY = [
    Planted("broker-class-unsaid", "Broker/default", "RabbitMQBroker", drop("Broker/default", "metadata annotations")),
    Planted(
        "broker-class-unsaid",
        "Broker/default",
        "RabbitMQBroker",
        put("Broker/default", f"metadata annotations {BROKER_CLASS}", "Rabbit"),
    ),
    Planted(
        "broker-without-dead-letters",
        "Broker/default",
        "deadLetterSink",
        drop("Broker/default", "spec delivery deadLetterSink"),
    ),
    Planted("trigger-without-dead-letters", HEARING, "deadLetterSink", drop(HEARING, "spec delivery deadLetterSink")),
    Planted("incomplete-delivery", HEARING, "backoffDelay: PT2S", drop(HEARING, "spec delivery backoffDelay")),
    Planted("incomplete-delivery", "Broker/default", "retry: 5", drop("Broker/default", "spec delivery retry")),
    Planted("delivery-out-of-range", HEARING, "exponential", put(HEARING, "spec delivery backoffPolicy", "random")),
    Planted("delivery-out-of-range", HEARING, "whole number", put(HEARING, "spec delivery retry", -1)),
    Planted("duration-not-iso", HEARING, "Write it as PT0.5S", put(HEARING, "spec delivery backoffDelay", "2s")),
    Planted(
        "missing-dead-letter-sink",
        HEARING,
        "Send them to the Service dead-letter",
        put(HEARING, "spec delivery deadLetterSink ref name", "dlq"),
    ),
    Planted(
        "missing-dead-letter-sink",
        HEARING,
        "uri /events/dead_letter",
        put(HEARING, "spec delivery deadLetterSink ref name", "runs"),
    ),
    Planted(
        "dead-letters-of-dead-letters",
        HEARING,
        "Send them to dead-letter",
        put(HEARING, "spec delivery deadLetterSink", SINK),
        also={"missing-dead-letter-sink"},
    ),
    Planted(
        "dead-letters-of-dead-letters",
        "Trigger/second",
        "Remove the Trigger",
        second(HEARING, subscriber={"ref": {**SINK["ref"], "name": "dead-letter"}, "uri": "/events/dead_letter"}),
    ),
    Planted("ignored-filters", HEARING, "spec.filter.attributes", put(HEARING, "spec filters", [{"prefix": {"type": "a"}}])),
    Planted("hears-everything", HEARING, "spec.filter.attributes.type", drop(HEARING, "spec filter")),
    Planted(
        "filter-attribute-name",
        HEARING,
        "'runid'",
        put(HEARING, "spec filter attributes runId", "7"),
        also={"never-produced", "no-handler-for-filter"},
    ),
    Planted("parallelism", HEARING, f'Set {PARALLELISM}: "8"', drop(HEARING, f"metadata annotations {PARALLELISM}")),
    Planted("parallelism", HEARING, "from 1 to 1000", put(HEARING, f"metadata annotations {PARALLELISM}", "many")),
    Planted("unknown-broker", HEARING, "Name one of those there are (default)", put(HEARING, "spec broker", "main")),
]

GRAPH = [
    Planted(
        "missing-subscriber",
        HEARING,
        "Name an existing Service",
        put(HEARING, "spec subscriber ref name", "writer"),
        also={"function-without-trigger"},
        also_at={"Service/transcribe"},
    ),
    Planted(
        "subscriber-without-function",
        HEARING,
        "uri: /events/<function>",
        put(HEARING, "spec subscriber uri", "/events/write"),
        also={"function-without-trigger"},
        also_at={"Service/transcribe"},
    ),
    Planted("no-handler-for-filter", HEARING, "work: transcribe", put(HEARING, "spec filter attributes work", "listen")),
    Planted("triggered-twice", "Trigger/second", "Remove one", second(HEARING)),
    Planted("function-without-trigger", "Service/transcribe", "uri /events/transcribe", remove(HEARING)),
    Planted(
        "never-produced",
        HEARING,
        "Correct the type",
        put(HEARING, "spec filter attributes", {"type": "auricle.speech.chunk-relaesed.v1", "work": "transcribe"}),
        also={"no-handler-for-filter"},
    ),
    Planted(
        "never-produced",
        HEARING,
        "Filter by those it carries",
        put(HEARING, "spec filter attributes", {"type": RELEASED, "work": "transcribe", "colour": "red"}),
        also={"no-handler-for-filter"},
    ),
    Planted(
        "never-heard",
        "Service/cluster",
        "type: auricle.speech.heard-once.v1",
        kinds(EventKind(type=NEXT)),
        add(event_type(NEXT)),
        entry("cluster", replies=(NEXT,)),
    ),
    Planted("answers-itself", HEARING, "does not answer with", entry("transcribe", replies=(RELEASED,))),
    Planted(
        "reply-cycle",
        DIARIZE,
        "Let one of them hear another type",
        kinds(EventKind(type=NEXT), EventKind(type=AGAIN)),
        add(event_type(NEXT), event_type(AGAIN)),
        entry("transcribe", filter={"type": NEXT}, hears=(NEXT,), replies=(AGAIN,)),
        entry("diarize", filter={"type": AGAIN}, hears=(AGAIN,), replies=(NEXT,)),
        put(HEARING, "spec filter attributes", {"type": NEXT}),
        put(DIARIZE, "spec filter attributes", {"type": AGAIN}),
    ),
    Planted("undocumented-type", "Service/cluster", "Add an EventType", remove("EventType/speech.voices-released.v1")),
    Planted("unknown-type", "EventType/runs.dreamt.v1", "Remove it", add(event_type("auricle.runs.dreamt.v1"))),
]

SCHEDULES = [
    Planted("bad-schedule", "CronJob/backup", "minute hour day", put("CronJob/backup", "spec schedule", "61 * * * *")),
    Planted(
        "bad-schedule", "PingSource/every-hour", "minute hour day", put("PingSource/every-hour", "spec schedule", "hourly")
    ),
    Planted(
        "fires-too-often",
        "PingSource/every-hour",
        "every 15 minutes at most",
        put("PingSource/every-hour", "spec schedule", "*/5 * * * *"),
        also={"another-pace"},
    ),
    Planted(
        "missing-ping-sink",
        "PingSource/every-hour",
        "Service timers",
        put("PingSource/every-hour", "spec sink ref name", "clock"),
    ),
    Planted(
        "unknown-timer",
        "PingSource/every-15-minutes",
        "redeliver",
        put(
            "PingSource/every-15-minutes",
            "spec data",
            '{"timers": ["publish_audit", "redeliver", "sweep_ephemeral", "sweep_runs", "sweep"]}',
        ),
    ),
    Planted("another-pace", "PingSource/every-hour", "render", put("PingSource/every-hour", "spec schedule", "7 */2 * * *")),
    Planted("timer-never-fired", "Service/timers", "every 1440 minutes", remove("PingSource/every-day")),
    Planted(
        "tick-without-ticket",
        "PingSource/every-day",
        "TIMER_TOKEN",
        put("PingSource/every-day", "spec ceOverrides extensions ticket", "unset"),
    ),
]


def disruption(name: str, **spec: object) -> dict[str, object]:
    """A PodDisruptionBudget."""
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}


NOBODY = {"matchLabels": {"app.kubernetes.io/name": "nobody"}}
EVERY = {"matchLabels": {"app.kubernetes.io/name": "gateway"}}
REFERENCES = [
    Planted(
        "dangling-reference", RUNS, "Add it to the overlay", put(RUNS, f"{CONTAINER} envFrom 0 configMapRef name", "settings")
    ),
    Planted("dangling-reference", "Deployment/gateway", "correct the name", remove("ServiceAccount/gateway")),
    Planted(
        "dangling-reference",
        "Deployment/gateway",
        "made outside",
        put("Deployment/gateway", f"{CONTAINER} envFrom", [{"secretRef": {"name": "tls", "optional": False}}]),
        also={"whole-secret"},
    ),
    Planted(
        "missing-key",
        "Deployment/gateway",
        "Add LEVEL",
        put(
            "Deployment/gateway",
            f"{CONTAINER} env",
            [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "auricle-settings", "key": "LEVEL"}}}],
        ),
    ),
    Planted("made-twice", "ServiceAccount/runs", "all but one", add(account("runs"))),
    Planted("policy-selects-nothing", "NetworkPolicy/nobody", "podSelector", add(policy("nobody", NOBODY))),
    Planted("no-default-deny", "Service/access", "policyTypes", remove("NetworkPolicy/default-deny")),
    Planted("no-default-deny", "Service/access", "policyTypes", put("NetworkPolicy/default-deny", "spec egress", [{}])),
    Planted(
        "budget-selects-nothing",
        "PodDisruptionBudget/nobody",
        "Correct spec.selector",
        add(disruption("nobody", maxUnavailable=1, selector=NOBODY)),
    ),
    Planted(
        "budget-blocks-all",
        "PodDisruptionBudget/all",
        "maxUnavailable: 1",
        add(disruption("all", minAvailable=2, selector=EVERY)),
    ),
    Planted(
        "budget-blocks-all",
        "PodDisruptionBudget/all",
        "maxUnavailable: 1",
        add(disruption("all", maxUnavailable=0, selector=EVERY)),
    ),
    Planted(
        "budget-blocks-all",
        "PodDisruptionBudget/all",
        "maxUnavailable: 1",
        add(disruption("all", minAvailable="100%", selector=EVERY)),
    ),
    Planted("service-selects-nothing", "Service/nobody", "Correct spec.selector", add(address("nobody", 80))),
    Planted(
        "service-port-nowhere", "Service/gateway", "Use one of main", put("Service/gateway", "spec ports 0 targetPort", "https")
    ),
    Planted(
        "selector-differs",
        "Deployment/gateway",
        "part of the template's labels",
        put("Deployment/gateway", "spec selector matchLabels", {"app": "gate"}),
    ),
    Planted(
        "too-many-connections",
        "Deployment/pgbouncer",
        "Raise max_client_conn",
        put("ConfigMap/pgbouncer", "data", {"pgbouncer.ini": "max_client_conn = 60\ndefault_pool_size = 40\n"}),
    ),
    Planted(
        "too-many-connections",
        "StatefulSet/postgres",
        "lower pgbouncer's default_pool_size",
        put("StatefulSet/postgres", f"{CONTAINER} args", ["-c", "max_connections=40"]),
    ),
    Planted(
        "too-many-connections",
        "StatefulSet/postgres",
        "Put pgbouncer in front",
        remove("Deployment/pgbouncer", "Service/pgbouncer"),
    ),
]


def core(kind: str, name: str, **more: object) -> Manifest:
    """An object of the core group."""
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **more}


def quota(**hard: str) -> Manifest:
    """A ResourceQuota; `__` in a name stands for a dot."""
    return core("ResourceQuota", "all", spec={"hard": {name.replace("__", "."): value for name, value in hard.items()}})


QUEUE_DEFAULTS = settings(
    "config-features",
    **{"queueproxy.resource_defaults": "enabled", **{f"kubernetes.podspec_{name}": "enabled" for name in FEATURES}},
)
SERVERS = {"Deployment/gateway", "Deployment/pgbouncer", "StatefulSet/postgres", "Job/migrate", "CronJob/backup"}
SERVICES = {f"Service/{o['metadata']['name']}" for o in clean().objects if o["apiVersion"] == "serving.knative.dev/v1"}
QUOTAS = [
    Planted("unguarded-namespace", "Namespace/auricle", "enforce: restricted", add(core("Namespace", "auricle"))),
    Planted(
        "refused-by-quota",
        RUNS,
        "Set resources.limits.cpu",
        add(quota(limits__cpu="8", pods="20")),
        QUEUE_DEFAULTS,
        also_at=(SERVERS | SERVICES) - {RUNS},
    ),
    Planted(
        "sidecar-refused-by-quota",
        RUNS,
        '{"queueproxy.resource-defaults": "enabled"}',
        add(quota(requests__memory="4Gi")),
        also_at=SERVICES - {RUNS},
    ),
]
DATABASES = {f"Service/{service_name(f.name)}" for f in catalogue() if "database_url" in f.secrets}
PUBLISHING = {f"Service/{service_name(f.name)}" for f in catalogue() if "event_key" in f.secrets or f.image is Image.SPEECH}
PEERS = "spec ingress 0 from"
NETWORK = [
    Planted(
        "cut-off",
        RUNS,
        "allows egress to Deployment/pgbouncer, port 6432",
        drop("NetworkPolicy/functions", "spec egress 0"),
        also_at=DATABASES - {RUNS},
    ),
    Planted(
        "cut-off",
        RUNS,
        "allows ingress from Service/runs, port 6432",
        put("NetworkPolicy/database", f"{PEERS} 0", {"podSelector": named("runs-not")}),
        also_at=DATABASES - {RUNS},
    ),
    Planted(
        "cut-off",
        "Service/transcribe",
        "selects Service/transcribe and allows egress to the Broker's ingress, port 8080",
        drop("NetworkPolicy/functions", "spec egress 1"),
        also_at=PUBLISHING - {"Service/transcribe"},
    ),
    Planted(
        "cut-off",
        "Deployment/pgbouncer",
        "port 5432",
        put("NetworkPolicy/database", "spec egress 0 ports 0", {"port": 5000, "endPort": 5400}),
    ),
    Planted(
        "cut-off",
        RUNS,
        "allows ingress from Knative's activator, port 8012",
        put("NetworkPolicy/functions", PEERS, [spaces("kourier-system")]),
        also_at=SERVICES - {RUNS},
    ),
    Planted(
        "cut-off",
        RUNS,
        "allows egress to the cluster's DNS",
        put("NetworkPolicy/functions", "spec egress 2 ports 0", {"port": 53}),
        also_at=SERVICES - {RUNS},
    ),
    Planted(
        "cut-off",
        "Broker/default",
        "allows egress to RabbitMQ, port 5672",
        put("NetworkPolicy/broker", "spec egress 0 to 0", spaces("kourier-system")),
    ),
    Planted("cut-off", "Deployment/gateway", "allows egress to Knative's ingress", remove("NetworkPolicy/gateway")),
]
FAULTS = [*DELIVERY, *GRAPH, *SCHEDULES, *REFERENCES, *QUOTAS, *NETWORK]

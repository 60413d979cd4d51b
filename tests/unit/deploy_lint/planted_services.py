"""Faults of Knative Services: keys, scaling, timeouts, containers."""

from __future__ import annotations

from unit.deploy_lint.an_overlay import (
    ANNOTATIONS,
    CONTAINER,
    DIGEST,
    FEATURES,
    POD,
    SCALE,
    account,
    add,
    drop,
    facts,
    job,
    put,
    remove,
    settings,
)
from unit.deploy_lint.planted import Planted

RUNS, TRANSCRIBE, FILES = "Service/runs", "Service/transcribe", "Service/files"

KEYS = [
    Planted("unknown-annotation", RUNS, f"Write {SCALE}/min-scale", put(RUNS, f"{ANNOTATIONS} {SCALE}/min-scal", "1")),
    Planted(
        "misplaced-annotation",
        RUNS,
        "Move it to spec.template.metadata.annotations",
        put(RUNS, f"metadata annotations {SCALE}/max-scale", "3"),
    ),
    Planted(
        "misplaced-annotation",
        RUNS,
        "Make it a label",
        put(RUNS, "metadata annotations networking.knative.dev/visibility", "cluster-local"),
    ),
    Planted("misplaced-annotation", RUNS, "Make it an annotation", put(RUNS, f"metadata labels {SCALE}/window", "60s")),
    Planted(
        "annotation-not-text",
        RUNS,
        'Put it in quotes: "2"',
        put(RUNS, f"{ANNOTATIONS} {SCALE}/min-scale", 2),
    ),
    Planted(
        "public-service",
        RUNS,
        "networking.knative.dev/visibility: cluster-local",
        drop(RUNS, "metadata labels networking.knative.dev/visibility"),
    ),
    Planted("unknown-house-label", RUNS, "Write auricle.dev/scale", put(RUNS, "metadata labels auricle.dev/scales", "burst")),
]

SCALING = [
    Planted("annotation-out-of-range", RUNS, "from 6s to 1h", put(RUNS, f"{ANNOTATIONS} {SCALE}/window", "2s")),
    Planted(
        "annotation-out-of-range",
        RUNS,
        "such as 50m",
        put(RUNS, f"{ANNOTATIONS} queue.sidecar.serving.knative.dev/memory-resource-limit", "much"),
    ),
    Planted(
        "annotation-out-of-range", RUNS, "1 to 100", put(RUNS, f"{ANNOTATIONS} {SCALE}/target-utilization-percentage", "0")
    ),
    Planted("min-above-max", RUNS, "raise max-scale", put(RUNS, f"{ANNOTATIONS} {SCALE}/min-scale", "5")),
    Planted("initial-above-max", RUNS, "Lower initial-scale", put(RUNS, f"{ANNOTATIONS} {SCALE}/initial-scale", "9")),
    Planted("no-max-scale", RUNS, f"Set {SCALE}/max-scale", drop(RUNS, f"{ANNOTATIONS} {SCALE}/max-scale")),
    Planted(
        "max-scale-above-limit",
        FILES,
        "max-scale-limit",
        settings("config-autoscaler", allow_zero_initial_scale="true", max_scale_limit="6"),
        put(FILES, f"{ANNOTATIONS} {SCALE}/max-scale", "8"),
    ),
    Planted(
        "initial-scale-zero-not-allowed",
        TRANSCRIBE,
        'config-autoscaler, data: {allow-zero-initial-scale: "true"}',
        settings("config-autoscaler"),
    ),
    Planted("metric-of-another-class", RUNS, "Use concurrency", put(RUNS, f"{ANNOTATIONS} {SCALE}/metric", "cpu")),
    Planted(
        "half-used-pods",
        "Service/prepare",
        'target-utilization-percentage: "100"',
        drop("Service/prepare", f"{ANNOTATIONS} {SCALE}/target-utilization-percentage"),
    ),
    Planted("unlimited-concurrency", RUNS, "containerConcurrency", put(RUNS, f"{POD} containerConcurrency", 0)),
    Planted("too-few-threads", RUNS, "Set THREADS to 12", put(RUNS, f"{CONTAINER} env 1 value", "8")),
    Planted("target-above-concurrency", RUNS, "Lower the target", put(RUNS, f"{ANNOTATIONS} {SCALE}/target", "20")),
    Planted(
        "scale-label-differs",
        RUNS,
        "Label it auricle.dev/scale: interactive",
        put(RUNS, "metadata labels auricle.dev/scale", "gpu"),
    ),
]

TIMES = [
    Planted(
        "first-byte-after-the-end",
        RUNS,
        "Set responseStartTimeoutSeconds to timeoutSeconds",
        put(RUNS, f"{POD} responseStartTimeoutSeconds", 90),
    ),
    Planted("idle-after-the-end", RUNS, "Lower idleTimeoutSeconds", put(RUNS, f"{POD} idleTimeoutSeconds", 120)),
    Planted(
        "silent-work-cut-short",
        TRANSCRIBE,
        "responseStartTimeoutSeconds: 900",
        drop(TRANSCRIBE, f"{POD} responseStartTimeoutSeconds"),
    ),
    Planted(
        "timeout-above-the-clusters",
        "Service/prepare",
        'config-defaults, data: {max-revision-timeout-seconds: "1800"}',
        settings("config-defaults", max_revision_timeout_seconds="900"),
    ),
    Planted(
        "delivery-gives-up-first",
        "Trigger/transcribe",
        "Set spec.delivery.timeout to PT900S",
        put("Trigger/transcribe", "spec delivery timeout", "PT10M"),
    ),
    Planted(
        "delivery-outlasts-the-queue",
        "Trigger/prepare",
        "consumer_timeout",
        put("RabbitmqCluster/rabbit", "spec rabbitmq additionalConfig", "consumer_timeout = 3600000"),
    ),
    Planted("delivery-outlasts-the-queue", "Trigger/prepare", "consumer_timeout", remove("RabbitmqCluster/rabbit")),
    Planted("job-without-end", "Job/migrate", "Set activeDeadlineSeconds", drop("Job/migrate", "spec activeDeadlineSeconds")),
    Planted(
        "overlapping-jobs", "CronJob/backup", "concurrencyPolicy: Forbid", drop("CronJob/backup", "spec concurrencyPolicy")
    ),
]

CONTAINERS = [
    Planted("image-without-digest", RUNS, "by digest", put(RUNS, f"{CONTAINER} image", "auricle-api:1.0")),
    Planted("floating-tag", RUNS, "newTag", facts(overlay="dev"), put(RUNS, f"{CONTAINER} image", "auricle-api:latest")),
    Planted("floating-tag", RUNS, "newTag", facts(overlay="dev"), put(RUNS, f"{CONTAINER} image", "store:5000/auricle-api")),
    Planted("reserved-port", RUNS, "Listen on 8080", put(RUNS, f"{CONTAINER} ports 0 containerPort", 9090)),
    Planted("reserved-port", RUNS, "one port", put(RUNS, f"{CONTAINER} ports +", {"containerPort": 8081})),
    Planted(
        "reserved-variable",
        RUNS,
        "Remove PORT",
        put(RUNS, f"{CONTAINER} env +", {"name": "PORT", "value": "80"}),
        also={"unknown-setting"},
    ),
    Planted("refused-field", RUNS, "Remove lifecycle", put(RUNS, f"{CONTAINER} lifecycle", {"preStop": {}})),
    Planted("refused-field", RUNS, "timeoutSeconds", put(RUNS, f"{POD} terminationGracePeriodSeconds", 30)),
    Planted(
        "variable-given-twice", RUNS, "Leave one THREADS", put(RUNS, f"{CONTAINER} env +", {"name": "THREADS", "value": "12"})
    ),
    Planted(
        "unknown-setting", RUNS, "Write DATABASE_POOL", put(RUNS, f"{CONTAINER} env +", {"name": "DATABSE_POOL", "value": "4"})
    ),
    Planted(
        "unknown-function",
        "Job/once",
        "Write prepare",
        add(job("Job", "once"), account("once")),
        put("Job/once", f"{CONTAINER} env", [{"name": "AURICLE_FUNCTION", "value": "prepaer"}]),
    ),
    Planted("wrong-image", RUNS, "Use the image auricle-api", put(RUNS, f"{CONTAINER} image", f"auricle-media{DIGEST}")),
    Planted(
        "undeclared-volume",
        RUNS,
        "Add models",
        put(RUNS, f"{CONTAINER} volumeMounts +", {"name": "models", "mountPath": "/models"}),
    ),
    Planted("unmounted-volume", RUNS, "Mount spare", put(RUNS, f"{POD} volumes +", {"name": "spare", "emptyDir": {}})),
    Planted(
        "writable-mount",
        RUNS,
        "readOnly: true on the mount",
        add({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"}}),
        settings("config-features", **{f"kubernetes.podspec_{n}": "enabled" for n in (*FEATURES, "persistent_volume_claim")}),
        put(RUNS, f"{POD} volumes +", {"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}),
        put(RUNS, f"{CONTAINER} volumeMounts +", {"name": "models", "mountPath": "/models"}),
    ),
    Planted("missing-probe", "Deployment/gateway", "Add one", drop("Deployment/gateway", f"{CONTAINER} livenessProbe")),
    Planted("unknown-probe-path", RUNS, "path: /readyz", put(RUNS, f"{CONTAINER} readinessProbe httpGet path", "/ready")),
    Planted("missing-memory", RUNS, "resources.limits.memory", drop(RUNS, f"{CONTAINER} resources limits memory")),
    Planted("request-above-limit", RUNS, "Lower the request", put(RUNS, f"{CONTAINER} resources requests memory", "1Gi")),
]
FAULTS = [*KEYS, *SCALING, *TIMES, *CONTAINERS]

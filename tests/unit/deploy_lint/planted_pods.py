"""Faults of pods: Pod Security, secrets, features of Knative, GPUs."""

from __future__ import annotations

from typing import Any

from auricle.deploy.catalogue import catalogue
from auricle.deploy.render import service_name
from unit.deploy_lint.an_overlay import (
    ANNOTATIONS,
    CONTAINER,
    POD,
    SCALE,
    add,
    drop,
    facts,
    put,
    server,
    settings,
)
from unit.deploy_lint.planted import Planted

RUNS, TRANSCRIBE, GATEWAY = "Service/runs", "Service/transcribe", "Deployment/gateway"
SECURITY = f"{CONTAINER} securityContext"
CRON = "spec jobTemplate spec template spec"


def volume(name: str, **source: object) -> dict[str, object]:
    """A volume."""
    return {"name": name, **source}


def mount(name: str) -> dict[str, object]:
    """A mount of it."""
    return {"name": name, "mountPath": f"/{name}", "readOnly": True}


def secret(name: str, held_by: str, key: str = "") -> dict[str, object]:
    """A variable out of a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": held_by, "key": key or name}}}


def mounted(label: str, **source: object) -> tuple[object, ...]:
    """A volume and its mount."""
    return put(label, f"{POD} volumes +", volume("extra", **source)), put(label, f"{CONTAINER} volumeMounts +", mount("extra"))


POD_SECURITY = [
    Planted("host-namespace", GATEWAY, "Remove hostNetwork", put(GATEWAY, f"{POD} hostNetwork", True)),
    Planted("host-path", GATEWAY, "PersistentVolumeClaim", *mounted(GATEWAY, hostPath={"path": "/srv"})),
    Planted("volume-kind", GATEWAY, "PersistentVolumeClaim", *mounted(GATEWAY, nfs={"server": "n", "path": "/"})),
    Planted("host-port", GATEWAY, "Remove hostPort", put(GATEWAY, f"{CONTAINER} ports 0 hostPort", 443)),
    Planted(
        "unsafe-sysctl",
        GATEWAY,
        "Remove the sysctl",
        put(GATEWAY, f"{POD} securityContext sysctls +", {"name": "kernel.msgmax", "value": "1"}),
    ),
    Planted(
        "privileged", "StatefulSet/postgres", "Remove privileged", put("StatefulSet/postgres", f"{SECURITY} privileged", True)
    ),
    Planted(
        "privilege-escalation", RUNS, "allowPrivilegeEscalation: false", drop(RUNS, f"{SECURITY} allowPrivilegeEscalation")
    ),
    Planted("capabilities", "Job/migrate", "drop: [ALL]", drop("Job/migrate", f"{SECURITY} capabilities")),
    Planted("capabilities", RUNS, "Remove capabilities.add", put(RUNS, f"{SECURITY} capabilities add", ["NET_ADMIN"])),
    Planted(
        "runs-as-root", "CronJob/backup", "runAsNonRoot: true", drop("CronJob/backup", f"{CRON} securityContext runAsNonRoot")
    ),
    Planted("runs-as-root", RUNS, "runAsUser: 65532", put(RUNS, f"{SECURITY} runAsUser", 0)),
    Planted("seccomp", GATEWAY, "RuntimeDefault", put(GATEWAY, f"{POD} securityContext seccompProfile type", "Unconfined")),
    Planted("unmasked-proc", GATEWAY, "Remove procMount", put(GATEWAY, f"{SECURITY} procMount", "Unmasked")),
    Planted("writable-root", RUNS, "readOnlyRootFilesystem: true", drop(RUNS, f"{SECURITY} readOnlyRootFilesystem")),
    Planted(
        "mounted-token", RUNS, "automountServiceAccountToken: false", put(RUNS, f"{POD} automountServiceAccountToken", True)
    ),
    Planted("borrowed-service-account", RUNS, "serviceAccountName: runs", drop(RUNS, f"{POD} serviceAccountName")),
    Planted(
        "borrowed-service-account",
        RUNS,
        "ServiceAccount of its own",
        put(RUNS, f"{POD} serviceAccountName", "files"),
        also_at={"Service/files"},
    ),
]

SIGNING = {f"Service/{service_name(f.name)}" for f in catalogue() if "event_key" in f.secrets}
SECRETS = [
    Planted(
        "unknown-secret-key",
        RUNS,
        "Take the key EVENT_KEY",
        add({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "auricle-events"}, "data": {"event_key": "MQ=="}}),
        also_at=SIGNING - {RUNS},
    ),
    Planted(
        "needless-secret",
        RUNS,
        "Remove BUCKET_TOKEN",
        put(RUNS, f"{CONTAINER} env +", secret("BUCKET_TOKEN", "auricle-bucket-token")),
    ),
    Planted(
        "needless-secret",
        RUNS,
        "Remove the volume",
        *mounted(RUNS, secret={"secretName": "auricle-signing", "items": [{"key": "signing-keys.json", "path": "k"}]}),
    ),
    Planted(
        "needless-secret",
        RUNS,
        "Remove the volume",
        *mounted(RUNS, projected={"sources": [{"secret": {"name": "auricle-setup"}}]}),
    ),
    Planted(
        "missing-secret",
        "Service/identity",
        "Mount the Secret auricle-signing at /etc/auricle/signing",
        drop("Service/identity", f"{CONTAINER} volumeMounts 3"),
        drop("Service/identity", f"{POD} volumes 3"),
    ),
    Planted("missing-secret", RUNS, "set JWKS_FILE to", put(RUNS, f"{CONTAINER} env 6 value", "/etc/elsewhere/jwks.json")),
    Planted("missing-secret", RUNS, "{name: auricle-events, key: EVENT_KEY}", drop(RUNS, f"{CONTAINER} env 4")),
    Planted(
        "secret-on-speech",
        TRANSCRIBE,
        "signed URLs",
        put(TRANSCRIBE, f"{CONTAINER} env +", secret("EVENT_KEY", "auricle-events")),
    ),
    Planted("secret-on-speech", TRANSCRIBE, "signed URLs", *mounted(TRANSCRIBE, secret={"secretName": "auricle-blobs"})),
    Planted(
        "whole-secret",
        RUNS,
        "Name each variable",
        put(RUNS, f"{CONTAINER} envFrom +", {"secretRef": {"name": "auricle-blobs"}}),
    ),
    Planted(
        "secret-in-clear",
        GATEWAY,
        "valueFrom.secretKeyRef",
        put(GATEWAY, f"{CONTAINER} env +", {"name": "GATEWAY_KEY", "value": "abc"}),
    ),
    Planted(
        "secret-in-settings",
        "ConfigMap/auricle-settings",
        "Move it to the Secret auricle-database",
        put("ConfigMap/auricle-settings", "data DATABASE_URL", "postgresql://…"),
    ),
    Planted(
        "unknown-secret-key", RUNS, "Take the key EVENT_KEY", put(RUNS, f"{CONTAINER} env 4 valueFrom secretKeyRef key", "KEY")
    ),
]


def feature(name: str, *changes: object) -> Planted:
    """A feature that manifests/knative does not turn on."""
    return Planted("feature-off", RUNS, f'config-features, data: {{"{name}": "enabled"}}', *changes)


def first_container() -> dict[str, Any]:
    """An init container that Pod Security `restricted` admits."""
    pod = server("Deployment", "first")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container["securityContext"] |= pod["securityContext"]
    return container


CLAIM = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"}}
ZONES = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
FEATURES = [
    Planted(
        "feature-off",
        TRANSCRIBE,
        'data: {"kubernetes.podspec-nodeselector": "enabled"}',
        settings(
            "config-features", **{"kubernetes.podspec_tolerations": "enabled", "kubernetes.podspec_runtimeclassname": "allowed"}
        ),
    ),
    feature("kubernetes.podspec-affinity", put(RUNS, f"{POD} affinity", {"podAffinity": {}})),
    feature("kubernetes.podspec-topologyspreadconstraints", put(RUNS, f"{POD} topologySpreadConstraints", [ZONES])),
    feature(
        "kubernetes.podspec-priorityclassname",
        put(RUNS, f"{POD} priorityClassName", "people-wait"),
        facts(external=frozenset({"PriorityClass/people-wait"})),
    ),
    feature("kubernetes.podspec-securitycontext", put(RUNS, f"{POD} securityContext", {"fsGroup": 65532})),
    feature(
        "kubernetes.podspec-init-containers",
        put(RUNS, f"{POD} securityContext", {}),
        put(RUNS, f"{POD} initContainers", [first_container()]),
    ),
    feature(
        "kubernetes.podspec-fieldref",
        put(RUNS, f"{CONTAINER} env +", {"name": "OTEL_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
    ),
    feature(
        "kubernetes.podspec-persistent-volume-claim",
        add(CLAIM),
        *mounted(RUNS, persistentVolumeClaim={"claimName": "models", "readOnly": True}),
    ),
    feature(
        "kubernetes.podspec-persistent-volume-write",
        add(CLAIM),
        settings(
            "config-features",
            **{
                f"kubernetes.podspec_{n}": "enabled"
                for n in ("tolerations", "runtimeclassname", "nodeselector", "persistent_volume_claim")
            },
        ),
        *mounted(RUNS, persistentVolumeClaim={"claimName": "models"}),
    ),
]

GPU = [
    Planted("gpu-without-toleration", TRANSCRIBE, "Add tolerations", drop(TRANSCRIBE, f"{POD} tolerations")),
    Planted("gpu-without-selector", TRANSCRIBE, "Add nodeSelector", drop(TRANSCRIBE, f"{POD} nodeSelector")),
    Planted("gpu-without-runtime-class", TRANSCRIBE, "runtimeClassName: nvidia", drop(TRANSCRIBE, f"{POD} runtimeClassName")),
    Planted(
        "gpu-request-without-limit",
        RUNS,
        "resources.limits only",
        put(RUNS, f"{CONTAINER} resources requests nvidia.com/gpu", "1"),
    ),
    Planted("fractional-gpu", TRANSCRIBE, "Ask for 1", put(TRANSCRIBE, f"{CONTAINER} resources limits nvidia.com/gpu", "0.5")),
    Planted(
        "gpu-queue-behind-a-pod",
        TRANSCRIBE,
        'target-burst-capacity: "-1"',
        put(TRANSCRIBE, f"{ANNOTATIONS} {SCALE}/target-burst-capacity", "0"),
    ),
    Planted("gpu-at-deploy", TRANSCRIBE, 'initial-scale: "0"', drop(TRANSCRIBE, f"{ANNOTATIONS} {SCALE}/initial-scale")),
    Planted(
        "shared-gpu-pod",
        TRANSCRIBE,
        "Set containerConcurrency: 1",
        put(TRANSCRIBE, f"{POD} containerConcurrency", 2),
        also={"too-few-threads"},
    ),
    Planted(
        "idle-on-a-gpu-node",
        TRANSCRIBE,
        "Remove the toleration",
        drop(TRANSCRIBE, f"{CONTAINER} resources limits nvidia.com/gpu"),
    ),
]
FAULTS = [*POD_SECURITY, *SECRETS, *FEATURES, *GPU]

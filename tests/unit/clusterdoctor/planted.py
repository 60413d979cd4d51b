"""Faults: what is wrong with a deployment, which check has to say so, and words that its sentence has to have."""

from __future__ import annotations

from dataclasses import dataclass

from auricle.cli.checks import Grade
from auricle.cli.clusterdoctor import Sight
from unit.clusterdoctor.a_deployment import (
    NOW,
    Change,
    add,
    both,
    drop,
    empty,
    otherwise,
    pod,
    put,
    remove,
    told,
)

NOTE = Grade.NOTE
CONTAINER = "spec template spec containers 0"
ANNOTATIONS = "spec template metadata annotations"
SCALE = "autoscaling.knative.dev"


@dataclass(frozen=True)
class Planted:
    """One fault."""

    check: str
    words: str  # the sentence has them
    remedy: str  # and what to do has these
    change: Change
    grade: Grade = Grade.PROBLEM


def knative(config: str, key: str, value: str) -> Change:
    """Another setting of Knative."""
    return put(Sight.SERVING_CONFIG, config, f"data {key}", value)


def waiting(reason: str, message: str = "", service: str = "files", **more: object) -> Change:
    """A Service that is not Ready because of its pod."""
    stuck = pod(f"{service}-00001-x", {"waiting": {"reason": reason, "message": message}}, service, **more)
    return both(add(Sight.PODS, stuck), told(Sight.SERVICES, service, "Ready", "False", "Deploying"))


def unscheduled(name: str = "files-00001-x", service: str = "files") -> Change:
    """A Service whose pod fits nowhere."""
    item = pod(name, {}, service)
    said = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    item["status"] = {"phase": "Pending", "conditions": [said]}
    return both(add(Sight.PODS, item), told(Sight.SERVICES, service, "Ready", "Unknown", "Deploying"))


def refused(message: str) -> Change:
    """A Service whose pods are not made."""
    failure = {"type": "ReplicaFailure", "status": "True", "message": message}
    metadata = {"name": "files-00001-deployment", "labels": {"serving.knative.dev/service": "files"}}
    deployment = {"metadata": metadata, "status": {"conditions": [failure]}}
    return both(add(Sight.DEPLOYMENTS, deployment), told(Sight.SERVICES, "files", "Ready", "False", "failing"))


PLATFORM = (
    Planted("kubernetes", "v1.29.1 is too old", "1.34", otherwise(version="v1.29.1")),
    Planted("kubernetes", "does not say its release", "kubectl version", otherwise(version=""), NOTE),
    Planted("knative", "Knative Eventing does not run", "Install Knative Eventing", empty(Sight.EVENTING)),
    Planted("knative", "activator", "kubectl -n knative-serving", told(Sight.SERVING, "activator", "Available", "False", "")),
    Planted(
        "knative", "Serving 1.9", "1.21", put(Sight.SERVING, "activator", "metadata labels app.kubernetes.io/version", "v1.9.0")
    ),
    Planted(
        "features",
        "podspec-tolerations",
        "patch configmap",
        knative("config-features", "kubernetes.podspec-tolerations", "disabled"),
    ),
    Planted(
        "features",
        "podspec-securitycontext is off, and the next revision of files",
        "kubernetes.podspec-securitycontext",
        put(
            Sight.SERVICES,
            "files",
            "spec template spec securityContext",
            {"runAsUser": 65532, "fsGroup": 65532, "runAsNonRoot": True, "sysctls": [{}]},
        ),
    ),
    Planted("features", "queue", "base/policies", both(empty(Sight.LIMIT_RANGES))),
    Planted(
        "settings",
        "600 s at most",
        "manifests/knative",
        drop(Sight.SERVING_CONFIG, "config-defaults", "data max-revision-timeout-seconds"),
    ),
    Planted(
        "settings",
        "allow-zero-initial-scale is off",
        "manifests/knative",
        knative("config-autoscaler", "allow-zero-initial-scale", "false"),
    ),
    Planted(
        "settings",
        "pod-is-always-schedulable",
        "manifests/knative",
        otherwise(wanted={"config-deployment": {"pod-is-always-schedulable": "true"}}),
        NOTE,
    ),
    Planted("autoscaler", "never sleep", "enable-scale-to-zero", knative("config-autoscaler", "enable-scale-to-zero", "false")),
    Planted(
        "autoscaler",
        "3600 s",
        "scale-to-zero-grace-period",
        knative("config-autoscaler", "scale-to-zero-grace-period", "1h"),
        NOTE,
    ),
    Planted(
        "autoscaler",
        "60 s (progress-deadline)",
        "progress-deadline",
        knative("config-deployment", "progress-deadline", "60s"),
        NOTE,
    ),
    Planted(
        "nodes",
        "node1 is not Ready: kubelet stopped",
        "describe node node1",
        told(Sight.NODES, "node1", "Ready", "False", "kubelet stopped"),
    ),
    Planted("nodes", "DiskPressure", "describe node", told(Sight.NODES, "node1", "DiskPressure", "True", "")),
    Planted("nodes", "takes no new pods", "uncordon", put(Sight.NODES, "node1", "spec unschedulable", True), NOTE),
    Planted("clock", "90 s away", "NTP", otherwise(now=NOW.timestamp() + 90)),
    Planted("clock", "does not say its time", "Compare", otherwise(server_clock=None), NOTE),
    Planted(
        "node-clocks", "is 120 s ahead", "NTP", put(Sight.LEASES, "node1", "spec renewTime", "2026-05-04T12:02:00.000000Z")
    ),
    Planted(
        "node-clocks",
        "last heard 600 s ago",
        "kubelet",
        put(Sight.LEASES, "node1", "spec renewTime", "2026-05-04T11:50:00.000000Z"),
    ),
)

FUNCTIONS = (
    Planted("namespace", "no namespace auricle", "--namespace", empty(Sight.NAMESPACE)),
    Planted("namespace", "being deleted", "Wait", put(Sight.NAMESPACE, "auricle", "status phase", "Terminating")),
    Planted("functions", "Not deployed: export", "kubectl apply", remove(Sight.SERVICES, "export")),
    Planted(
        "functions",
        "runs 'summarise'",
        "delete ksvc docs",
        put(Sight.SERVICES, "docs", f"{CONTAINER} env 0 value", "summarise"),
    ),
    Planted("functions", "No function is deployed", "manifests/overlays", empty(Sight.SERVICES)),
    Planted(
        "functions",
        "several Services: files",
        "Delete",
        put(Sight.SERVICES, "runs", f"{CONTAINER} env 0 value", "runs,files"),
        NOTE,
    ),
    Planted("services", "cannot be pulled (no such tag)", "images:", waiting("ImagePullBackOff", "no such tag")),
    Planted(
        "services",
        'secret "auricle-events" not found',
        "auricle manifests secrets",
        waiting("CreateContainerConfigError", 'secret "auricle-events" not found'),
    ),
    Planted(
        "services",
        "OOMKilled, exit code 137",
        "memory",
        waiting("CrashLoopBackOff", lastState={"terminated": {"reason": "OOMKilled", "exitCode": 137}}),
    ),
    Planted(
        "services",
        "Error, exit code 1",
        "--previous",
        waiting("CrashLoopBackOff", lastState={"terminated": {"reason": "Error", "exitCode": 1}}),
    ),
    Planted("services", "fits on no node (0/1 nodes are available: 1 Insufficient cpu)", "Add a node", unscheduled()),
    Planted("services", "exceeded quota", "Raise the quota", refused('pods "x" is forbidden: exceeded quota: auricle')),
    Planted("services", "violates PodSecurity", "auricle manifests lint", refused("pod violates PodSecurity")),
    Planted(
        "services",
        "Unable to fetch image",
        "registries-skipping-tag-resolving",
        told(Sight.SERVICES, "files", "Ready", "False", "Unable to fetch image: failed to resolve image to digest"),
    ),
    Planted(
        "services",
        "not Ready: the revision failed",
        "describe ksvc files",
        both(
            add(
                Sight.REVISIONS,
                {
                    "metadata": {"name": "files-00001"},
                    "status": {"conditions": [{"type": "Ready", "status": "False", "message": "the revision failed"}]},
                },
            ),
            told(Sight.SERVICES, "files", "Ready", "False", "RevisionFailed"),
        ),
    ),
    Planted(
        "services",
        "older revision",
        "get ksvc,revisions",
        put(Sight.SERVICES, "files", "status latestCreatedRevisionName", "files-00002"),
        NOTE,
    ),
    Planted(
        "pods",
        "image registry.example",
        "images:",
        add(Sight.PODS, pod("bucket-setup-1", {"waiting": {"reason": "ErrImagePull"}})),
    ),
    Planted("pods", "started 9 times", "--previous", add(Sight.PODS, pod("postgres-0", {}, restartCount=9)), NOTE),
    Planted(
        "workloads",
        "StatefulSet/postgres has 0 of 1 pods",
        "describe statefulset postgres",
        drop(Sight.STATEFUL_SETS, "postgres", "status readyReplicas"),
    ),
    Planted("workloads", "no gateway", "base/gateway", empty(Sight.DEPLOYMENTS)),
    Planted("workloads", "scaled to none", "--replicas=1", put(Sight.STATEFUL_SETS, "postgres", "spec replicas", 0), NOTE),
    Planted(
        "images",
        "auricle-api:1.3",
        "Apply the overlay",
        put(Sight.SERVICES, "files", f"{CONTAINER} image", "registry.example/auricle-api:1.3"),
        NOTE,
    ),
)

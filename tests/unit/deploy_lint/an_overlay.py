"""A whole overlay without a fault, as `kubectl kustomize` would print it, and ways to plant one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec

from auricle.deploy.catalogue import catalogue
from auricle.deploy.lint import Facts, facts_for
from auricle.deploy.render import Manifest, render, units

NAMESPACE = "auricle"
DIGEST = "@sha256:" + "0a" * 32
CONTAINER = "spec template spec containers 0"
POD = "spec template spec"
ANNOTATIONS = "spec template metadata annotations"
SCALE = "autoscaling.knative.dev"
FEATURES = ("nodeselector", "tolerations", "runtimeclassname")
SETTINGS = {
    "config-features": {f"kubernetes.podspec-{name}": "enabled" for name in FEATURES},
    "config-defaults": {"max-revision-timeout-seconds": "1800"},
    "config-autoscaler": {"allow-zero-initial-scale": "true"},
}
PLATFORM: list[Manifest] = [
    {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "knative-serving"}, "data": data}
    for name, data in SETTINGS.items()
]


class Overlay:
    """Objects and facts that a test may spoil."""

    def __init__(self, objects: list[Manifest], facts: Facts) -> None:
        """Both belong to the test."""
        self.objects = objects
        self.facts = facts

    def one(self, label: str) -> Manifest:
        """The object called `Kind/name`."""
        kind, _, name = label.partition("/")
        (found,) = [o for o in self.objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
        return found


Change = Callable[[Overlay], None]


def put(label: str, path: str, value: Any) -> Change:
    """Write `value` at `path` (words; numbers are positions, `+` appends), making what is missing on the way."""

    def change(overlay: Overlay) -> None:
        *way, last = path.split()
        here: Any = overlay.one(label)
        for word, following in pairwise([*way, last]):
            here = here[int(word)] if isinstance(here, list) else here.setdefault(word, [] if following == "+" else {})
        if last == "+":
            here.append(value)
        elif isinstance(here, list):
            here[int(last)] = value
        else:
            here[last] = value

    return change


def drop(label: str, path: str) -> Change:
    """Remove what stands at `path`."""

    def change(overlay: Overlay) -> None:
        *way, last = path.split()
        here: Any = overlay.one(label)
        for word in way:
            here = here[int(word)] if isinstance(here, list) else here[word]
        del here[int(last) if isinstance(here, list) else last]

    return change


def add(*objects: Manifest) -> Change:
    """More objects, in the overlay's namespace unless they name another."""

    def change(overlay: Overlay) -> None:
        for item in copy.deepcopy(list(objects)):
            item["metadata"].setdefault("namespace", NAMESPACE)
            overlay.objects.append(item)

    return change


def remove(*labels: str) -> Change:
    """Fewer objects."""
    return lambda overlay: [overlay.objects.remove(overlay.one(label)) for label in labels] and None


def facts(**changes: Any) -> Change:
    """Other facts."""

    def change(overlay: Overlay) -> None:
        overlay.facts = msgspec.structs.replace(overlay.facts, **changes)

    return change


def settings(config: str, **changes: str) -> Change:
    """Other settings of Knative; `_` in a key stands for `-`."""

    def change(overlay: Overlay) -> None:
        given = {key.replace("_", "-"): value for key, value in changes.items()}
        overlay.facts = msgspec.structs.replace(overlay.facts, knative={**overlay.facts.knative, config: given})

    return change


def entry(name: str, **changes: Any) -> Change:
    """Another declaration of one function."""

    def change(overlay: Overlay) -> None:
        known = tuple(msgspec.structs.replace(f, **changes) if f.name == name else f for f in overlay.facts.catalogue)
        overlay.facts = msgspec.structs.replace(overlay.facts, catalogue=known)

    return change


def clean(grouped: bool = False) -> Overlay:
    """An overlay in which nothing is wrong; `grouped`: functions of one image share a Service."""
    return Overlay(copy.deepcopy(_objects(grouped)), _facts())


@cache
def _facts() -> Facts:
    return facts_for("cluster", PLATFORM, external=["RuntimeClass/nvidia"])


@cache
def _objects(grouped: bool) -> list[Manifest]:
    rendered = render(units(catalogue(), grouped=grouped))
    found = [_scaled(item) for objects in rendered.values() for item in objects]
    found += _broker(next(o["spec"]["delivery"] for objects in rendered.values() for o in objects if o["kind"] == "Trigger"))
    found += _gateway()
    found += _database()
    found += _policies()
    for item in found:
        item["metadata"].setdefault("namespace", NAMESPACE)
    return found


def _scaled(item: Manifest) -> Manifest:
    """What an overlay's patches add: numbers, images, the GPU, the ticket."""
    if item["kind"] == "PingSource":
        item["spec"]["ceOverrides"]["extensions"]["ticket"] = "dGlja2V0"
    if item["kind"] == "Service":
        template = item["spec"]["template"]
        (container,) = template["spec"]["containers"]
        container["image"] += DIGEST
        container["resources"] = {"requests": {"memory": "96Mi"}, "limits": {"memory": "256Mi"}}
        template["metadata"]["annotations"] |= {f"{SCALE}/min-scale": "0", f"{SCALE}/max-scale": "4"}
        if item["metadata"]["name"] == "transcribe":
            template["metadata"]["annotations"][f"{SCALE}/initial-scale"] = "0"
            container["resources"]["limits"]["nvidia.com/gpu"] = "1"
            template["spec"] |= {
                "nodeSelector": {"nvidia.com/gpu.present": "true"},
                "runtimeClassName": "nvidia",
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            }
    return item


def _broker(delivery: Manifest) -> list[Manifest]:
    return [
        {
            "apiVersion": "eventing.knative.dev/v1",
            "kind": "Broker",
            "metadata": {"name": "default", "annotations": {"eventing.knative.dev/broker.class": "RabbitMQBroker"}},
            "spec": {"delivery": copy.deepcopy(delivery)},
        },
        {
            "apiVersion": "rabbitmq.com/v1beta1",
            "kind": "RabbitmqCluster",
            "metadata": {"name": "rabbit", "namespace": "rabbitmq"},
            "spec": {"replicas": 1, "rabbitmq": {"additionalConfig": "consumer_timeout = 86400000\n"}},
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "auricle-settings"}, "data": {"LOG_LEVEL": "INFO"}},
    ]


def server(kind: str, name: str, *, replicas: int = 1, port: int = 8080, **container: Any) -> Manifest:
    """A Deployment or StatefulSet that Pod Security `restricted` admits."""
    probe = {"tcpSocket": {"port": port}}
    labels = {"app.kubernetes.io/name": name}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": _pod(
                    name,
                    ports=[{"name": "main", "containerPort": port}],
                    readinessProbe=probe,
                    livenessProbe=probe,
                    **container,
                ),
            },
        },
    }


def _pod(name: str, **container: Any) -> Manifest:
    return {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": name,
                "image": f"{name}{DIGEST}",
                "resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
                **container,
            }
        ],
    }


def address(name: str, port: int) -> Manifest:
    """An ordinary Service in front of a server."""
    spec = {"selector": {"app.kubernetes.io/name": name}, "ports": [{"port": port, "targetPort": "main"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def account(name: str) -> Manifest:
    """A service account that may do nothing."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}, "automountServiceAccountToken": False}


def job(kind: str, name: str, **more: Any) -> Manifest:
    """A Job or CronJob that uses the database."""
    variable = {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "auricle-database", "key": "DATABASE_URL"}}}
    inner = {"activeDeadlineSeconds": 600, "template": {"spec": {**_pod(name, env=[variable]), "restartPolicy": "Never"}}}
    spec = inner if kind == "Job" else {"schedule": "17 2 * * *", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": inner}}
    return {"apiVersion": "batch/v1", "kind": kind, "metadata": {"name": name}, "spec": {**spec, **more}}


def _gateway() -> list[Manifest]:
    selector = {"matchLabels": {"app.kubernetes.io/name": "gateway"}}
    return [
        server("Deployment", "gateway", replicas=2),
        address("gateway", 443),
        account("gateway"),
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "gateway"},
            "spec": {"maxUnavailable": 1, "selector": selector},
        },
    ]


def _database() -> list[Manifest]:
    settings = {"name": "settings", "configMap": {"name": "pgbouncer"}}
    pooler = server("Deployment", "pgbouncer", port=6432, volumeMounts=[{"name": "settings", "mountPath": "/etc/pgbouncer"}])
    pooler["spec"]["template"]["spec"]["volumes"] = [settings]
    ini = "[pgbouncer]\nmax_client_conn = 500\ndefault_pool_size = 40\n"
    return [
        server("StatefulSet", "postgres", port=5432, args=["-c", "max_connections=100"]),
        pooler,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pgbouncer"}, "data": {"pgbouncer.ini": ini}},
        job("Job", "migrate"),
        job("CronJob", "backup"),
        *(account(name) for name in ("postgres", "pgbouncer", "migrate", "backup")),
        address("postgres", 5432),
        address("pgbouncer", 6432),
    ]


def policy(name: str, selector: Manifest, **spec: Any) -> Manifest:
    """A network policy."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"podSelector": selector, **spec},
    }


def named(*names: str) -> Manifest:
    """The pods of these servers."""
    return {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": list(names)}]}


def spaces(*names: str) -> Manifest:
    """Everybody in these namespaces."""
    return {
        "namespaceSelector": {
            "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(names)}]
        }
    }


def _policies() -> list[Manifest]:
    """Nobody meets anybody but those who need each other."""
    functions = {"matchExpressions": [{"key": "auricle.dev/function", "operator": "Exists"}]}
    broker = {"matchLabels": {"eventing.knative.dev/broker": "default"}}
    door = {"matchLabels": {"eventing.knative.dev/brokerRole": "ingress"}}
    database = [{"port": 5432}, {"port": 6432}]
    return [
        policy("default-deny", {}, policyTypes=["Ingress", "Egress"]),
        policy(
            "functions",
            functions,
            policyTypes=["Ingress", "Egress"],
            ingress=[{"from": [spaces("knative-serving", "kourier-system")], "ports": [{"port": 8012}]}],
            egress=[
                {"to": [{"podSelector": named("postgres", "pgbouncer")}], "ports": database},
                {"to": [{"podSelector": door}], "ports": [{"port": 8080}]},
                {"to": [spaces("kube-system")], "ports": [{"port": 53, "protocol": "UDP"}]},
            ],
        ),
        policy(
            "database",
            named("postgres", "pgbouncer"),
            ingress=[{"from": [{"podSelector": functions}, {"podSelector": named("pgbouncer")}], "ports": [{"port": "main"}]}],
            egress=[{"to": [{"podSelector": named("postgres")}], "ports": [{"port": 5000, "endPort": 5500}]}],
        ),
        policy("gateway", named("gateway"), policyTypes=["Egress"], egress=[{"to": [spaces("kourier-system")]}]),
        policy(
            "broker",
            broker,
            policyTypes=["Ingress", "Egress"],
            ingress=[{"from": [{"podSelector": functions}, {"podSelector": broker}]}],
            egress=[{"to": [spaces("rabbitmq", "kourier-system"), {"podSelector": door}]}],
        ),
    ]

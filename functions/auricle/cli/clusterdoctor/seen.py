"""What was seen of a cluster, as plain objects: all that the checks know."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import msgspec

from auricle.deploy.lint import Facts
from auricle.deploy.lint.places import Place
from auricle.deploy.lint.world import EVENTING, KNATIVE, SOURCES, World

OURS = "*"
"""Stands for Auricle's namespace where a row of `READS` says where to look."""


class Read(msgspec.Struct, frozen=True):
    """One kind of object, and where it is looked for."""

    kind: str
    plural: str
    group: str = ""
    version: str = "v1"
    where: str = OURS
    """A namespace; empty for the whole cluster."""
    name: str = ""
    """The only object that is asked for; empty for all."""
    optional: bool = False
    """Whether a cluster may do without this kind."""

    @property
    def verb(self) -> str:
        """What RBAC calls it."""
        return "get" if self.name else "list"

    @property
    def resource(self) -> str:
        """As RBAC and kubectl write it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


class Sight(StrEnum):
    """Everything that is looked at."""

    NAMESPACE = "namespace"
    SERVICES = "services"
    REVISIONS = "revisions"
    TRIGGERS = "triggers"
    BROKERS = "brokers"
    PINGS = "pings"
    PODS = "pods"
    DEPLOYMENTS = "deployments"
    STATEFUL_SETS = "stateful-sets"
    JOBS = "jobs"
    CRON_JOBS = "cron-jobs"
    CONFIG_MAPS = "config-maps"
    SECRETS = "secrets"
    QUOTAS = "quotas"
    LIMIT_RANGES = "limit-ranges"
    DISRUPTION = "disruption-budgets"
    POLICIES = "network-policies"
    CLAIMS = "claims"
    KUBERNETES_SERVICES = "kubernetes-services"
    CERTIFICATES = "certificates"
    SERVING_CONFIG = "serving-config"
    SERVING = "serving"
    EVENTING = "eventing"
    NODES = "nodes"
    LEASES = "leases"
    STORAGE_CLASSES = "storage-classes"
    RUNTIME_CLASSES = "runtime-classes"


READS: dict[Sight, Read] = {
    Sight.NAMESPACE: Read("Namespace", "namespaces", where="", name=OURS),
    Sight.SERVICES: Read("Service", "services", KNATIVE),
    Sight.REVISIONS: Read("Revision", "revisions", KNATIVE),
    Sight.TRIGGERS: Read("Trigger", "triggers", EVENTING),
    Sight.BROKERS: Read("Broker", "brokers", EVENTING),
    Sight.PINGS: Read("PingSource", "pingsources", SOURCES),
    Sight.PODS: Read("Pod", "pods"),
    Sight.DEPLOYMENTS: Read("Deployment", "deployments", "apps"),
    Sight.STATEFUL_SETS: Read("StatefulSet", "statefulsets", "apps"),
    Sight.JOBS: Read("Job", "jobs", "batch"),
    Sight.CRON_JOBS: Read("CronJob", "cronjobs", "batch"),
    Sight.CONFIG_MAPS: Read("ConfigMap", "configmaps"),
    Sight.SECRETS: Read("Secret", "secrets"),
    Sight.QUOTAS: Read("ResourceQuota", "resourcequotas"),
    Sight.LIMIT_RANGES: Read("LimitRange", "limitranges"),
    Sight.DISRUPTION: Read("PodDisruptionBudget", "poddisruptionbudgets", "policy"),
    Sight.POLICIES: Read("NetworkPolicy", "networkpolicies", "networking.k8s.io"),
    Sight.CLAIMS: Read("PersistentVolumeClaim", "persistentvolumeclaims"),
    Sight.KUBERNETES_SERVICES: Read("Service", "services"),
    Sight.CERTIFICATES: Read("Certificate", "certificates", "cert-manager.io", optional=True),
    Sight.SERVING_CONFIG: Read("ConfigMap", "configmaps", where="knative-serving"),
    Sight.SERVING: Read("Deployment", "deployments", "apps", where="knative-serving"),
    Sight.EVENTING: Read("Deployment", "deployments", "apps", where="knative-eventing"),
    Sight.NODES: Read("Node", "nodes", where=""),
    Sight.LEASES: Read("Lease", "leases", "coordination.k8s.io", where="kube-node-lease"),
    Sight.STORAGE_CLASSES: Read("StorageClass", "storageclasses", "storage.k8s.io", where=""),
    Sight.RUNTIME_CLASSES: Read("RuntimeClass", "runtimeclasses", "node.k8s.io", where="", optional=True),
}
"""How each of them is read."""
WORLD = (
    Sight.SERVICES,
    Sight.TRIGGERS,
    Sight.BROKERS,
    Sight.PINGS,
    Sight.DEPLOYMENTS,
    Sight.STATEFUL_SETS,
    Sight.JOBS,
    Sight.CRON_JOBS,
    Sight.CONFIG_MAPS,
    Sight.SECRETS,
    Sight.QUOTAS,
    Sight.LIMIT_RANGES,
    Sight.CLAIMS,
    Sight.CERTIFICATES,
)
"""What lint's rules are shown of the namespace."""


class Lack(StrEnum):
    """Why something could not be seen."""

    FORBIDDEN = "forbidden"
    UNKNOWN = "unknown"  # the cluster has no such kind
    BROKEN = "broken"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One look at a cluster. Secrets have keys and no values: `set` or nothing; `gateway-tls` has its public certificate."""

    namespace: str
    facts: Facts
    """Of the code here, and the cluster's settings of Knative."""
    version: str
    """Of Kubernetes, as its API server says it (v1.34.3)."""
    now: float
    """This machine's clock, Unix seconds."""
    server_clock: float | None
    """The API server's clock at that moment; None when it does not say."""
    objects: Mapping[Sight, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    lacking: Mapping[Sight, Lack] = field(default_factory=dict)
    wanted: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What manifests/knative sets: ConfigMap → key → value; nothing where this code has no manifests beside it."""
    migrated: str = ""
    """What the migrate job printed last; empty when that cannot be read any more."""
    head: str = ""
    """The schema's newest revision in this code."""
    letters: int | None = None
    """Open dead letters; None when no server was asked."""
    silence: str = ""
    """Why the server that was asked for them did not say."""

    def of(self, sight: Sight) -> list[Place]:
        """The objects of one kind; none when they could not be read."""
        return [Place.top(item) for item in self.objects.get(sight, ())]

    def named(self, sight: Sight, name: str) -> Place | None:
        """One object by its name."""
        return next((place for place in self.of(sight) if place.name == name), None)

    @property
    def gone(self) -> bool:
        """Whether the namespace is known not to exist."""
        return Sight.NAMESPACE not in self.lacking and not self.objects.get(Sight.NAMESPACE)

    @cached_property
    def world(self) -> World:
        """The namespace as lint's rules ask about it: what somebody applied, not what controllers made of it.

        Knative keeps the Deployments of revisions that nobody routes to any more; what was wrong in one is no trouble.
        """
        found = (item for sight in WORLD for item in self.objects.get(sight, ()))
        return World([item for item in found if not _made_of_another(item)], self.facts)

    def kubectl(self, words: str) -> str:
        """A command for Auricle's namespace."""
        return f"kubectl -n {self.namespace} {words}"


def _made_of_another(item: Mapping[str, Any]) -> bool:
    owners = item.get("metadata", {}).get("ownerReferences", ())
    return any(owner.get("controller") for owner in owners)


def condition(place: Place, kind: str = "Ready") -> Place | None:
    """One of an object's conditions."""
    return next((c for c in (place / "status" / "conditions").each() if (c / "type").text == kind), None)


def holds(place: Place, kind: str = "Ready") -> bool:
    """Whether a condition is True."""
    found = condition(place, kind)
    return found is not None and (found / "status").text == "True"


def reason(place: Place, kind: str = "Ready") -> str:
    """What a condition says: its message, its reason, or that nobody has looked at the object yet."""
    found = condition(place, kind)
    if found is None:
        return "its controller has not looked at it yet"
    return ((found / "message").text or (found / "reason").text or f"{kind} is {(found / 'status').text}").rstrip(". ")


def names(words: Iterable[str], most: int = 6) -> str:
    """A list for a sentence, not too long."""
    listed = list(words)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def seconds_of(text: str) -> float | None:
    """An RFC 3339 time in Unix seconds; None for what is none."""
    try:
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None

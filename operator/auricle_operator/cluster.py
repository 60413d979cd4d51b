"""Kubernetes as the operator needs it, and everything it touches there: one table, from which its role is generated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from auricle_operator.api import managedsecret, modelcache, tenant
from auricle_operator.api.rules import API_VERSION

Manifest = dict[str, Any]
"""One Kubernetes object, as its YAML says it."""

TENANT = "auricle.dev/tenant"
"""Label of everything that belongs to a tenant, its namespace included: the Tenant's name."""
OWNER = "auricle.dev/owner"
"""Label of what a resource of ours made, and may prune: `<kind>.<name>` in lower case (`tenant.acme`)."""
APPLIED = "auricle.dev/applied"
"""Annotation: digest of what was applied, so that a reconcile does not apply the same again."""
MANAGER = "auricle-operator"
"""Our field manager."""
KEEPER = "app.kubernetes.io/managed-by"
"""Label of everything that we made: `MANAGER`."""


class Kind(msgspec.Struct, frozen=True):
    """A kind that the operator touches; `verbs` is exactly what it does with it."""

    api_version: str
    name: str
    plural: str
    namespaced: bool
    verbs: tuple[str, ...]
    status: bool = False  # whether it writes the status, too
    home: bool = False  # whether it touches only those of its own namespace

    @property
    def group(self) -> str:
        """API group; empty for the core."""
        return self.api_version.rpartition("/")[0]


WATCHED = ("list", "watch")
OURS = (*WATCHED, "create", "patch", "delete")
"""What we make: server-side apply asks for patch, and for create where the object is new."""
READ = ("get", *OURS)
"""What we also ask for by name, past the mirror: values of Secrets, and what a `create` found there already."""

NAMESPACE = Kind("v1", "Namespace", "namespaces", False, READ)
SECRET = Kind("v1", "Secret", "secrets", True, READ)
CONFIG = Kind("v1", "ConfigMap", "configmaps", True, READ)
ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts", True, OURS)
RESOURCE_QUOTA = Kind("v1", "ResourceQuota", "resourcequotas", True, OURS)
LIMITS = Kind("v1", "LimitRange", "limitranges", True, OURS)
VOLUME = Kind("v1", "PersistentVolume", "persistentvolumes", False, READ)
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", True, READ)
NODE = Kind("v1", "Node", "nodes", False, (*WATCHED, "patch"))
POD = Kind("v1", "Pod", "pods", True, ("list",))
LOG = Kind("v1", "Pod", "pods/log", True, ("get",))
EVENT = Kind("v1", "Event", "events", True, ("create",))
NETWORK = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", True, OURS)
DISRUPTION = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", True, OURS)
JOB = Kind("batch/v1", "Job", "jobs", True, READ)
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments", True, ("get",), home=True)
KSERVICE = Kind("serving.knative.dev/v1", "Service", "services", True, OURS)
BROKER = Kind("eventing.knative.dev/v1", "Broker", "brokers", True, OURS)
TRIGGER = Kind("eventing.knative.dev/v1", "Trigger", "triggers", True, OURS)
RABBIT = Kind("eventing.knative.dev/v1alpha1", "RabbitmqBrokerConfig", "rabbitmqbrokerconfigs", True, OURS)
PING = Kind("sources.knative.dev/v1", "PingSource", "pingsources", True, OURS)
TENANTS = Kind(API_VERSION, tenant.KIND, tenant.PLURAL, False, (*WATCHED, "patch"), status=True)
SECRETS = Kind(API_VERSION, managedsecret.KIND, managedsecret.PLURAL, True, OURS, status=True)
MODELS = Kind(API_VERSION, modelcache.KIND, modelcache.PLURAL, False, (*WATCHED, "patch"), status=True)

KINDS: tuple[Kind, ...] = (
    NAMESPACE,
    SECRET,
    CONFIG,
    ACCOUNT,
    RESOURCE_QUOTA,
    LIMITS,
    VOLUME,
    CLAIM,
    NODE,
    POD,
    LOG,
    EVENT,
    NETWORK,
    DISRUPTION,
    JOB,
    DEPLOYMENT,
    KSERVICE,
    BROKER,
    TRIGGER,
    RABBIT,
    PING,
    TENANTS,
    SECRETS,
    MODELS,
)
"""Everything that the operator touches. `manifests/base/operator/role.yaml` is generated from it, and the cluster's lane
compares it with what the operator really asked for."""


class Gone(Exception):
    """The namespace that an object belongs into is ending, or not there: try again once it is settled."""


class Cluster(Protocol):
    """An API server. Every call may raise `Retryable` (away, too busy), `Permanent` (refused; says why) or `Gone`."""

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Manifest | None:
        """One object; None when there is none."""
        ...

    async def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> list[Manifest]:
        """All, of one namespace or of all of them, that carry `labels`."""
        ...

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply as `auricle-operator`, by force: what we say holds, what others say beside it stays."""
        ...

    async def create(self, manifest: Manifest) -> Manifest:
        """Make it unless it is there; returns what is there then."""
        ...

    async def merge(self, kind: Kind, name: str, namespace: str | None, patch: Manifest) -> Manifest | None:
        """A merge patch: None takes a key away. None when there is no such object."""
        ...

    async def status(self, kind: Kind, name: str, namespace: str | None, status: Manifest) -> None:
        """Replace our part of an object's status. Nothing happens when the object is gone."""
        ...

    async def delete(self, kind: Kind, name: str, namespace: str | None = None) -> None:
        """Begin to delete it; fine when it is gone."""
        ...

    async def logs(self, namespace: str, pod: str, container: str, lines: int) -> str:
        """The last lines that a container wrote; empty when there are none yet."""
        ...

    async def tell(self, about: Manifest, reason: str, message: str, *, warning: bool = False) -> None:
        """An Event that a person can read (`kubectl describe`). Best effort: never raises."""
        ...


def kind_of(manifest: Mapping[str, Any]) -> Kind:
    """The row of `KINDS` for an object."""
    for kind in KINDS:
        if (kind.api_version, kind.name) == (manifest["apiVersion"], manifest["kind"]) and "/" not in kind.plural:
            return kind
    raise LookupError(f"The operator does not touch {manifest['apiVersion']} {manifest['kind']}: add it to KINDS.")


def digest(manifest: Mapping[str, Any]) -> str:
    """Of what an object says, to compare with `APPLIED`."""
    return hashlib.sha256(msgspec.json.encode(manifest, order="deterministic")).hexdigest()[:32]


def owned(manifest: Manifest, owner: Manifest, *, tenant_name: str | None = None) -> Manifest:
    """`manifest` as something that `owner` made: its labels, and a reference, so that Kubernetes collects it. Objects without a
    namespace, and those in one, may have an owner without one."""
    labels = {OWNER: owner_label(owner), **({TENANT: tenant_name} if tenant_name else {})}
    metadata = manifest["metadata"]
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        **manifest,
        "metadata": {
            **metadata,
            "labels": {**metadata.get("labels", {}), KEEPER: MANAGER, **labels},
            "ownerReferences": [reference],
        },
    }


def made_for(tenant: str, manifest: Manifest) -> bool:
    """Whether we made it for a tenant. The tenant's label alone says nothing: anybody may write one."""
    labels = manifest["metadata"].get("labels", {})
    return (labels.get(TENANT), labels.get(KEEPER)) == (tenant, MANAGER)


def owner_label(owner: Mapping[str, Any]) -> str:
    """What `OWNER` says of things that `owner` made."""
    return f"{owner['kind'].lower()}.{owner['metadata']['name']}"


def ready(manifest: Mapping[str, Any], type: str = "Ready") -> tuple[bool | None, str, str]:
    """(holds, reason, message) of an object's condition, if it speaks of what the object says now; (None, …) when not known."""
    status = manifest.get("status", {})
    if status.get("observedGeneration", 0) < manifest["metadata"].get("generation", 0):
        return None, "NotSeen", "not looked at yet"
    for condition in status.get("conditions", ()):
        if condition["type"] == type:
            holds = {"True": True, "False": False}.get(condition["status"])
            return holds, condition.get("reason", ""), condition.get("message", "")
    return None, "NotSeen", "not looked at yet"


def of_kind(manifests: Iterable[Manifest], kind: Kind) -> list[Manifest]:
    """Those of one kind."""
    return [m for m in manifests if (m["apiVersion"], m["kind"]) == (kind.api_version, kind.name)]

"""What the operator may do in a cluster: its role, made from the table of what it touches and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from auricle_operator.cluster import KINDS, MANAGER, Kind, Manifest
from auricle_operator.settings import Settings

HOME = Settings().namespace
"""Where the manifests put the operator."""

RBAC = "rbac.authorization.k8s.io"
FRAMEWORK = (
    # Which other operators are awake, where there are two. It looks for no definitions and namespaces: `scanning` is off.
    Kind("kopf.dev/v1", "ClusterKopfPeering", "clusterkopfpeerings", False, ("get", "list", "watch", "patch")),
)
"""What kopf asks for on its own account."""


def role() -> list[Manifest]:
    """Account, roles and bindings."""
    everywhere = [kind for kind in (*KINDS, *FRAMEWORK) if not kind.home]
    at_home = [kind for kind in KINDS if kind.home]
    return [
        _object("v1", "ServiceAccount", HOME),
        _object(f"{RBAC}/v1", "ClusterRole", rules=rules(everywhere)),
        _object(f"{RBAC}/v1", "ClusterRoleBinding", **_bound("ClusterRole")),
        _object(f"{RBAC}/v1", "Role", HOME, rules=rules(at_home)),
        _object(f"{RBAC}/v1", "RoleBinding", HOME, **_bound("Role")),
    ]


def rules(kinds: Iterable[Kind]) -> list[dict[str, Any]]:
    """One rule for all kinds of a group with the same verbs."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for kind in kinds:
        found.setdefault((kind.group, kind.verbs), []).append(kind.plural)
        if kind.status:
            found.setdefault((kind.group, ("patch",)), []).append(f"{kind.plural}/status")
    return [{"apiGroups": [group], "resources": resources, "verbs": list(verbs)} for (group, verbs), resources in found.items()]


def _object(api_version: str, kind: str, namespace: str | None = None, **body: Any) -> Manifest:
    metadata = {"name": MANAGER, **({"namespace": namespace} if namespace else {})}
    labels = {"app.kubernetes.io/name": MANAGER, "app.kubernetes.io/part-of": "auricle"}
    return {"apiVersion": api_version, "kind": kind, "metadata": {**metadata, "labels": labels}, **body}


def _bound(kind: str) -> dict[str, Any]:
    return {
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": MANAGER},
        "subjects": [{"kind": "ServiceAccount", "name": MANAGER, "namespace": HOME}],
    }

"""What the operator's admission is tried with: its manifests under other names, namespaces, a person, things to write."""

from __future__ import annotations

import json
from typing import Any

from auricle_operator.cluster import Manifest

LANE = "admission-lane"
HOME, TENANTS_PLACE, STRANGE = f"{LANE}-home", f"{LANE}-tenant", f"{LANE}-strange"
MARK = {"auricle.dev/lane": "admission"}
OPERATOR = f"system:serviceaccount:{HOME}:auricle-operator"
SOMEBODY = f"{LANE}-somebody"


def of_this_lane(written: Manifest) -> Manifest:
    """As it is shipped, for an operator that lives in the lane's namespace (as admission.yaml says how), under a name of its own."""
    made: Manifest = json.loads(json.dumps(written).replace("auricle-system", HOME))
    if made["kind"] != "ServiceAccount":
        made["metadata"]["name"] = f"{LANE}-{made['metadata']['name']}"
    if "roleRef" in made:
        made["roleRef"]["name"] = f"{LANE}-{made['roleRef']['name']}"
    if made["kind"] == "ValidatingAdmissionPolicyBinding":
        by_the_operator = made["spec"]["policyName"].startswith("auricle-operator-")
        made["spec"]["policyName"] = f"{LANE}-{made['spec']['policyName']}"
        if not by_the_operator:
            made["spec"]["matchResources"] = {"objectSelector": {"matchLabels": MARK}}
    return made


def namespace(name: str, **labels: str) -> Manifest:
    enforced = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**MARK, **enforced, **labels}}}


def somebody() -> list[Manifest]:
    """A person with rights to the resources, who may read one Secret of the operator's. And as the operator kubectl may look at
    nodes, which it does before it patches one."""
    group = "rbac.authorization.k8s.io"

    def role(kind: str, name: str, namespace: str | None, rule: dict[str, Any], user: str = SOMEBODY) -> list[Manifest]:
        metadata = {"name": f"{LANE}-{name}", **({"namespace": namespace} if namespace else {})}
        return [
            {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "rules": [rule]},
            {
                "apiVersion": f"{group}/v1",
                "kind": f"{kind}Binding",
                "metadata": metadata,
                "roleRef": {"apiGroup": group, "kind": kind, "name": f"{LANE}-{name}"},
                "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
            },
        ]

    kinds = {"apiGroups": ["auricle.dev"], "resources": ["managedsecrets", "modelcaches"], "verbs": ["*"]}
    secret = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["readable"], "verbs": ["get"]}
    nodes = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}
    return [
        *role("ClusterRole", "kinds", None, kinds),
        *role("Role", "secret", HOME, secret),
        *role("ClusterRole", "nodes", None, nodes, OPERATOR),
    ]


def thing(kind: str, namespace: str) -> Manifest:
    metadata = {"name": LANE, "namespace": namespace}
    if kind == "job":
        pod = {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "none", "image": "dev.local/none:1"}],
        }
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": pod}}}
    return {"apiVersion": "v1", "kind": {"secret": "Secret", "configmap": "ConfigMap"}[kind], "metadata": metadata}


def volume(keeper: str) -> Manifest:
    chosen = [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["none"]}]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": LANE, "labels": {"app.kubernetes.io/managed-by": keeper}},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadOnlyMany"],
            "local": {"path": "/var/lib/auricle/models"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": chosen}]}},
        },
    }

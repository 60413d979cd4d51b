"""What an operator needs in a cluster before anybody applies a tenant: kinds, rights, rules, plans, a release."""

from __future__ import annotations

from typing import Any

import yaml

from auricle.deploy.generated import MANIFESTS
from auricle.deploy.release import config_map, release
from auricle_operator.tenants.plans import KEY
from cluster.deployment import apply, images, kubectl
from cluster.operator.servers import Servers

SYSTEM = "auricle-system"
EXCHANGE = {
    "database": {"overlap": "20s"},
    "bucket": {"overlap": "30s", "longestUrl": "30s"},
    "owner": {"overlap": "20s"},
    "signing": {"overlap": "20s"},
}
"""Short enough to see an old credential end."""


def prepared(servers: Servers) -> None:
    """Apply all of it, and the plans of this lane: `lane` (a Service per function) and `lane-small` (one per image)."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}  # jobs of models run here
    given = yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM, "labels": restricted}})
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=given)
    for path in sorted((MANIFESTS / "base/operator/crds").glob("*.yaml")):
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(path))
    for name in ("role.yaml", "admission.yaml"):
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(MANIFESTS / "base/operator" / name))
    for path in sorted((MANIFESTS / "base/operator/plans").glob("*.yaml")):
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(path))
    apply(lane_plan("lane", "standard", servers), lane_plan("lane-small", "small", servers), this_release())


def lane_plan(name: str, like: str, servers: Servers) -> dict[str, Any]:
    """A shipped plan with short overlaps, whose browsers reach the store directly."""
    shipped = yaml.safe_load((MANIFESTS / f"base/operator/plans/{like}.yaml").read_text())
    said = {**yaml.safe_load(shipped["data"][KEY]), "exchange": EXCHANGE, "settings": {"BLOBS_PUBLIC_URL": servers.store.url}}
    labels = {**shipped["metadata"]["labels"], "auricle.dev/plan": name}
    return {
        **shipped,
        "metadata": {"name": f"plan-{name}", "namespace": SYSTEM, "labels": labels},
        "data": {KEY: yaml.safe_dump(said)},
    }


def this_release(name: str = "lane") -> dict[str, Any]:
    """The code of this tree with the images that were built last. A release is immutable: another one is another name."""
    built = {row["name"].removeprefix("auricle-"): f"{row['newName']}:{row['newTag']}" for row in images()}
    made = config_map(release(name, built, MANIFESTS), SYSTEM)
    kubectl("-n", SYSTEM, "delete", "configmap", made["metadata"]["name"], "--ignore-not-found")
    return made

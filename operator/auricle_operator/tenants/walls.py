"""What of a tenant's namespace may reach the servers that tenants share.

Everything else is closed by the release's own policies (manifests/base/policies): nobody reaches anybody unless one says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from auricle.contract.choices import Image
from auricle.deploy.render import Manifest, labels

WITH_DATABASE = [Image.API.value, Image.IDENTITY.value, Image.MEDIA.value]


def walls(system: str, jobs: Iterable[str]) -> list[Manifest]:
    """Ways out to `system`, the operator's namespace: to its database (or pooler) and to its object store."""
    functions = {"matchExpressions": [{"key": "auricle.dev/image", "operator": "In", "values": WITH_DATABASE}]}
    everybody = {"matchExpressions": [{"key": "auricle.dev/function", "operator": "Exists"}]}
    work = {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": sorted(jobs)}]}
    return [
        _way_out("to-database-from-functions", functions, system, ["postgres", "pgbouncer"], [5432, 6432]),
        _way_out("to-database-from-jobs", work, system, ["postgres", "pgbouncer"], [5432, 6432]),
        _way_out("to-object-store", everybody, system, ["object-store"], [9000]),
    ]


def _way_out(name: str, who: dict[str, Any], system: str, servers: list[str], ports: list[int]) -> Manifest:
    there = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": system}},
        "podSelector": {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": servers}]},
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": labels(name)},
        "spec": {
            "podSelector": who,
            "policyTypes": ["Egress"],
            "egress": [{"to": [there], "ports": [{"port": port, "protocol": "TCP"} for port in ports]}],
        },
    }

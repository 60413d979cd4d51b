"""What of a tenant's namespace may reach the servers that tenants share.

Everything else is closed by the release's own policies (manifests/base/policies): nobody reaches anybody unless one says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from auricle.contract.choices import Image
from auricle.deploy.render import Manifest, labels
from auricle_operator.settings import Settings

WITH_DATABASE = [Image.API.value, Image.IDENTITY.value, Image.MEDIA.value]
ANYWHERE = [
    # Policies know no names. Never what a cloud tells its machines of themselves.
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::/32"]}},
]
PORTS = {"http": 80, "https": 443}


def walls(settings: Settings, jobs: Iterable[str]) -> list[Manifest]:
    """Ways out to the database server (or pooler) and to the object store that `settings` name, wherever those are."""
    functions = {"matchExpressions": [{"key": "auricle.dev/image", "operator": "In", "values": WITH_DATABASE}]}
    everybody = {"matchExpressions": [{"key": "auricle.dev/function", "operator": "Exists"}]}
    work = {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": sorted(jobs)}]}
    hosts = [f"//{host}" for host in (settings.database_host, settings.pooler_host) if host]
    databases = [_way(host, settings.namespace) for host in hosts]
    store = [_way(settings.store_endpoint, settings.namespace)]
    return [
        _policy("to-database-from-functions", functions, databases),
        _policy("to-database-from-jobs", work, databases),
        _policy("to-object-store", everybody, store),
    ]


def _way(url: str, system: str) -> dict[str, Any]:
    """One rule of a policy: to the server of `url`, whose host is a Service of this cluster, an address, or a name outside."""
    said = urlsplit(url)
    host, port = said.hostname or "", said.port or PORTS.get(said.scheme, 5432)
    service, _, rest = host.partition(".")
    namespace, _, domain = rest.partition(".")
    if domain == "svc" or domain.startswith("svc."):
        there: dict[str, Any] = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
        if namespace != system:
            # Somebody else's Service: which pods are behind it, and at which port of theirs, is not known here.
            return {"to": [there]}
        return _at([{**there, "podSelector": {"matchLabels": {"app.kubernetes.io/name": service}}}], port)
    try:
        address = ip_address(host)
    except ValueError:
        return _at(ANYWHERE, port)
    return _at([{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}], port)


def _at(peers: list[dict[str, Any]], port: int) -> dict[str, Any]:
    return {"to": peers, "ports": [{"port": port, "protocol": "TCP"}]}


def _policy(name: str, who: dict[str, Any], ways: list[dict[str, Any]]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": labels(name)},
        "spec": {"podSelector": who, "policyTypes": ["Egress"], "egress": ways},
    }

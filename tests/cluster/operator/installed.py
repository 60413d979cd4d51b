"""Overlay `tenants` on the real cluster, as an administrator installs it: the operator as a pod, the servers that tenants share,
one gateway. And its people, who come by that gateway alone."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
import urllib3

from auricle.cli.client import Server
from cluster.deployment import Deployment, Refused, auricle, fresh_folder, images, kubectl, objects, until, until_none
from cluster.operator.running import let_go

SYSTEM = "auricle-system"
ADDRESS = "10.96.77.78"
"""Of the gateway. Not that of the lane's other deployment."""
DOMAIN = "vault.test"
"""Tenants' hosts are beneath it; the gateway's certificate is for all of them."""
PASSWORD = "Brass lantern over 4 quiet waters"
SHORTEST = 8
"""A secret's value of fewer characters is in every text."""
SMALL = {"requests": {"cpu": "20m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}


@dataclass
class Platform(Deployment):
    """The operator's namespace with everything in it."""

    address: str = ADDRESS
    overlay: str = "tenants"
    patches: Sequence[dict[str, Any]] = (
        {
            "target": {"kind": "StatefulSet", "name": "postgres"},
            "patch": json.dumps([{"op": "replace", "path": "/spec/template/spec/containers/0/resources", "value": SMALL}]),
        },
    )

    def up(self) -> None:
        """Apply the overlay from nothing, and wait until its pods are there."""
        self._folder()
        kubectl("apply", "-f", "-", given=f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {self.namespace}}}\n")
        self._volumes()
        self._gateway_certificate()
        self._apply()
        self.wait_ready()
        self._state.write_text(json.dumps({"token": "", **dataclasses.asdict(self.certificate)}))

    def owner(self, tenant: str, host: str) -> Server:
        """Of a vault, made at the first call: KEEP=1 takes it up again."""
        kept = self.folder / f"{tenant}.token"
        if not kept.exists():
            kept.write_text(first_owner(tenant, host))
        return Server(f"https://{host}", kept.read_text())

    def wait_ready(self, seconds: float = 300) -> None:
        """Everything that is a pod here is Ready."""
        until_none("workloads that are not there yet", self._unavailable, seconds)

    def update(self) -> None:
        """Apply it as it is described now."""
        self._folder()
        self._apply()

    def unavailable(self) -> list[str]:
        """Workloads that have not all of their pods."""
        return self._unavailable()

    def release(self, name: str) -> None:
        """Apply this code as a release, with the images that were built last."""
        built = [f"{i['name'].removeprefix('auricle-')}={i['newName']}:{i['newTag']}" for i in images()]
        words = [word for image in built for word in ("--image", image)]
        made = auricle("manifests", "release", name, *words)
        self.kubectl("delete", "configmap", f"release-{name}", "--ignore-not-found")  # it is immutable
        kubectl("apply", "--server-side", "-f", "-", given=made)

    def down(self) -> None:
        """Tenants first, while there is an operator: then nothing of them is left. Definitions and admission policies stay."""
        names = [item["metadata"]["name"] for item in objects("tenants")]
        for name in names:
            kubectl("patch", "tenant", name, "--type=merge", "-p", json.dumps({"spec": {"deletionPolicy": "delete"}}))
        let_go(*names)
        try:
            until_none("tenants that are still there", lambda: [i["metadata"]["name"] for i in objects("tenants")], 300)
        finally:
            super().down()  # an operator that stayed would be a second one in the suites that follow

    def pod(self, name: str) -> dict[str, Any]:
        """The one running pod of a workload."""
        found = [p for p in self.pods(f"app.kubernetes.io/name={name}") if "deletionTimestamp" not in p["metadata"]]
        assert len(found) == 1, [p["metadata"]["name"] for p in found]
        return found[0]

    def logs(self, name: str) -> str:
        """All that the pods of a workload have written."""
        pods = self.pods(f"app.kubernetes.io/name={name}")
        return "".join(self.kubectl("logs", p["metadata"]["name"], "--all-containers") for p in pods)


def installed() -> Platform:
    """Not yet applied."""
    from cluster.deployment import certificate_for

    return Platform(namespace=SYSTEM, folder=fresh_folder(SYSTEM), certificate=certificate_for(f"*.{DOMAIN}", ADDRESS))


@contextmanager
def names_lead_to(platform: Platform) -> Iterator[None]:
    """In this process every name beneath `DOMAIN` is the gateway's address, whose authority is trusted."""
    real = socket.getaddrinfo

    def found(host: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return real(platform.address if isinstance(name, str) and name.endswith(f".{DOMAIN}") else host, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", found)
        patch.setenv("SSL_CERT_FILE", str(platform.authority))
        yield


def asked(host: str, path: str, method: str = "GET", **headers: str) -> urllib3.BaseHTTPResponse:
    """One request to the gateway under a host's name, whatever its answer."""
    with urllib3.PoolManager(ca_certs=os.environ["SSL_CERT_FILE"], retries=False, timeout=90) as pool:
        return pool.request(method, f"https://{host}{path}", headers=headers, redirect=False)


def first_owner(tenant: str, host: str) -> str:
    """Whoever has the setup code makes themselves the owner, and a personal token, which is returned."""
    code = auricle("tenants", "setup-code", tenant).strip()
    said = {"code": code, "email": f"ada@{host}", "display_name": "Ada", "password": PASSWORD}
    session = Server(f"https://{host}", "").call("POST", "/api/setup", said)
    made = Server(f"https://{host}", session["access_token"]).call("POST", "/api/tokens", {"name": "lane"})
    return str(made["token"])


def secret_values(*namespaces: str) -> dict[str, str]:
    """Every secret of these namespaces: its value, and where it lies. Of what is written line by line, each line; of variables
    that are addresses with a password, the password."""
    found: dict[str, str] = {}
    for namespace in namespaces:
        for secret in objects("secrets", "-n", namespace):
            if secret["type"] == "kubernetes.io/tls":
                secret["data"].pop("tls.crt", None)  # shown to everybody
            for key, value in (secret.get("data") or {}).items():
                where = f"{namespace}/{secret['metadata']['name']}:{key}"
                found |= dict.fromkeys(_words(key, base64.b64decode(value).decode(errors="replace")), where)
    return found


def _words(key: str, value: str) -> Iterator[str]:
    if key in OPEN:
        return
    if "://" in value:
        password = urllib3.util.parse_url(value.strip()).auth
        value = (password or "").partition(":")[2]
    yield from (line.strip() for line in value.splitlines() if len(line.strip()) >= SHORTEST and not line.startswith("-----"))


OPEN = {"jwks.json", "S3_ACCESS_KEY_ID", "MINIO_ROOT_USER", "from"}
"""Keys of Secrets that are no secrets: public keys, names of accounts, whence a value was copied."""


def operator_at_work() -> bool:
    """Whether another operator has the namespace already."""
    for asked_for in (("namespace", SYSTEM), ("tenants",)):
        with suppress(Refused):
            if objects(*asked_for):
                return True
    return False


def tenant_phase(name: str) -> str:
    """One word."""
    return str(objects("tenant", name)[0].get("status", {}).get("phase"))


def wait_phase(name: str, phase: str, seconds: float = 300) -> None:
    """Until a tenant is so."""
    until(f"{name} is {phase}", lambda: tenant_phase(name) == phase, seconds, 1)

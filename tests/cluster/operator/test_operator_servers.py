"""The servers of the operator's lane are real, and pods reach them."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator

import pytest
from lightkube import KubeConfig

from auricle_operator.adapters.kubernetes import connected
from cluster.deployment import KUBECONFIG, kubectl, objects, until
from cluster.operator.servers import Servers

pytestmark = pytest.mark.cluster

PROBE = """
import os, urllib.request, pg8000.native
def login(password):
    host, port = os.environ["HOST"].split(":")
    return pg8000.native.Connection("postgres", host=host, port=int(port), password=password, ssl_context=False, timeout=10)
print("database", login(os.environ["PASSWORD"]).run("select count(*) from pg_available_extensions where name = 'vector'")[0][0])
try:
    login("wrong")
except pg8000.native.DatabaseError as error:
    print("refused", error.args[0]["C"])
print("store", urllib.request.urlopen(os.environ["STORE"] + "/minio/health/ready", timeout=10).status)
"""


@pytest.fixture
def namespace() -> Iterator[str]:
    """Of our own."""
    name = f"servers-{secrets.token_hex(4)}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def test_a_pod_reaches_them_and_needs_the_password(servers: Servers, namespace: str) -> None:
    there = [name for node in objects("nodes") for image in node["status"]["images"] for name in image["names"]]
    image = next(name for name in there if "/auricle-api:" in name)  # any that the node has: it brings pg8000
    variables = {"HOST": servers.database_host, "PASSWORD": servers.postgres.keys["postgres"], "STORE": servers.store.url}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "probe",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-c", PROBE],
                    "env": [{"name": name, "value": value} for name, value in variables.items()],
                }
            ],
        },
    }
    kubectl("apply", "-f", "-", given=json.dumps(pod))
    until(
        "the probe to end",
        lambda: kubectl("-n", namespace, "get", "pod", "probe", "-o", "jsonpath={.status.phase}") in ("Succeeded", "Failed"),
        60,
    )
    assert written(namespace, 10).splitlines() == ["database 1", "refused 28P01", "store 200"]
    assert written(namespace, 1) == "store 200\n"


def written(namespace: str, lines: int) -> str:
    """As the operator reads it."""

    async def read() -> str:
        cluster = connected(KubeConfig.from_file(KUBECONFIG))
        try:
            return await cluster.logs(namespace, "probe", "probe", lines)
        finally:
            await cluster.close()

    return asyncio.run(read())

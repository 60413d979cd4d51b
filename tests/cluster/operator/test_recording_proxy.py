"""The recorder stands between a client and the real API server without either noticing, and knows what was asked."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightkube import KubeConfig

from auricle.errors import Permanent
from auricle_operator.adapters.kubernetes import connected
from auricle_operator.cluster import CONFIG, NODE
from cluster.deployment import CLUSTER_HOME, kubectl
from cluster.operator.recording import Asked, Recorder, missing, recorder_of, unused

pytestmark = pytest.mark.cluster

RULES = [
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
]


@pytest.fixture
def account() -> Iterator[str]:
    """A ServiceAccount in a namespace of the same name, with RULES everywhere."""
    name = f"recorded-{secrets.token_hex(4)}"
    kubectl("create", "namespace", name)
    try:
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": RULES}
        kubectl("apply", "-f", "-", given=json.dumps(role))
        kubectl("-n", name, "create", "serviceaccount", name)
        kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount={name}:{name}")
        yield name
    finally:
        kubectl("delete", "clusterrolebinding,clusterrole", name, "--ignore-not-found")
        kubectl("delete", "namespace", name, "--wait=false")


def through(recorder: Recorder, folder: Path, *words: str) -> subprocess.Popen[str]:
    """kubectl by way of the recorder."""
    environment = {**os.environ, "KUBECONFIG": str(recorder.kubeconfig(folder / "kubeconfig"))}
    program = CLUSTER_HOME / "bin" / "kubectl"
    return subprocess.Popen(
        [str(program), *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_what_a_client_asks_for_is_written_down_and_done(account: str, tmp_path: Path) -> None:
    with recorder_of(account, account) as recorder:
        config = KubeConfig.from_file(recorder.kubeconfig(tmp_path / "kubeconfig"))
        said = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": account}, "data": {"k": "v"}}

        async def work() -> None:
            cluster = connected(config)
            await cluster.apply(said)
            await cluster.apply(said)
            assert "a" in [found["metadata"]["name"] for found in await cluster.list(CONFIG, account)]
            assert await cluster.get(CONFIG, "b", account) is None
            await cluster.delete(CONFIG, "a", account)
            with pytest.raises(Permanent, match=f"{account}.* cannot list resource .nodes."):
                await cluster.list(NODE)
            await cluster.close()

        asyncio.run(work())
    assert {str(each): count for each, count in recorder.recorded.items()} == {
        "patch configmaps": 2,
        "create configmaps": 1,
        "list configmaps": 1,
        "get configmaps": 1,
        "delete configmaps": 1,
        "list nodes": 1,
    }
    assert recorder.refused == {Asked("list", "", "nodes", namespaced=False): 1}
    assert unused(RULES, recorder.recorded) == [("", "configmaps", "watch"), ("", "pods/log", "get")]
    assert missing(RULES, recorder.recorded) == [("", "nodes", "list")]


def test_a_watch_goes_on_through_it(account: str, tmp_path: Path) -> None:
    with recorder_of(account, account) as recorder:
        kubectl("-n", account, "create", "configmap", "there-before")
        watching = through(recorder, tmp_path, "-n", account, "get", "configmaps", "--watch", "-o", "name")
        limit = threading.Timer(60, watching.kill)
        limit.start()
        try:
            assert watching.stdout is not None
            lines = iter(watching.stdout.readline, "")
            assert any("there-before" in line for line in lines)
            kubectl("-n", account, "create", "configmap", "made-later")
            assert any("made-later" in line for line in lines)
        finally:
            limit.cancel()
            watching.kill()
            watching.wait()
    assert Asked("watch", "", "configmaps") in recorder.recorded

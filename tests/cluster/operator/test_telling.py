"""What the real API server says, as people read it: events in `kubectl describe`, refusals in a condition."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
from lightkube import KubeConfig

from auricle.errors import AuricleError, Permanent
from auricle_operator.adapters.kubernetes import LightkubeCluster, connected
from auricle_operator.cluster import CONFIG, VOLUME, Manifest
from cluster.deployment import KUBECONFIG, kubectl, objects, until

pytestmark = pytest.mark.cluster

Found = TypeVar("Found")


@pytest.fixture
def namespace() -> Iterator[str]:
    """Of our own."""
    name = f"telling-{secrets.token_hex(4)}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def with_cluster(work: Callable[[LightkubeCluster], Awaitable[Found]]) -> Found:
    """Each time a new process, as far as the cluster can tell."""

    async def whole() -> Found:
        cluster = connected(KubeConfig.from_file(KUBECONFIG))
        try:
            return await work(cluster)
        finally:
            await cluster.close()

    return asyncio.run(whole())


def configmap(namespace: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": namespace}, "data": {}}


def test_events_are_seen_where_people_look_and_once(namespace: str) -> None:
    volume: Manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": namespace},
        "spec": {"capacity": {"storage": "1Mi"}, "accessModes": ["ReadOnlyMany"], "hostPath": {"path": "/nowhere"}},
    }

    async def tell(cluster: LightkubeCluster) -> None:
        for about in (await cluster.apply(volume), await cluster.apply(configmap(namespace))):
            await cluster.tell(about, "BucketFailed", "The store is away. Start it.", warning=True)
            await cluster.tell(about, "BucketFailed", "The store is away. Start it.", warning=True)

    try:
        with_cluster(tell)
        with_cluster(tell)
        for words in (("persistentvolume", namespace), ("configmap", "settings", "-n", namespace)):
            described = [line for line in kubectl("describe", *words).splitlines() if "BucketFailed" in line]
            assert len(described) == 1
            assert described[0].split()[0] == "Warning"
            assert "auricle-operator  The store is away. Start it." in described[0]
    finally:
        with_cluster(lambda cluster: cluster.delete(VOLUME, namespace))
        kubectl("-n", "default", "delete", "events", f"--field-selector=involvedObject.name={namespace}")


def test_refusals_are_the_servers_words_and_never_quote_a_secret(namespace: str) -> None:
    def refused(kind: str, version: str, **content: Any) -> str:
        said = {"apiVersion": version, "kind": kind, "metadata": {"name": "thing", "namespace": namespace}, **content}
        with pytest.raises(AuricleError) as raised:
            with_cluster(lambda cluster: cluster.apply(said))
        return f"{type(raised.value).__name__}: {raised.value}"

    webhook = refused("Trigger", "eventing.knative.dev/v1", spec={"broker": ""})
    assert webhook.startswith(f"Permanent: Trigger {namespace}/thing is refused: admission webhook")
    assert "spec.broker" in webhook
    assert '{"y":"z"}' in refused("ConfigMap", "v1", data={"x": {"y": "z"}})
    mistyped = refused("Secret", "v1", data={"x": {"hidden": "hidden"}})
    assert mistyped == f"Permanent: Secret {namespace}/thing is refused: status 500"
    assert "hidden" not in refused("Secret", "v1", data={"x": "hidden-and-no-base64"})


def test_a_quota_says_which_and_how_much(namespace: str) -> None:
    kubectl("-n", namespace, "create", "quota", "plan", "--hard=count/configmaps=0")
    until("the quota to count", lambda: objects("resourcequota", "plan", "-n", namespace)[0].get("status", {}).get("hard"), 30)
    with pytest.raises(Permanent, match=r"exceeded quota: plan, requested: count/configmaps=1"):
        with_cluster(lambda cluster: cluster.apply(configmap(namespace)))
    assert with_cluster(lambda cluster: cluster.get(CONFIG, "settings", namespace)) is None

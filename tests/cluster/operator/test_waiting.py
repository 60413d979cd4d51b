"""Waiting for conditions says what they were, and believes none that speak of an older generation."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from lightkube import KubeConfig

from auricle_operator.adapters.kubernetes import connected
from auricle_operator.cluster import BROKER
from cluster.deployment import KUBECONFIG, apply, kubectl
from cluster.operator.running import conditions, wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture
def namespace() -> Iterator[str]:
    """Of our own."""
    name = f"waiting-{secrets.token_hex(4)}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def said(namespace: str, generation: int, status: str) -> None:
    condition = {"type": "Ready", "status": status, "reason": "Tried", "message": "a test says so"}
    whole: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": [{**condition, "lastTransitionTime": "2026-11-01T00:00:00Z"}],
    }

    async def tell() -> None:
        cluster = connected(KubeConfig.from_file(KUBECONFIG))
        await cluster.status(BROKER, "quiet", namespace, whole)
        await cluster.close()

    asyncio.run(tell())


def test_conditions_are_waited_for_and_told(namespace: str) -> None:
    broker: dict[str, Any] = {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Broker",
        "metadata": {
            "name": "quiet",
            "namespace": namespace,
            "annotations": {"eventing.knative.dev/broker.class": "Nobodys"},
        },
    }
    assert conditions("broker", "quiet", namespace) == {}
    apply({**broker, "spec": {"delivery": {"retry": 1}}})
    said(namespace, 1, "False")
    assert wait_for("broker", "quiet", namespace=namespace, Ready="False")["Ready"]["reason"] == "Tried"
    with pytest.raises(AssertionError, match="Ready=False Tried: a test says so"):
        wait_for("broker", "quiet", namespace=namespace, seconds=1, Ready="True")
    said(namespace, 1, "True")
    wait_for("broker", "quiet", namespace=namespace, Ready="True")
    apply({**broker, "spec": {"delivery": {"retry": 2}}})
    assert conditions("broker", "quiet", namespace) == {}

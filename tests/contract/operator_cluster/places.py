"""API servers to try the operator's port on: one in memory, and the lane's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from lightkube import KubeConfig

from auricle_operator.adapters.kubernetes import LightkubeCluster, connected
from auricle_operator.cluster import Cluster, Kind
from builders.operator_cluster import MemoryCluster
from cluster.deployment import KUBECONFIG, kubectl

Found = TypeVar("Found")
Say = Callable[[Kind, str, str, dict[str, Any]], Awaitable[None]]


@dataclass
class Place:
    """An API server, a namespace of our own in it, and somebody else (`said`) who writes there by merge patches."""

    cluster: Cluster
    namespace: str
    said: Say

    async def eventually(self, look: Callable[[], Awaitable[Found]], true: Callable[[Found], bool]) -> Found:
        """What `look` finds once it is so; controllers do their part in their own time."""
        for _ in range(600):
            found = await look()
            if true(found):
                return found
            await asyncio.sleep(0.1)
        raise AssertionError(f"After a minute still: {found}")


@asynccontextmanager
async def real_cluster() -> AsyncIterator[LightkubeCluster]:
    """The lane's API server, as its administrator, until the block ends."""
    if not KUBECONFIG.exists():
        pytest.fail(f"There is no cluster ({KUBECONFIG} is missing). `make cluster` makes one.")
    cluster = connected(KubeConfig.from_file(KUBECONFIG))
    try:
        yield cluster
    finally:
        await cluster.close()


def memory_writer(memory: MemoryCluster) -> Say:
    """Somebody else, in memory: what they say is nothing that we said."""

    async def said(kind: Kind, name: str, namespace: str, patch: dict[str, Any]) -> None:
        await memory.merge(kind, name, namespace, patch)

    return said


async def kubectl_writer(kind: Kind, name: str, namespace: str, patch: dict[str, Any]) -> None:
    """Somebody else, with kubectl and a field manager of their own."""
    resource = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    words = ["-n", namespace, "patch", resource, name, "--type=merge", "--field-manager=somebody", "-p", json.dumps(patch)]
    await asyncio.to_thread(kubectl, *words)

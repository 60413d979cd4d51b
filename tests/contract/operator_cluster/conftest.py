"""The same place twice: an API server in memory, and the real one (marker `cluster`)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from auricle_operator.cluster import NAMESPACE
from builders.operator_cluster import MemoryCluster
from contract.operator_cluster.places import Place, kubectl_writer, memory_writer, real_cluster


@pytest.fixture
def anyio_backend() -> str:
    """The operator runs on asyncio."""
    return "asyncio"


@pytest.fixture(params=["memory", pytest.param("lightkube", marks=pytest.mark.cluster)])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """One per test."""
    namespace = f"contract-{secrets.token_hex(4)}"
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    if request.param == "memory":
        memory = MemoryCluster()
        memory.strict = False  # the suite asks for more than the operator does
        await memory.apply(made)
        yield Place(memory, namespace, memory_writer(memory))
        return
    async with real_cluster() as cluster:
        await cluster.apply(made)
        try:
            yield Place(cluster, namespace, kubectl_writer)
        finally:
            await cluster.delete(NAMESPACE, namespace)

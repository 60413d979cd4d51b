"""Model caches from kubectl to the disks of nodes: operator and jobs both real, the API server and nodes in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from auricle_gpu.manifest import content
from auricle_gpu.models import DEMO
from auricle_operator.api.conditions import stamp
from auricle_operator.cluster import MODELS, TENANTS, Manifest
from auricle_operator.models.reconcile import reconcile, teardown
from auricle_operator.outside import Databases, ObjectStores
from auricle_operator.settings import Settings
from auricle_operator.world import World
from builders.model_nodes import NAMESPACE, ModelNodes
from builders.model_store import ModelStore, listed, model_store
from builders.operator_cluster import MemoryCluster

VOICES = {path.name: path.read_bytes() for path in sorted((DEMO / "whisper-demo").iterdir()) if path.name != "tokenizer.json"}
START = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
class Lab:
    """Everything of one test. `wait` moves the time on."""

    cluster: MemoryCluster
    nodes: ModelNodes
    store: ModelStore
    world: World
    now: datetime = START

    def wait(self, **much: float) -> None:
        """Time goes by."""
        self.now += timedelta(**much)

    def cache(self, name: str = "whisper", *, files: dict[str, bytes] | None = None, **spec: Any) -> Manifest:
        """Somebody applies a ModelCache."""
        old = self.cluster.objects.get((MODELS.api_version, MODELS.name, "", name), {})
        named = [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in listed(files or VOICES)]
        manifest = {
            "apiVersion": MODELS.api_version,
            "kind": MODELS.name,
            "metadata": {"name": name, "creationTimestamp": old.get("metadata", {}).get("creationTimestamp", stamp(self.now))},
            "spec": {"model": name, "source": {"kind": "http", "uri": f"{self.store.url}/base"}, "files": named, **spec},
            **({"status": old["status"]} if "status" in old else {}),
        }
        return self.cluster.put(manifest)

    def tenant(self, name: str, *models: str) -> None:
        """Somebody applies a Tenant that asks for these models."""
        spec = {"models": list(models)}
        self.cluster.put({"apiVersion": TENANTS.api_version, "kind": TENANTS.name, "metadata": {"name": name}, "spec": spec})

    def turn(self, *names: str) -> float | None:
        """Every cache is reconciled once; the shortest delay."""
        delays = []
        for name in names or self.cluster.there(MODELS):
            delays.append(asyncio.run(reconcile(self.world, {"metadata": {"name": name}})))
        return min((d for d in delays if d is not None), default=None)

    def settle(self, most: int = 12) -> None:
        """Operator and nodes go on until nothing is to do; nobody sleeps."""
        for _ in range(most):
            self.turn()
            if not self.nodes.work():
                self.turn()
                return
            self.wait(seconds=1)
        raise AssertionError(f"does not come to rest: {self.nodes.ran}")

    def status(self, name: str = "whisper") -> dict[str, Any]:
        """As it was last written."""
        return cast("dict[str, Any]", self.cluster.at(MODELS, name)["status"])

    def condition(self, type: str = "Ready", name: str = "whisper") -> tuple[str, str, str]:
        """(status, reason, message)."""
        (found,) = (c for c in self.status(name)["conditions"] if c["type"] == type)
        return found["status"], found["reason"], found.get("message", "")

    def state(self, node: str = "gpu1", name: str = "whisper") -> str:
        """Of a copy on a node."""
        return str(self.status(name)["nodes"][node]["state"])


@contextmanager
def laboratory(home: Path) -> Iterator[Lab]:
    """One GPU node, nothing cached. `home` holds the nodes' disks."""
    with model_store(VOICES) as store:
        cluster = MemoryCluster()
        world = World(
            cluster=cluster,
            databases=cast("Databases", None),
            stores=cast("ObjectStores", None),
            settings=Settings(namespace=NAMESPACE),
            now=lambda: built.now,
        )
        built = Lab(cluster, ModelNodes(cluster, home), store, world)
        cluster.now = lambda: built.now
        cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        built.nodes.up("gpu1")
        yield built


def label(files: dict[str, bytes] | None = None, model: str = "whisper") -> str:
    """The label of a node that holds this content."""
    return f"models.auricle.dev/{content(model, listed(files or VOICES))[:12]}"


def weights(name: str) -> bytes:
    """Weights of another model, of the same size."""
    return name.encode().ljust(len(VOICES["model.bin"]), b".")


def delete(lab: Lab, name: str, **between: float) -> None:
    """Somebody deletes a cache, and its finalizer goes once nothing is left to do."""
    lab.cluster.at(MODELS, name)["metadata"]["deletionTimestamp"] = stamp(lab.now)
    for _ in range(12):
        if asyncio.run(teardown(lab.world, {"metadata": {"name": name}})) is None:
            lab.cluster.remove(MODELS, name)
            return
        lab.nodes.work()
        lab.wait(**(between or {"seconds": 1}))
    raise AssertionError(f"its finalizer stays: {lab.status(name)}")

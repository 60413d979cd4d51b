"""Speech models in a tenant's namespace: the nodes' folder (or the shared volume) that ModelCaches fill, read-only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from auricle.deploy.render import labels
from auricle.errors import Invalid
from auricle_operator.api.modelcache import ModelCacheSpec, StorageKind
from auricle_operator.cluster import Manifest

NOMINAL = "1Gi"
"""A size has to stand there; nothing is measured by it."""
SOURCES = frozenset({"nfs", "csi", "cephfs", "iscsi", "fc", "hostPath", "local"})
"""What a shared volume may lie on."""


def claim_of(caches: Iterable[Manifest], tenant: str) -> str:
    """The claim's name: another storage is another claim, because a claim cannot be changed."""
    said = sorted({_place(msgspec.convert(cache["spec"], ModelCacheSpec)) for cache in caches})
    if len(said) > 1:
        raise Invalid(
            f"The models of {tenant} lie on different storages ({' and '.join(where for _, where in said)}): "
            "give its ModelCaches the same spec.storage."
        )
    return f"models-{hashlib.sha256(repr(said).encode()).hexdigest()[:8]}"


def models_volume(caches: Sequence[Manifest], tenant: str, namespace: str, volumes: Sequence[Manifest]) -> list[Manifest]:
    """A PersistentVolume and the claim that is bound to it.

    Pods may run on all nodes of the caches' pool: one that has no model yet makes them wait and does not refuse them, so that a
    pool can grow from zero.
    """
    name = claim_of(caches, tenant)
    specs = [msgspec.convert(cache["spec"], ModelCacheSpec) for cache in caches]
    storage = specs[0].storage
    source = _node_folder(specs) if storage.kind is StorageKind.NODE else _shared(storage.claim, volumes)
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{name}", "labels": labels("models")},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "capacity": {"storage": NOMINAL},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name, "namespace": namespace},
            **source,
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace, "labels": labels("models")},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "volumeName": f"{namespace}-{name}",
            "resources": {"requests": {"storage": NOMINAL}},
        },
    }
    return [volume, claim]


def _place(spec: ModelCacheSpec) -> tuple[str, str]:
    storage = spec.storage
    return (storage.kind.value, storage.path if storage.kind is StorageKind.NODE else storage.claim)


def _node_folder(specs: Sequence[ModelCacheSpec]) -> dict[str, Any]:
    wanted = sorted({pair for spec in specs for pair in (spec.placement.node_selector or DEFAULT_POOL).items()})
    expressions = [{"key": key, "operator": "In", "values": [value]} for key, value in wanted]
    return {
        "local": {"path": specs[0].storage.path},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}},
    }


DEFAULT_POOL = {"nvidia.com/gpu.present": "true"}
"""The GPU pool's label (gpu-pool/nodepool)."""


def _shared(claim: str, volumes: Sequence[Manifest]) -> dict[str, Any]:
    """What the operator's claim is bound to, for reading."""
    for volume in volumes:
        if volume["spec"].get("claimRef", {}).get("name") == claim:
            said = volume["spec"]
            return {key: said[key] for key in (*sorted(SOURCES & set(said)), "nodeAffinity", "mountOptions") if key in said}
    raise Invalid(
        f"The claim {claim} of the operator's namespace is bound to no volume yet: make it, or correct spec.storage.claim."
    )

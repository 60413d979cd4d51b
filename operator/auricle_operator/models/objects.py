"""The objects of model caches: volumes of nodes with their claims, orders, jobs. Pure."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import Any

import msgspec

from auricle_gpu.caching import Order
from auricle_operator.api.modelcache import SourceKind, StorageKind
from auricle_operator.api.rules import API_VERSION
from auricle_operator.cluster import APPLIED, KEEPER, MANAGER, Manifest, digest, owned
from auricle_operator.models.observed import (
    ATTEMPT,
    CONTAINER,
    DIGEST,
    HOSTNAME,
    LABEL,
    NUMBER,
    PLACE,
    PURPOSE,
    Cache,
    Node,
    Purpose,
)
from auricle_operator.settings import Settings

OURS = {"app.kubernetes.io/name": "models", "app.kubernetes.io/part-of": "auricle", KEEPER: MANAGER}
"""Labels of all of it; network policies know the jobs' pods by the first one."""
USER = 65532
"""Whom our images run as, and to whose group the kubelet gives the volume."""
MODELS, DIRECTORY, ORDER, CREDENTIALS = "/models", "/directory", "/order", "/credentials"
KEPT_SECONDS = 3600
"""A finished job and its log can be looked at for so long."""
LONGEST_SECONDS = 24 * 3600


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a copy lies. `key`: in the status; `node` None: a claim that all nodes read."""

    key: str
    node: Node | None = None

    @property
    def up(self) -> bool:
        """Whether a job can run there."""
        return self.node is None or self.node.up


def short(*words: str) -> str:
    """A name for what `words` name together."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:10]


def volume_name(node: str, path: str) -> str:
    """Of a node's folder as a volume, and of its claim."""
    return f"auricle-models-{short(node, path)}"


def volumes(node: Node, path: str, settings: Settings) -> list[Manifest]:
    """A folder of a node, and the claim by which our jobs reach it. It belongs to no cache: all on the node share it."""
    name = volume_name(node.name, path)
    metadata = {"name": name, "labels": OURS, "annotations": {PLACE: node.name}}
    size = {"storage": "1Gi"}  # a folder has no size that Kubernetes would mind
    term = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [node.hostname]}]}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": metadata,
        "spec": {
            "capacity": size,
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": settings.namespace, "name": name},
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {**metadata, "namespace": settings.namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "volumeName": name,
            "resources": {"requests": size},
        },
    }
    return [marked(volume), marked(claim)]


def paths(cache: Cache) -> list[str]:
    """Folders of a node that the cache's jobs mount: the models', and the source's unless it lies inside."""
    storage, source = cache.spec.storage, cache.spec.source
    if storage.kind is StorageKind.CLAIM:
        return []
    apart = source.kind is SourceKind.DIRECTORY and not PurePosixPath(source.uri).is_relative_to(storage.path)
    return [storage.path, *([source.uri] if apart else [])]


def order(cache: Cache, settings: Settings) -> Manifest:
    """What the cache's jobs read: which model, and where from. Named after what it says, so that it never changes."""
    source = cache.spec.source
    s3 = source.kind is SourceKind.S3
    text = msgspec.json.encode(
        Order(
            model=cache.spec.model,
            kind=source.kind,
            uri=source.uri,
            revision=source.revision,
            endpoint=settings.store_endpoint if s3 else "",
            region=settings.store_region if s3 else "",
            files=cache.files,
        ),
        order="deterministic",
    ).decode()
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"model-order-{short(cache.name, text)}", "namespace": settings.namespace, "labels": OURS},
        "immutable": True,
        "data": {"order.json": text},
    }
    return marked(owned(manifest, owner(cache)))


def job(
    cache: Cache, place: Place, purpose: Purpose, content: str, number: int, attempt: int, settings: Settings, also: str = ""
) -> Manifest:
    """The `number`th job on that content there. `also`: another content that an eviction may take away."""
    name = f"model-{content[:12]}-{short(cache.storage, place.key)}-{number}"
    labels = {**OURS, DIGEST: content[:LABEL]}
    pod = _pod(cache, place, settings)
    container = pod["containers"][0]
    if purpose is Purpose.BRING:
        _bring(cache, place, settings, pod, container)
    else:
        digests = sorted({content, also} - {""})
        container["command"] = [*container["command"], "evict", MODELS, cache.spec.model, *digests]
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": settings.namespace,
            "labels": labels,
            "annotations": {
                PLACE: f"{cache.storage} {place.key}",
                PURPOSE: purpose.value,
                NUMBER: str(number),
                ATTEMPT: str(attempt),
            },
        },
        "spec": {
            "backoffLimit": 0,  # whether and when it is tried again is our decision
            "activeDeadlineSeconds": LONGEST_SECONDS,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    return owned(manifest, owner(cache))


def marked(manifest: Manifest) -> Manifest:
    """With the digest of what it says, so that the same is not applied again."""
    metadata = manifest["metadata"]
    return {
        **manifest,
        "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), APPLIED: digest(manifest)}},
    }


def owner(cache: Cache) -> Manifest:
    """As `owned` wants it."""
    return {"apiVersion": API_VERSION, "kind": "ModelCache", "metadata": cache.manifest["metadata"]}


def _pod(cache: Cache, place: Place, settings: Settings) -> dict[str, Any]:
    storage = cache.spec.storage
    claim = storage.claim if place.node is None else volume_name(place.node.name, storage.path)
    selector = dict(cache.spec.placement.node_selector) if place.node is None else {HOSTNAME: place.node.hostname}
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": selector,
        "tolerations": [_toleration(t) for t in cache.spec.placement.tolerations],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": settings.image,
                "command": ["python", "-m", "auricle_gpu.caching"],
                "env": [
                    {"name": "HOME", "value": "/tmp"},  # noqa: S108 - a volume of its own
                    {"name": "HF_HOME", "value": "/tmp/hub"},  # noqa: S108
                    {"name": "HF_HUB_OFFLINE", "value": "0"},
                    {"name": "HF_HUB_DISABLE_TELEMETRY", "value": "1"},
                ],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "models", "mountPath": MODELS}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
            }
        ],
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }


def _bring(cache: Cache, place: Place, settings: Settings, pod: dict[str, Any], container: dict[str, Any]) -> None:
    """What a fetch is given beyond the models' folder: its order, credentials, and the folder that it copies."""
    words = ["bring", MODELS, f"{ORDER}/order.json"]
    source = cache.spec.source

    def mount(name: str, path: str, volume: dict[str, Any]) -> None:
        pod["volumes"].append({"name": name, **volume})
        container["volumeMounts"].append({"name": name, "mountPath": path, "readOnly": True})

    mount("order", ORDER, {"configMap": {"name": order(cache, settings)["metadata"]["name"]}})
    if source.credentials:
        mount("credentials", CREDENTIALS, {"secret": {"secretName": source.credentials}})
        words += ["--credentials", CREDENTIALS]
    if source.kind is SourceKind.DIRECTORY:
        words += ["--directory", _inside(cache)]
        for path in paths(cache)[1:]:
            claim = volume_name(place.node.name if place.node else "", path)
            mount("directory", DIRECTORY, {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
    container["command"] = [*container["command"], *words]


def _inside(cache: Cache) -> str:
    """Where the source's folder is in the container: on the models' volume, or on its own."""
    storage, uri = cache.spec.storage, PurePosixPath(cache.spec.source.uri)
    if storage.kind is StorageKind.CLAIM:
        return str(PurePosixPath(MODELS, *uri.parts[1:]))
    if uri.is_relative_to(storage.path):
        return str(PurePosixPath(MODELS, uri.relative_to(storage.path)))
    return DIRECTORY


def _toleration(toleration: msgspec.Struct) -> dict[str, str]:
    said = {name: str(getattr(toleration, name)) for name in toleration.__struct_fields__}
    return {name: value for name, value in said.items() if value}

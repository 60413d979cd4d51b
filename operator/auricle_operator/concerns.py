"""Whom a change in the cluster concerns: which of our resources are looked at again because of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auricle_operator.api.managedsecret import State
from auricle_operator.cluster import (
    CONFIG,
    KSERVICE,
    MODELS,
    NODE,
    OWNER,
    SECRET,
    SECRETS,
    TENANT,
    TENANTS,
    Kind,
    Manifest,
    kind_of,
)
from auricle_operator.mirror import Mirror
from auricle_operator.secrets.objects import FAMILY
from auricle_operator.world import World

Key = tuple[Kind, str, str]
"""(kind, namespace or empty, name) of one resource of ours."""


def concerned(manifest: Manifest, mirror: Mirror, world: World) -> list[Key]:
    """Who looks again, now that `manifest` was made, changed or (then `mirror` has it no more) taken away."""
    kind, metadata = kind_of(manifest), manifest["metadata"]
    labels, name = metadata.get("labels", {}), metadata["name"]
    if kind is TENANTS:
        return [(TENANTS, "", name), *_caches_of(manifest, mirror)]
    if kind is MODELS:
        users = [t for t in mirror.all(TENANTS) if name in t["spec"].get("models", ())]
        return [(MODELS, "", name), *((TENANTS, "", t["metadata"]["name"]) for t in users)]
    if kind is NODE:
        return [*_all(TENANTS, mirror), *_all(MODELS, mirror)]
    if kind is CONFIG and TENANT not in labels:  # a plan, a release
        return _all(TENANTS, mirror)
    return [*_of_tenant(kind, manifest, mirror, world), *_of_model(labels)]


def offered(node: Manifest) -> Any:
    """What of a node anybody here decides by: labels, taints, devices, and whether it answers."""
    status = node.get("status", {})
    conditions = [(c["type"], c["status"]) for c in status.get("conditions", ())]
    return node["metadata"].get("labels"), node.get("spec"), status.get("allocatable"), conditions


def _all(kind: Kind, mirror: Mirror) -> list[Key]:
    return [(kind, "", m["metadata"]["name"]) for m in mirror.all(kind)]


def _of_tenant(kind: Kind, manifest: Manifest, mirror: Mirror, world: World) -> Iterator[Key]:
    """Things in a tenant's namespace, and what is kept of it in ours."""
    metadata = manifest["metadata"]
    labels = metadata.get("labels", {})
    if TENANT in labels:
        yield (TENANTS, "", labels[TENANT])
    if kind is SECRETS:
        yield (SECRETS, metadata["namespace"], metadata["name"])
    if kind in (SECRET, KSERVICE) and TENANT in labels:
        there = mirror.all(SECRETS, world.namespace(labels[TENANT]))
        yield from _keys(m for m in there if _minds(m, labels.get(FAMILY)))
    if kind is SECRET and metadata["namespace"] == world.settings.namespace:  # somebody else's, which is copied
        sources = ((m, m["spec"].get("source", {}).get("external") or {}) for m in mirror.all(SECRETS))
        yield from _keys(m for m, named in sources if named.get("name") == metadata["name"])


def _minds(secret: Manifest, family: str | None) -> bool:
    """Whether a ManagedSecret looks at a Secret of `family`, or (None) at a Service: only those do that are being exchanged."""
    if family is not None:
        return bool(secret["spec"]["secret"] == family)
    return bool(secret.get("status", {}).get("state") != State.STABLE.value)


def _keys(secrets: Iterator[Manifest]) -> Iterator[Key]:
    return ((SECRETS, m["metadata"]["namespace"], m["metadata"]["name"]) for m in secrets)


def _of_model(labels: dict[str, str]) -> list[Key]:
    owner, _, name = labels.get(OWNER, "").partition(".")
    return [(MODELS, "", name)] if owner == MODELS.name.lower() else []


def _caches_of(tenant: Manifest, mirror: Mirror) -> list[Key]:
    """The ModelCaches that a Tenant begins to use or ceases to; who goes on using one tells it nothing new."""
    name = tenant["metadata"]["name"]
    named = tenant["spec"].get("models", ()) if mirror.get(TENANTS, name) is not None else ()
    changed = [m for m in mirror.all(MODELS) if (m["metadata"]["name"] in named) != (name in _consumers(m))]
    return [(MODELS, "", m["metadata"]["name"]) for m in changed]


def _consumers(cache: Manifest) -> list[str]:
    return list(cache.get("status", {}).get("consumers", ()))

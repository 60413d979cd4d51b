"""A ModelCache's status in words and numbers, and what is worth an Event. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from auricle_operator.api.conditions import Finding, Truth, conditions, stamp
from auricle_operator.api.modelcache import (
    DOWNLOADED,
    READY,
    SPACE,
    Copies,
    Copy,
    ModelCacheStatus,
    NodeState,
    StorageKind,
)
from auricle_operator.models.observed import Cache

TOLD = {
    NodeState.READY: "Verified",
    NodeState.FAILED: "Failed",
    NodeState.EVICTED: "Evicted",
    NodeState.NODE_GONE: "NodeGone",
}
"""States that are worth an Event when a copy comes into them, and its reason."""


BACK = "It comes back when a tenant names it in spec.models, or when it is pinned."


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What the copies themselves do not say. `room`, `full`: sentences on what there is no room for; `resting`: since when
    nobody uses it; `lacks`: a Secret that is not there."""

    room: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    resting: datetime | None = None
    lacks: str = ""


def status(
    cache: Cache, nodes: Mapping[str, Copy], wanted: tuple[str, ...], findings: Findings, used: str | None, now: datetime
) -> ModelCacheStatus:
    """Of a cache whose copies are `nodes`; `wanted` names the places that count."""
    counted = [nodes[key] for key in wanted if key in nodes]
    available = sum(copy.state is NodeState.READY and copy.digest == cache.digest for copy in counted)
    failed = sum(copy.state is NodeState.FAILED for copy in counted)
    whole = cache.size * len(counted)
    done = sum(min(copy.bytes, cache.size) for copy in counted)
    copies = Copies(available=available, wanted=len(wanted), failed=failed)
    progress = 100 if available == len(counted) and counted else min(99, done * 100 // whole) if whole else 0
    found = _findings(cache, nodes, copies, progress, findings)
    return ModelCacheStatus(
        observed_generation=cache.generation,
        conditions=tuple(conditions(found, cache.status.conditions, cache.generation, now)),
        digest=cache.digest,
        size=cache.size,
        progress=progress,
        nodes=dict(nodes),
        copies=copies,
        consumers=cache.consumers,
        last_used=used,
    )


def refused(cache: Cache, rival: Cache, now: datetime) -> ModelCacheStatus:
    """Of a cache that finds its folder taken."""
    why = (
        f"The ModelCache {rival.name} keeps another content of the model {cache.spec.model} on the same storage. Change that "
        f"one instead, or give this one another model name or storage."
    )
    found = [Finding(type, Truth.FALSE, "NameTaken", why) for type in (READY, DOWNLOADED)]
    return ModelCacheStatus(
        observed_generation=cache.generation,
        conditions=tuple(conditions(found, cache.status.conditions, cache.generation, now)),
        size=cache.size,
        consumers=cache.consumers,
        last_used=cache.status.last_used,
    )


def news(cache: Cache, nodes: Mapping[str, Copy]) -> tuple[tuple[str, str, bool], ...]:
    """(reason, message, whether it is a warning) of what changed."""
    told: list[tuple[str, str, bool]] = []
    for key, copy in nodes.items():
        before = cache.status.nodes.get(key)
        if copy.state not in TOLD or (before is not None and before.state is copy.state):
            continue
        said = f"{cache.spec.model} is verified on {key}." if copy.state is NodeState.READY else f"{key}: {copy.error}"
        if copy.state is NodeState.EVICTED:
            said = f"{cache.spec.model} was taken away from {key}."
        told.append((TOLD[copy.state], said, copy.state in (NodeState.FAILED, NodeState.NODE_GONE)))
    return tuple(told)


def _findings(cache: Cache, nodes: Mapping[str, Copy], copies: Copies, progress: int, findings: Findings) -> list[Finding]:
    needed = cache.spec.placement.min_copies
    if cache.spec.storage.kind is StorageKind.CLAIM:
        needed = min(1, needed)  # one copy, which all nodes read
    trouble = _trouble(cache, nodes, copies, findings)
    so_far = f"{copies.available} of {copies.wanted} copies are verified, {progress} % of all bytes are there."
    reason, why = trouble or ("Downloading", so_far)
    ready = (
        Finding(READY, Truth.TRUE, "Ready", so_far if copies.available < copies.wanted else "")
        if copies.available >= needed and findings.resting is None
        else Finding(READY, Truth.FALSE, reason, why)
    )
    whole = copies.wanted == copies.available and copies.wanted > 0
    downloaded = Finding(DOWNLOADED, Truth.TRUE, "Downloaded") if whole else Finding(DOWNLOADED, Truth.FALSE, reason, why)
    tight = (*findings.full, *findings.room)
    space = (
        Finding(SPACE, Truth.FALSE, "DiskFull" if findings.full else "BudgetExceeded", tight[0])
        if tight
        else Finding(SPACE, Truth.TRUE, "Enough")
    )
    return [ready, downloaded, space]


def _trouble(cache: Cache, nodes: Mapping[str, Copy], copies: Copies, findings: Findings) -> tuple[str, str] | None:
    """The reason and the sentence that a person needs first."""
    if findings.lacks:
        namespace = "the operator's namespace"
        return "NoCredentials", f"There is no Secret {findings.lacks} in {namespace}: make it, or correct source.credentials."
    if findings.resting is not None:
        return (
            "Unused",
            f"No tenant has used it since {stamp(findings.resting)}. {BACK}",
        )
    if not copies.wanted:
        said = ",".join(f"{key}={value}" for key, value in sorted(cache.selector.items()))
        return "NoNodes", f"No node that is up has the labels {said}: label one, or change placement.nodeSelector."
    for state, reason in ((NodeState.FAILED, "Failed"), (NodeState.WAITING, "Waiting")):
        for key, copy in nodes.items():
            if copy.state is state and copy.error:
                return reason, f"{key}: {copy.error}"
    for key, copy in nodes.items():
        if copy.error:
            return "Waiting", f"{key}: {copy.error}"
    if any(copy.state is NodeState.EVICTED for copy in nodes.values()) and not copies.available:
        return (
            "Evicted",
            "It made room for models in use. It comes back when a tenant names it in spec.models, or when it is pinned.",
        )
    return None

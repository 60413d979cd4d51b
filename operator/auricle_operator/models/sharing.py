"""What caches have to do with each other: places, room on them, folders and files that several use. Pure."""

from __future__ import annotations

from datetime import datetime

from auricle_operator.api.modelcache import NodeState, StorageKind
from auricle_operator.api.quantities import amount, readable, span
from auricle_operator.models import objects
from auricle_operator.models.objects import Place
from auricle_operator.models.observed import Cache, Node, Seen
from auricle_operator.models.space import Claimant, Outcome, divided

AWAY = (NodeState.NODE_GONE, NodeState.EVICTED)


def places(cache: Cache, nodes: tuple[Node, ...]) -> list[Place]:
    """Where copies shall lie."""
    storage = cache.spec.storage
    if storage.kind is StorageKind.CLAIM:
        return [Place(key=f"claim:{storage.claim}")]
    return [Place(key=node.name, node=node) for node in cache.nodes(nodes)]


def taken_by(cache: Cache, others: tuple[Cache, ...]) -> Cache | None:
    """The older cache that keeps another content under the same name on the same storage: only one can."""
    rivals = [
        other
        for other in others
        if (other.storage, other.spec.model) == (cache.storage, cache.spec.model)
        and other.digest != cache.digest
        and (other.created, other.name) < (cache.created, cache.name)
    ]
    return min(rivals, key=lambda other: (other.created, other.name), default=None)


def rests(cache: Cache, now: datetime) -> datetime | None:
    """Since when it has been unused for too long; None while it shall be there."""
    after = cache.spec.retention.evict_after
    if after is None or cache.safe:
        return None
    last = cache.last_used(now)
    return last if now - last >= span(after) else None


def room(cache: Cache, place: Place, seen: Seen, now: datetime) -> Outcome:
    """How a place's budget (the smallest that a cache of the storage names) is divided among all its caches."""
    sharing = [c for c in (cache, *seen.others) if c.storage == cache.storage]
    budgets = [amount(c.spec.storage.budget) for c in sharing if c.spec.storage.budget]
    claimants = [claimant for c in sharing if (claimant := _claimant(c, place, seen.nodes, now)) is not None]
    return divided(min(budgets, default=None), claimants)


def needed(caches: tuple[Cache, ...], nodes: tuple[Node, ...]) -> set[tuple[str, str]]:
    """(node, path) of all volumes in use."""
    return {
        (node.name, path)
        for cache in caches
        for node in nodes
        if (node in cache.nodes(nodes) and not cache.leaving) or node.name in cache.status.nodes
        for path in objects.paths(cache)
    }


def holder(cache: Cache, place: Place, seen: Seen, now: datetime) -> Cache | None:
    """Another cache that keeps the same folder there, so that it stays. Of two that both go, the last by name takes it away."""
    for other in seen.others:
        same = (other.storage, other.spec.model) == (cache.storage, cache.spec.model) and not other.leaving
        if not same or not any(p.key == place.key for p in places(other, seen.nodes)):
            continue
        copy = other.status.nodes.get(place.key)
        evicted = copy is not None and copy.state is NodeState.EVICTED
        goes = rests(other, now) is not None or other.name in room(cache, place, seen, now).leaving
        if other.safe or (not evicted and (not goes or other.name > cache.name)):
            return other
    return None


def present(cache: Cache, key: str) -> bool:
    """Whether bytes of it are there, or about to be."""
    copy = cache.status.nodes.get(key)
    return copy is not None and (bool(copy.digest) or copy.state not in (NodeState.WAITING, *AWAY))


def _claimant(cache: Cache, place: Place, nodes: tuple[Node, ...], now: datetime) -> Claimant | None:
    there = present(cache, place.key)
    copy = cache.status.nodes.get(place.key)
    meant = any(p.key == place.key for p in places(cache, nodes)) and not cache.leaving
    asleep = copy is not None and copy.state is NodeState.EVICTED and not cache.safe and cache.status.digest == cache.digest
    if not there and (not meant or asleep or rests(cache, now) is not None):
        return None
    return Claimant(
        name=cache.name,
        files={file.sha256: file.size for file in cache.spec.files},
        safe=cache.safe,
        present=there,
        last_used=cache.last_used(now),
    )


def why_no_room(cache: Cache, place: Place, seen: Seen, outcome: Outcome) -> str:
    """What a person can do about it."""

    def why(other: Cache) -> str:
        return "pinned" if other.spec.pinned else ", ".join(other.consumers) or "used later"

    staying = sorted(
        f"{other.name} ({readable(other.size)}, {why(other)})"
        for other in seen.others
        if other.name in outcome.kept and other.storage == cache.storage
    )
    budgets = [c.spec.storage.budget for c in (cache, *seen.others) if c.storage == cache.storage and c.spec.storage.budget]
    budget = min((b for b in budgets if b), key=amount)
    there = f" There stay: {'; '.join(staying)}." if staying else ""
    return (
        f"{place.key} has {budget} for models, {readable(outcome.taken)} of it are taken and {cache.name} needs "
        f"{readable(cache.size)}.{there} Raise storage.budget, unpin a model, or take one out of its tenants' spec.models."
    )

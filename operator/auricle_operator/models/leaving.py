"""What is left to do when a ModelCache is deleted, and what stays. Pure."""

from __future__ import annotations

from datetime import datetime

import msgspec

from auricle_operator.api.conditions import Finding, Truth, conditions
from auricle_operator.api.modelcache import READY, Copy, NodeState
from auricle_operator.cluster import JOB, Kind, Manifest
from auricle_operator.models import copies, nodelabels, objects
from auricle_operator.models.desired import LOOK_AGAIN, Plan, numbered, since, unneeded
from auricle_operator.models.objects import Place
from auricle_operator.models.observed import Cache, Progress, Purpose, Seen
from auricle_operator.models.sharing import holder, needed, places
from auricle_operator.settings import Settings

TRIES = 3
"""A folder that cannot be taken away holds up nobody for ever: after so many tries it stays, and people are told."""


def leaving(cache: Cache, seen: Seen, settings: Settings, now: datetime) -> Plan:
    """The next step; `delay` None when nothing is left to do."""
    nodes: dict[str, Copy] = {}
    jobs: list[Manifest] = []
    stopped: list[tuple[Kind, str]] = []
    stays: list[str] = []
    staying: dict[str, Copy] = {}  # spoken of until the end, so that people are told then
    by_key = {place.key: place for place in places(cache, seen.nodes)}
    known = {node.name: node for node in seen.nodes}
    for key, before in sorted(cache.status.nodes.items()):
        place = by_key.get(key) or Place(key=key, node=known.get(key))
        why = _stays(cache, place, before, seen, now)
        if why is not None:
            if why:
                staying[key] = before
                stays.append(f"The folder {cache.spec.model} stays on {key}: {why}")
            continue
        move = copies.evicted(before, seen.newest(cache.digest, f"{cache.storage} {key}"), now)
        if move.copy.state is NodeState.EVICTED:
            continue
        nodes[key] = since(move.copy, before, now)
        stopped.extend([(JOB, move.stop.name)] if move.stop else [])
        if move.start is not None:
            number = numbered(cache, place, seen)
            jobs.append(objects.job(cache, place, move.start, cache.digest, number, move.attempt, settings, before.digest))
    done = not nodes
    found = [Finding(READY, Truth.FALSE, "Deleting", f"It is being taken away from {', '.join(nodes)}.")]
    status = msgspec.structs.replace(
        cache.status,
        nodes={**staying, **nodes},
        conditions=tuple(conditions(found, cache.status.conditions, cache.generation, now)),
    )
    return Plan(
        labels=nodelabels.changes(cache, seen, nodes),
        delete=tuple(unneeded(seen, needed(seen.others, seen.nodes))) if done else tuple(stopped),
        apply=() if done else tuple(m for place in by_key.values() for m in _volumes(cache, place, nodes, settings)),
        jobs=tuple(jobs),
        status=status,
        tell=tuple(("FolderStays", said, True) for said in stays) if done else (),
        delay=None if done else LOOK_AGAIN,
    )


def _stays(cache: Cache, place: Place, before: Copy, seen: Seen, now: datetime) -> str | None:
    """Why nothing is taken away there; empty when there is nothing to say of it, None when it goes."""
    other = holder(cache, place, seen, now)
    if other is not None:
        return f"the ModelCache {other.name} keeps it."
    claim = place.key.startswith("claim:")
    if not claim and (place.node is None or not place.node.up):
        nothing = before.state in (NodeState.WAITING, NodeState.EVICTED) and not before.digest
        return "" if nothing else "the node is away. Delete it by hand, should it come back."
    job = seen.newest(cache.digest, f"{cache.storage} {place.key}")
    failed = job is not None and job.purpose is Purpose.EVICT and job.progress is Progress.FAILED
    if job is not None and failed and job.attempt >= TRIES:
        return f"it could not be deleted ({job.message or 'its job failed'}). Delete it by hand."
    return None


def _volumes(cache: Cache, place: Place, nodes: dict[str, Copy], settings: Settings) -> list[Manifest]:
    """Its jobs reach the folder by these."""
    if place.node is None or place.key not in nodes:
        return []
    return objects.volumes(place.node, cache.spec.storage.path, settings)

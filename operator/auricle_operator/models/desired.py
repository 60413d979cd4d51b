"""From what is seen to what shall be: objects, labels of nodes, evictions and the status of one ModelCache. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from auricle_operator.api.conditions import moment, stamp
from auricle_operator.api.modelcache import Copy, ModelCacheStatus, NodeState
from auricle_operator.api.quantities import span
from auricle_operator.cluster import CLAIM, CONFIG, JOB, OWNER, VOLUME, Kind, Manifest, kind_of, owner_label
from auricle_operator.models import copies, nodelabels, objects, report
from auricle_operator.models.copies import Move
from auricle_operator.models.objects import Place
from auricle_operator.models.observed import Cache, Node, Purpose, Seen
from auricle_operator.models.sharing import holder, needed, places, present, rests, room, taken_by, why_no_room
from auricle_operator.models.space import Outcome
from auricle_operator.settings import Settings

LOOK_AGAIN = 10.0
"""Seconds between looks at a job's progress."""
FORGET = timedelta(days=7)
"""A node that was away so long is not spoken of any more."""
USED_EVERY = timedelta(minutes=10)
"""The time of the last use is written down so often, not with each look."""
LOOK_LATER = 60.0
"""Seconds between looks at what a person, or another cache, has to change."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to bring about, in this order. `labels`: (node, label, whether it shall be there). `stop`: jobs of another content;
    until its own are there, these say that folders may have changed."""

    labels: tuple[tuple[str, str, bool], ...] = ()
    delete: tuple[tuple[Kind, str], ...] = ()
    apply: tuple[Manifest, ...] = ()
    jobs: tuple[Manifest, ...] = ()
    stop: tuple[str, ...] = ()
    status: ModelCacheStatus = ModelCacheStatus()
    tell: tuple[tuple[str, str, bool], ...] = ()
    delay: float | None = None


class Here(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided for one place. `room`: why there is none, or what has to leave first."""

    place: Place
    move: Move
    others: tuple[Manifest, ...] = ()
    room: str = ""


def desired(cache: Cache, seen: Seen, settings: Settings, now: datetime) -> Plan:
    """Of a cache that shall be."""
    used = _last_used(cache, now)
    rival = taken_by(cache, seen.others)
    if rival is not None:
        mine = [(JOB, job.name) for job in seen.jobs if job.owner == cache.name and job.active]
        return Plan(status=report.refused(cache, rival, now), delete=tuple(mine), delay=LOOK_LATER)
    resting = rests(cache, now)
    found: dict[str, Here] = {}
    for place in places(cache, seen.nodes):
        found[place.key] = _here(cache, place, seen, settings, resting, now)
    for place, before in _elsewhere(cache, seen.nodes, found):
        left = _elsewhere_now(cache, place, before, seen, now)
        if left is not None:
            found[place.key] = Here(place=place, move=left)
    nodes = {key: since(here.move.copy, cache.status.nodes.get(key), now) for key, here in sorted(found.items())}
    wanted = tuple(place.key for place in places(cache, seen.nodes) if place.up)
    status = report.status(
        cache,
        nodes,
        wanted,
        report.Findings(
            room=tuple(here.room for here in found.values() if here.room),
            full=tuple(here.move.copy.error for here in found.values() if here.move.full),
            resting=resting,
            lacks=seen.lacks,
        ),
        used,
        now,
    )
    return Plan(
        labels=nodelabels.changes(cache, seen, nodes),
        delete=(*((JOB, here.move.stop.name) for here in found.values() if here.move.stop), *_unneeded(cache, seen, settings)),
        apply=tuple(_made(cache, seen, settings)),
        jobs=tuple(_jobs(cache, found, seen, settings)),
        stop=tuple(job.name for job in seen.of_another_content(cache) if job.active),
        status=status,
        tell=report.news(cache, nodes),
        delay=_delay(cache, nodes, bool(_started(found)), now),
    )


def since(copy: Copy, before: Copy | None, now: datetime) -> Copy:
    """With the time at which it came into its state."""
    same = before is not None and before.state is copy.state and before.since is not None
    return replace(copy, since=before.since if same and before else stamp(now))


def numbered(cache: Cache, place: Place, seen: Seen) -> int:
    """Of the next job there. Whoever counts anew after a crash comes to the same number, and so to the same name."""
    job = seen.newest(cache.digest, f"{cache.storage} {place.key}")
    return job.number + 1 if job else 1


def unneeded(seen: Seen, keep: set[tuple[str, str]]) -> Iterator[tuple[Kind, str]]:
    """Volumes of nodes, and their claims, that nobody needs: claims first, for they hold the volumes."""
    ours = [m for m in seen.made if kind_of(m) in (CLAIM, VOLUME)]
    names = {objects.volume_name(node, path) for node, path in keep}
    for manifest in sorted(ours, key=lambda m: kind_of(m) is VOLUME):
        lost = manifest.get("status", {}).get("phase") in ("Released", "Failed", "Lost")
        if manifest["metadata"]["name"] not in names or lost:  # neither finds a partner again: they are made anew
            yield kind_of(manifest), manifest["metadata"]["name"]


def _here(cache: Cache, place: Place, seen: Seen, settings: Settings, resting: datetime | None, now: datetime) -> Here:
    """One place that the cache is meant for."""
    where = f"{cache.storage} {place.key}"
    before, job = _before(cache, place.key, seen, where), seen.newest(cache.digest, where)
    if job is not None and not job.active and seen.another_since(cache, where, job.begun):
        job = None
    if not place.up:
        return Here(place=place, move=Move(copy=copies.gone(before or Copy(state=NodeState.WAITING), place.key)))
    asleep = before is not None and before.state is NodeState.EVICTED and not cache.safe
    if resting is not None or (asleep and cache.status.digest == cache.digest):
        return Here(place=place, move=_leaves(cache, place, before, seen, now))
    if seen.lacks:
        return Here(place=place, move=Move(copy=_held(before, f"The Secret {seen.lacks} is not there.")))
    outcome = room(cache, place, seen, now)
    if cache.name in outcome.leaving:
        return Here(place=place, move=_leaves(cache, place, before, seen, now))
    if cache.name in outcome.waiting:
        why = why_no_room(cache, place, seen, outcome)
        return Here(place=place, move=Move(copy=_held(before, why)), room=why)
    if outcome.leaving and not present(cache, place.key):
        why = f"It waits until {', '.join(sorted(outcome.leaving))} has left {place.key}."
        others = tuple(_make_room(outcome, place, seen, settings, now))
        return Here(place=place, move=Move(copy=_held(before, why)), others=others)
    return Here(place=place, move=copies.brought(before, cache.digest, cache.size, job, now))


def _before(cache: Cache, key: str, seen: Seen, where: str) -> Copy | None:
    """What was known of a copy, and still is; tries at another content do not count."""
    before = cache.status.nodes.get(key)
    if before is None or before.state is NodeState.NODE_GONE:
        return before
    if before.digest == cache.digest and before.verified_at and seen.another_since(cache, where, moment(before.verified_at)):
        return Copy(state=NodeState.WAITING)
    if cache.status.digest in ("", cache.digest):
        return before
    return Copy(state=NodeState.WAITING, digest=before.digest, verified_at=before.verified_at)


def _held(before: Copy | None, why: str) -> Copy:
    """Nothing is begun, and the reason."""
    if before is not None and before.state is NodeState.READY:
        return before
    return Copy(state=NodeState.WAITING, digest=before.digest if before else "", error=why)


def _elsewhere(cache: Cache, nodes: tuple[Node, ...], found: Mapping[str, Here]) -> Iterator[tuple[Place, Copy]]:
    """Copies at places that it is not meant for (any more), or that are away."""
    known = {node.name: node for node in nodes}
    for key, before in cache.status.nodes.items():
        if key not in found and not key.startswith("claim:"):
            yield Place(key=key, node=known.get(key)), before


def _elsewhere_now(cache: Cache, place: Place, before: Copy, seen: Seen, now: datetime) -> Move | None:
    """None once it is not spoken of any more."""
    if place.node is None or not place.node.up:
        nothing_there = not before.digest and before.state in (NodeState.WAITING, NodeState.EVICTED)
        long_ago = before.state is NodeState.NODE_GONE and before.since and now - moment(before.since) >= FORGET
        return None if nothing_there or long_ago else Move(copy=copies.gone(before, place.key))
    move = _leaves(cache, place, before, seen, now)
    return None if move.copy.state is NodeState.EVICTED else move


def _leaves(cache: Cache, place: Place, before: Copy | None, seen: Seen, now: datetime) -> Move:
    """Towards nothing left there; a folder that another cache keeps stays."""
    if holder(cache, place, seen, now) is not None:
        return Move(copy=Copy(state=NodeState.EVICTED))
    return copies.evicted(before, seen.newest(cache.digest, f"{cache.storage} {place.key}"), now)


def _make_room(outcome: Outcome, place: Place, seen: Seen, settings: Settings, now: datetime) -> Iterator[Manifest]:
    """Evictions of others that have to leave before this one may come."""
    for other in seen.others:
        if other.name not in outcome.leaving:
            continue
        before = other.status.nodes.get(place.key)
        move = copies.evicted(before, seen.newest(other.digest, f"{other.storage} {place.key}"), now)
        if move.start is not None:
            number, also = numbered(other, place, seen), before.digest if before else ""
            yield objects.job(other, place, move.start, other.digest, number, move.attempt, settings, also)


def _started(found: Mapping[str, Here]) -> list[Here]:
    return [here for here in found.values() if here.move.start or here.others]


def _jobs(cache: Cache, found: Mapping[str, Here], seen: Seen, settings: Settings) -> Iterator[Manifest]:
    for here in _started(found):
        yield from here.others
        if here.move.start is not None:
            also = here.move.copy.digest if here.move.start is Purpose.EVICT else ""
            number = numbered(cache, here.place, seen)
            yield objects.job(cache, here.place, here.move.start, cache.digest, number, here.move.attempt, settings, also)


def _made(cache: Cache, seen: Seen, settings: Settings) -> Iterator[Manifest]:
    """Volumes of its nodes, and its order."""
    spoken_of = {node.name for node in cache.nodes(seen.nodes)} | set(cache.status.nodes)
    for node in seen.nodes:
        for path in objects.paths(cache) if node.name in spoken_of else ():
            yield from objects.volumes(node, path, settings)
    yield objects.order(cache, settings)


def _unneeded(cache: Cache, seen: Seen, settings: Settings) -> Iterator[tuple[Kind, str]]:
    """Volumes of nobody, orders of before, and its own jobs where it has nothing to do: pods hold claims even when finished."""
    keep = needed((cache, *seen.others), seen.nodes)
    yield from unneeded(seen, keep)
    current = objects.order(cache, settings)["metadata"]["name"]
    for manifest in seen.made:
        mine = manifest["metadata"].get("labels", {}).get(OWNER) == owner_label(objects.owner(cache))
        if kind_of(manifest) is CONFIG and mine and manifest["metadata"]["name"] != current:
            yield CONFIG, manifest["metadata"]["name"]
    there = {node for node, _ in keep}
    for job in (j for j in seen.jobs if j.owner == cache.name):
        storage, _, key = job.place.partition(" ")
        if key not in there and storage.startswith("node:"):
            yield JOB, job.name


def _last_used(cache: Cache, now: datetime) -> str | None:
    before = cache.status.last_used
    if not cache.consumers or (before is not None and now - moment(before) < USED_EVERY):
        return before
    return stamp(now)


def _delay(cache: Cache, nodes: Mapping[str, Copy], started: bool, now: datetime) -> float | None:
    """Until something is due by itself."""
    busy = started or any(c.state in nodelabels.UNDER_WAY or c.error == copies.GOING for c in nodes.values())
    waits = any(c.state is NodeState.WAITING for c in nodes.values())
    due = [moment(c.next_try) - now for c in nodes.values() if c.next_try]
    ready = [moment(c.verified_at) for c in nodes.values() if c.state is NodeState.READY and c.verified_at]
    due += [verified + copies.VERIFY_EVERY - now for verified in ready]
    after = cache.spec.retention.evict_after
    if after is not None and not cache.safe and rests(cache, now) is None:
        due.append(cache.last_used(now) + span(after) - now)
    seconds = [max(1.0, d.total_seconds()) for d in due] + ([LOOK_AGAIN] if busy else [LOOK_LATER] if waits else [])
    return min(seconds, default=None)

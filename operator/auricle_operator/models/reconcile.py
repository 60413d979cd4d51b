"""Bringing about what was decided for one ModelCache: looks, decides, does. Killed anywhere, the next run goes on."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from auricle.errors import AuricleError
from auricle_operator.api.conditions import Finding, Truth, conditions
from auricle_operator.api.modelcache import READY, ModelCacheStatus
from auricle_operator.api.rules import as_applied
from auricle_operator.cluster import (
    APPLIED,
    CLAIM,
    CONFIG,
    JOB,
    KEEPER,
    MODELS,
    NODE,
    POD,
    SECRET,
    TENANTS,
    VOLUME,
    Gone,
    Kind,
    Manifest,
    kind_of,
)
from auricle_operator.models import observed
from auricle_operator.models.desired import Plan, desired
from auricle_operator.models.leaving import leaving
from auricle_operator.models.objects import OURS
from auricle_operator.models.observed import CONTAINER, JOB_NAME, Cache, Job, Seen
from auricle_operator.world import World

LOG_LINES = 5
CHOSEN = {key: OURS[key] for key in ("app.kubernetes.io/name", KEEPER)}
"""Labels of what we made: others may run jobs named `models`, too."""


async def reconcile(world: World, manifest: Manifest) -> float | None:
    """One look and one step; seconds until the next one is due by itself."""
    name = manifest["metadata"]["name"]
    found = await _looked(world, name)
    if found is None:
        return None
    cache, seen = found
    plan = desired(cache, seen, world.settings, world.now())
    await _do(world, cache, seen, plan)
    return plan.delay


async def teardown(world: World, manifest: Manifest) -> float | None:
    """One step towards nothing left on any node; None when that is so, and people were told what stays."""
    found = await _looked(world, manifest["metadata"]["name"])
    if found is None:
        return None
    cache, seen = found
    plan = leaving(cache, seen, world.settings, world.now())
    await _do(world, cache, seen, plan)
    return plan.delay


async def _looked(world: World, name: str) -> tuple[Cache, Seen] | None:
    """The cache as it is now, and everything around it; None when it is gone or says what nobody understands."""
    cluster, namespace = world.cluster, world.settings.namespace
    manifests = await cluster.list(MODELS)
    tenants = await cluster.list(TENANTS)
    mine = next((m for m in manifests if m["metadata"]["name"] == name), None)
    if mine is None:
        return None
    try:
        cache = observed.cache(mine, tenants)
    except (msgspec.ValidationError, KeyError) as error:
        await _misunderstood(world, mine, error)
        return None
    nodes = tuple(observed.node(node) for node in await cluster.list(NODE))
    made = await _made(world)
    return cache, Seen(
        nodes=nodes,
        others=tuple(_understood((m for m in manifests if m is not mine), tenants)),
        jobs=await _jobs(world, cache),
        made=tuple(made),
        lacks=await _lacks(world, cache, namespace),
    )


async def _made(world: World) -> list[Manifest]:
    namespace = world.settings.namespace
    volumes = await world.cluster.list(VOLUME, labels=CHOSEN)
    claims = await world.cluster.list(CLAIM, namespace, CHOSEN)
    return [*volumes, *claims, *await world.cluster.list(CONFIG, namespace, CHOSEN)]


async def _jobs(world: World, cache: Cache) -> tuple[Job, ...]:
    """Ours, with their pods; of those of this cache that run, the last line of their log too."""
    namespace = world.settings.namespace
    jobs = await world.cluster.list(JOB, namespace, CHOSEN)
    pods = {p["metadata"]["labels"].get(JOB_NAME): p for p in await world.cluster.list(POD, namespace, CHOSEN)} if jobs else {}
    found = [observed.job(job, pods.get(job["metadata"]["name"])) for job in jobs if "deletionTimestamp" not in job["metadata"]]
    return tuple([await _heard(world, job) if _speaks(cache, job) else job for job in found])


def _speaks(cache: Cache, job: Job) -> bool:
    return job.active and job.running and job.content == cache.digest[: observed.LABEL]


async def _heard(world: World, job: Job) -> Job:
    try:
        log = await world.cluster.logs(world.settings.namespace, job.pod, CONTAINER, LOG_LINES)
    except (AuricleError, Gone):  # its node does not answer: progress is worth no failure
        return job
    return replace(job, line=observed.last_line(log))


async def _lacks(world: World, cache: Cache, namespace: str) -> str:
    name = cache.spec.source.credentials
    if not name or await world.cluster.get(SECRET, name, namespace) is not None:
        return ""
    return name


def _understood(manifests: Iterable[Manifest], tenants: list[Manifest]) -> Iterable[Cache]:
    """The caches whose specs can be read: one that cannot takes no part."""
    for manifest in manifests:
        try:
            yield observed.cache(manifest, tenants)
        except (msgspec.ValidationError, KeyError):
            continue


async def _misunderstood(world: World, manifest: Manifest, error: Exception) -> None:
    metadata = manifest["metadata"]
    why = f"The resource cannot be read: {error}. Correct it."
    found = conditions([Finding(READY, Truth.FALSE, "Invalid", why)], (), metadata.get("generation", 0), world.now())
    status = ModelCacheStatus(observed_generation=metadata.get("generation", 0), conditions=tuple(found))
    await world.cluster.status(MODELS, metadata["name"], None, as_applied(status))


async def _do(world: World, cache: Cache, seen: Seen, plan: Plan) -> None:
    """In this order: nobody is sent to a copy that goes, and a job's traces on a node are known before it begins."""
    cluster, namespace = world.cluster, world.settings.namespace
    await _label(world, plan, there=False)
    for kind, name in plan.delete:
        await cluster.delete(kind, name, namespace if kind.namespaced else None)
    gone = {(kind, name) for kind, name in plan.delete}
    there = {_applied(m) for m in seen.made if (kind_of(m), m["metadata"]["name"]) not in gone}
    for manifest in plan.apply:
        if _applied(manifest) not in there:
            await cluster.apply(manifest)
    if plan.status != cache.status:
        await cluster.status(MODELS, cache.name, None, as_applied(plan.status))
    for manifest in plan.jobs:
        await cluster.create(manifest)
    for name in plan.stop:
        await cluster.delete(JOB, name, namespace)
    await _label(world, plan, there=True)
    for reason, message, warning in plan.tell:
        await cluster.tell(cache.manifest, reason, message, warning=warning)


def _applied(manifest: Manifest) -> tuple[Kind, str, str]:
    metadata = manifest["metadata"]
    return kind_of(manifest), metadata["name"], metadata.get("annotations", {}).get(APPLIED, "")


async def _label(world: World, plan: Plan, *, there: bool) -> None:
    for node, label, wanted in plan.labels:
        if wanted is there:
            await world.cluster.merge(NODE, node, None, {"metadata": {"labels": {label: "ready" if there else None}}})

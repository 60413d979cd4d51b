"""A tenant's end: functions first, then the namespace, then the data, as far as its deletion policy says.

Every step is looked at anew each time: what is done already is passed by.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec
from msgspec import structs

from auricle_operator.api.conditions import Finding, Truth, conditions
from auricle_operator.api.rules import as_applied
from auricle_operator.api.tenant import READY, Deletion, Phase, TenantSpec, TenantStatus
from auricle_operator.applying import Applying
from auricle_operator.cluster import (
    BROKER,
    JOB,
    KEEPER,
    KSERVICE,
    MANAGER,
    NAMESPACE,
    PING,
    POD,
    SECRET,
    SECRETS,
    TENANT,
    TENANTS,
    TRIGGER,
    VOLUME,
    Manifest,
    kind_of,
    made_for,
)
from auricle_operator.mirror import Mirror
from auricle_operator.outside import Login
from auricle_operator.tenants.snapshots import Snapshot, snapshot_job, snapshot_state
from auricle_operator.world import World

SHORTLY = 2.0
SHOWN = 3
"""Names in a message."""
ORDER = (PING, TRIGGER, KSERVICE, BROKER)
"""What calls functions goes before them."""
REVISION = "serving.knative.dev/revision"
"""Label of a function's pods."""


async def teardown(world: World, mirror: Mirror, applying: Applying, manifest: Manifest) -> float | None:
    """One step towards the end; seconds until the next, None when nothing is left that should go.

    What is waited for stands in the status, as the message of Ready.
    """
    name = manifest["metadata"]["name"]
    spec = msgspec.convert(manifest["spec"], TenantSpec)
    waits = (
        await _functions_end(world, mirror, applying, name)
        or (await _dump_taken(world, mirror, name, manifest) if spec.deletion_policy is Deletion.SNAPSHOT else "")
        or await _namespace_ends(world, mirror, applying, name)
    )
    if waits:
        await _say(world, manifest, waits)
        return SHORTLY
    await _data_ends(world, name, spec.deletion_policy)
    return None


async def _say(world: World, manifest: Manifest, waits: str) -> None:
    """What is waited for, unless the status says so already."""
    metadata, status = manifest["metadata"], msgspec.convert(manifest.get("status", {}), TenantStatus)
    others = tuple(c for c in status.conditions if c.type != READY)
    now = conditions([Finding(READY, Truth.FALSE, "Deleting", waits)], status.conditions, metadata["generation"], world.now())
    ends = structs.replace(status, phase=Phase.DELETING, conditions=(*now, *others))
    if ends != status:
        await world.cluster.status(TENANTS, metadata["name"], None, as_applied(ends))


async def _data_ends(world: World, name: str, policy: Deletion) -> None:
    """What should go, goes; and what stays is closed: whatever was read out of the namespace is worth nothing from now on."""
    if policy is Deletion.RETAIN:
        if await world.databases.bytes_used(name) is not None:
            for login in Login:
                await world.databases.shut(name, login)
    else:
        await world.databases.drop(name)
    masters = await world.cluster.list(SECRET, world.settings.namespace, {TENANT: name, KEEPER: MANAGER})
    if policy is Deletion.DELETE:
        await world.stores.drop(world.bucket(name))
        for master in masters:
            await world.cluster.delete(SECRET, master["metadata"]["name"], world.settings.namespace)
    elif await world.stores.used(world.bucket(name)) is not None:
        for key in filter(None, map(_access_key, masters)):
            await world.stores.shut(world.bucket(name), key)


# Steps: each returns what is waited for, and nothing when it is done.


async def _functions_end(world: World, mirror: Mirror, applying: Applying, name: str) -> str:
    """Each kind begins to go when the one before it is gone.

    Pods outlive their Service by what they are at. They are waited for: a dump shall have what they write, and Kubernetes looks
    at a namespace that ends with a pod in it again only after half of the grace period, which is minutes.
    """
    there = list(mirror.of(name, world.namespace(name)))
    for kind in ORDER:
        if left := [m for m in there if kind_of(m) is kind]:
            await applying.prune(left, ())
            return f"Its {kind.plural} end: {_listed(left)}."
    pods = [
        pod
        for pod in await world.cluster.list(POD, world.namespace(name))
        if "deletionTimestamp" in pod["metadata"] or REVISION in pod["metadata"].get("labels", {})
    ]
    return f"Its pods finish what they are at: {_listed(pods)}." if pods else ""


async def _dump_taken(world: World, mirror: Mirror, name: str, manifest: Manifest) -> str:
    """The database's dump lies in the bucket, or there is no database any more."""
    if await world.databases.bytes_used(name) is None:
        return ""
    state = snapshot_state(mirror, world, name)
    if state is Snapshot.TAKEN:
        return ""
    if state is Snapshot.FAILED:
        where = world.settings.namespace
        what = (
            "The database could not be dumped, so nothing was deleted. Read why "
            f"(kubectl -n {where} logs job/snapshot-{name}), then let it try again "
            f"(kubectl -n {where} delete job snapshot-{name}), or choose deletionPolicy retain."
        )
        await world.cluster.tell(manifest, "SnapshotFailed", what, warning=True)
        return what
    if state is Snapshot.MISSING:
        for thing in await snapshot_job(world, name, manifest):
            mirror.saw(await world.cluster.apply(thing))
    return "Its database is dumped into its bucket."


async def _namespace_ends(world: World, mirror: Mirror, applying: Applying, name: str) -> str:
    """ManagedSecrets go before it, while their namespace still says whose they are."""
    namespace = world.namespace(name)
    there = await world.cluster.get(NAMESPACE, namespace) or {"metadata": {}}
    ours = there["metadata"].get("labels", {}).get(TENANT) == name
    secrets = mirror.all(SECRETS, namespace) if ours else []
    if secrets:
        await applying.prune(secrets, ())
        return f"Its secrets end: {_listed(secrets)}."
    if ours:
        await world.cluster.delete(NAMESPACE, namespace)
        remains = [c.get("message", "") for c in there.get("status", {}).get("conditions", ()) if c["status"] == "True"]
        return " ".join(("Its namespace ends.", *remains))  # Kubernetes says of what, and which finalizers
    for kind, where in ((VOLUME, None), (JOB, world.settings.namespace)):
        for left in mirror.all(kind, where or ""):
            if made_for(name, left):
                await applying.remove(left)
    return ""


def _access_key(master: Manifest) -> str:
    return base64.b64decode(master.get("data", {}).get("S3_ACCESS_KEY_ID", "")).decode()


def _listed(found: Sequence[Manifest]) -> str:
    """The names of the first few."""
    names = sorted(m["metadata"]["name"] for m in found)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")

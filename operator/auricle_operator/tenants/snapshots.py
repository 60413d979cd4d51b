"""The last dump of a database that is about to be dropped: a job writes it into the tenant's own bucket."""

from __future__ import annotations

import base64
import secrets
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from auricle.deploy.render import labels
from auricle.errors import Permanent
from auricle_operator.api.conditions import stamp
from auricle_operator.cluster import JOB, SECRET, Manifest, owned
from auricle_operator.mirror import Mirror
from auricle_operator.outside import Login
from auricle_operator.world import World

FOLDER = "snapshots/"
URL_SECONDS = 6 * 3600
"""A dump of a large database takes its time."""
IMAGE = "pgvector/pgvector:pg18"
"""Has the `pg_dump` of the server it dumps (manifests/components/postgres)."""


class Snapshot(StrEnum):
    """How far it is."""

    MISSING = "missing"
    RUNNING = "running"
    TAKEN = "taken"
    FAILED = "failed"


def snapshot_state(mirror: Mirror, world: World, tenant: str) -> Snapshot:
    """Of a tenant's dump, by its job."""
    job = mirror.get(JOB, f"snapshot-{tenant}", world.settings.namespace)
    if job is None:
        return Snapshot.MISSING
    held = {c["type"] for c in job.get("status", {}).get("conditions", ()) if c["status"] == "True"}
    return Snapshot.TAKEN if "Complete" in held else Snapshot.FAILED if "Failed" in held else Snapshot.RUNNING


async def snapshot_job(world: World, tenant: str, manifest: Manifest) -> list[Manifest]:
    """A Secret with where from and where to, and the job that goes there. Nothing of it outlives the tenant."""
    if not world.settings.image:
        raise Permanent("The operator does not know its own image, which sends the dump: set AURICLE_OPERATOR_IMAGE.")
    password = await _owner_password(world, tenant)
    await world.databases.admit(tenant, Login.OWNER, password)
    key = f"{FOLDER}{stamp(world.now()).replace(':', '')}.dump"
    name, namespace = f"snapshot-{tenant}", world.settings.namespace
    place = {
        "DATABASE": world.databases.url(tenant, Login.OWNER, password).replace("postgresql+pg8000://", "postgresql://"),
        "TARGET": await world.stores.upload_url(world.bucket(tenant), key, URL_SECONDS),
    }
    metadata = {"name": name, "namespace": namespace, "labels": labels(name)}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "data": {k: base64.b64encode(v.encode()).decode() for k, v in place.items()},
    }
    environment = [{"name": k, "valueFrom": {"secretKeyRef": {"name": name, "key": k}}} for k in place]
    volume = {"name": "dump", "mountPath": "/dump"}
    little = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
    nothing = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    dump = {
        "name": "dump",
        "image": IMAGE,
        "command": ["/bin/sh", "-euc", 'exec pg_dump --format=custom --no-owner --file=/dump/database "$DATABASE"'],
        "env": environment[:1],
        "volumeMounts": [volume],
        "resources": little,
        "securityContext": nothing,
    }
    send = {
        "name": "send",
        "image": world.settings.image,
        "command": ["python", "-m", "auricle_operator.tenants.sending", "/dump/database"],
        "env": environment[1:],
        "volumeMounts": [volume],
        "resources": little,
        "securityContext": nothing,
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [dump],
        "containers": [send],
        "volumes": [{"name": "dump", "emptyDir": {}}],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 3,
            "activeDeadlineSeconds": URL_SECONDS,
            "template": {"metadata": {"labels": {**labels(name), "auricle.dev/job": "snapshot"}}, "spec": pod},
        },
    }
    return [owned(thing, manifest, tenant_name=tenant) for thing in (secret, job)]


async def _owner_password(world: World, tenant: str) -> str:
    """A fresh one: whoever had the last is shut out anyway."""
    known = await world.cluster.get(SECRET, f"snapshot-{tenant}", world.settings.namespace)
    if known is not None:  # a job that already runs goes on with its own
        return unquote(urlsplit(base64.b64decode(known["data"]["DATABASE"]).decode()).password or "")
    return secrets.token_urlsafe(24)

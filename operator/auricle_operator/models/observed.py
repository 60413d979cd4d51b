"""What is there, as far as model caches care: nodes, jobs and what they said, caches and who uses them. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from auricle_gpu.caching import Line
from auricle_gpu.manifest import ModelFile, content
from auricle_operator.api.conditions import moment
from auricle_operator.api.modelcache import ModelCacheSpec, ModelCacheStatus, StorageKind
from auricle_operator.api.tenant import TenantSpec
from auricle_operator.cluster import OWNER, Manifest

HOSTNAME = "kubernetes.io/hostname"
JOB_NAME = "batch.kubernetes.io/job-name"
DIGEST = "models.auricle.dev/content"
"""Label of jobs: the content they are about, as many digits as a label holds."""
PLACE = "models.auricle.dev/place"
PURPOSE = "models.auricle.dev/purpose"
NUMBER = "models.auricle.dev/number"
ATTEMPT = "models.auricle.dev/attempt"
"""Annotations of jobs: where, what for, the how manieth on this place, and the how manieth try in a row."""
CONTAINER = "models"
GPU_POOL = {"nvidia.com/gpu.present": "true"}


class Purpose(StrEnum):
    """Of a job."""

    BRING = "bring"
    EVICT = "evict"


class Progress(StrEnum):
    """Of a job."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A node; `up` when it says it is ready."""

    name: str
    labels: Mapping[str, str]
    up: bool

    @property
    def hostname(self) -> str:
        """By which volumes and pods are bound to it."""
        return self.labels.get(HOSTNAME, self.name)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One of ours. `waiting`: why its pod does not run; `exit`, `message`: how it ended; `line`: the last of its log."""

    name: str
    owner: str
    place: str
    content: str
    purpose: Purpose
    number: int
    attempt: int
    progress: Progress
    begun: datetime
    ended: datetime | None = None
    pod: str = ""
    running: bool = False
    waiting: str = ""
    exit: int | None = None
    message: str = ""
    line: Line | None = None

    @property
    def active(self) -> bool:
        """Neither done nor failed."""
        return self.progress is Progress.ACTIVE


class Cache(msgspec.Struct, frozen=True, kw_only=True):
    """A ModelCache and the tenants that use it."""

    manifest: Manifest
    spec: ModelCacheSpec
    status: ModelCacheStatus
    consumers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the resource."""
        return str(self.manifest["metadata"]["name"])

    @property
    def created(self) -> datetime:
        """By the API server's clock."""
        return moment(self.manifest["metadata"]["creationTimestamp"])

    @property
    def generation(self) -> int:
        """Of what people wrote."""
        return int(self.manifest["metadata"].get("generation", 0))

    @property
    def leaving(self) -> bool:
        """Being deleted."""
        return "deletionTimestamp" in self.manifest["metadata"]

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """As whoever fetches them knows them."""
        return tuple(ModelFile(path=f.path, size=f.size, sha256=f.sha256) for f in self.spec.files)

    @property
    def digest(self) -> str:
        """Of the content that shall be there."""
        return content(self.spec.model, self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.spec.files)

    @property
    def storage(self) -> str:
        """What it lies on: caches with the same one share each node's budget."""
        storage = self.spec.storage
        return f"claim:{storage.claim}" if storage.kind is StorageKind.CLAIM else f"node:{storage.path}"

    @property
    def selector(self) -> Mapping[str, str]:
        """Labels of its nodes."""
        return self.spec.placement.node_selector or GPU_POOL

    @property
    def safe(self) -> bool:
        """Never taken away while it is there."""
        return bool(self.spec.pinned or self.consumers)

    def last_used(self, now: datetime) -> datetime:
        """Now, while a tenant uses it."""
        if self.consumers:
            return now
        return moment(self.status.last_used) if self.status.last_used else self.created

    def nodes(self, nodes: Sequence[Node]) -> list[Node]:
        """Those that it is meant for."""
        return [node for node in nodes if self.selector.items() <= node.labels.items()]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a decision looks at. `made`: volumes, claims and orders of ours; `lacks`: a named Secret that is not
    there."""

    nodes: tuple[Node, ...] = ()
    others: tuple[Cache, ...] = ()
    jobs: tuple[Job, ...] = ()
    made: tuple[Manifest, ...] = ()
    lacks: str = ""

    def newest(self, content: str, place: str) -> Job | None:
        """The job that counts: the last one begun on that content there."""
        found = [j for j in self.jobs if (j.content, j.place) == (content[:LABEL], place)]
        return max(found, key=lambda job: job.number, default=None)

    def of_another_content(self, cache: Cache) -> list[Job]:
        """Jobs of the cache that bring, or brought, another content than it has now."""
        bringing = (job for job in self.jobs if (job.owner, job.purpose) == (cache.name, Purpose.BRING))
        return [job for job in bringing if job.content != cache.digest[:LABEL]]

    def another_since(self, cache: Cache, place: str, moment: datetime) -> bool:
        """Whether one of them may have written there since: what was known before is known no more."""
        return any(j.active or (j.ended or j.begun) > moment for j in self.of_another_content(cache) if j.place == place)


LABEL = 40
"""Digits of a digest in a label (63 letters at most)."""


def node(manifest: Manifest) -> Node:
    """A Node."""
    conditions = manifest.get("status", {}).get("conditions", ())
    up = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return Node(name=manifest["metadata"]["name"], labels=manifest["metadata"].get("labels", {}), up=up)


def cache(manifest: Manifest, tenants: Sequence[Manifest]) -> Cache:
    """A ModelCache, with those of `tenants` that name it. Raises `msgspec.ValidationError`."""
    name = manifest["metadata"]["name"]
    users = (t["metadata"]["name"] for t in tenants if name in msgspec.convert(t.get("spec", {}), TenantSpec).models)
    return Cache(
        manifest=manifest,
        spec=msgspec.convert(manifest["spec"], ModelCacheSpec),
        status=msgspec.convert(manifest.get("status", {}), ModelCacheStatus),
        consumers=tuple(sorted(users)),
    )


def job(manifest: Manifest, pod: Manifest | None) -> Job:
    """A Job and its pod."""
    metadata, status = manifest["metadata"], manifest.get("status", {})
    labels, notes = metadata["labels"], metadata["annotations"]
    ends = {c["type"]: c for c in status.get("conditions", ()) if c["status"] == "True"}
    end = ends.get("Complete") or ends.get("Failed")
    statuses = pod["status"].get("containerStatuses", ()) if pod and "status" in pod else ()
    container: Manifest = next(iter(statuses), {"state": {}})["state"]
    ended = container.get("terminated", {})
    message = ended.get("message", "").strip() or (end or {}).get("message", "") if "Failed" in ends else ""
    return Job(
        name=metadata["name"],
        owner=labels[OWNER].partition(".")[2],
        place=notes[PLACE],
        content=labels[DIGEST],
        purpose=Purpose(notes[PURPOSE]),
        number=int(notes[NUMBER]),
        attempt=int(notes[ATTEMPT]),
        progress=Progress.FAILED if "Failed" in ends else Progress.SUCCEEDED if end else Progress.ACTIVE,
        begun=moment(metadata["creationTimestamp"]),
        ended=moment(end["lastTransitionTime"]) if end else None,
        pod=pod["metadata"]["name"] if pod else "",
        running="running" in container,
        waiting="" if end or "running" in container else _waiting(pod, container),
        exit=ended.get("exitCode"),
        message=message,
    )


def _waiting(pod: Manifest | None, container: Manifest) -> str:
    """Why a pod does not run yet, when there is more to say than that it is about to."""
    for condition in (pod or {}).get("status", {}).get("conditions", ()):
        if (condition["type"], condition["status"]) == ("PodScheduled", "False"):
            return str(condition.get("message", "It finds no node."))
    waiting = container.get("waiting", {})
    if waiting.get("reason", "ContainerCreating") == "ContainerCreating":
        return ""
    return f"{waiting['reason']}: {waiting.get('message', '')}".strip(": ")


def last_line(log: str) -> Line | None:
    """The last line of a job's log that says something."""
    for written in reversed(log.splitlines()):
        try:
            return msgspec.json.decode(written, type=Line)
        except msgspec.DecodeError:
            continue
    return None

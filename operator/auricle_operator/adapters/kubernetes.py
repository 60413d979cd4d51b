"""The API server by lightkube, every kind as plain dicts. What it answers otherwise is in `refusals`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import httpx2
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.core.exceptions import ConfigError
from lightkube.core.resource import ApiInfo
from lightkube.generic_resource import (
    GenericGlobalResource,
    GenericGlobalStatus,
    GenericNamespacedResource,
    GenericNamespacedStatus,
    create_api_info,
)
from lightkube.types import CascadeType, PatchType

from auricle.errors import AuricleError, Permanent, Retryable
from auricle_operator.adapters.refusals import Absent, AlreadyThere, translated
from auricle_operator.api.conditions import stamp
from auricle_operator.cluster import EVENT, LOG, MANAGER, NAMESPACE, Gone, Kind, Manifest, kind_of
from auricle_operator.metrics import API_CALLS

PATIENCE = 30.0
"""Seconds for one answer: a webhook may take ten of them."""
PAGE = 500
"""Objects in one answer to a list."""
ONCE_IN = timedelta(hours=1)
"""An event that says the same of the same object is told once in so long, which is also how long the server keeps it."""
EVENTS_OF_THE_CLUSTER = "default"
"""Where events of objects without a namespace go: the API server takes them nowhere else, and `kubectl describe` looks here."""

log = logging.getLogger(__name__)


def utc() -> datetime:
    """Now."""
    return datetime.now(UTC)


def connected(
    config: KubeConfig | None = None, transport: httpx2.AsyncBaseTransport | None = None, now: Callable[[], datetime] = utc
) -> LightkubeCluster:
    """The cluster that this pod runs in, or that the file named by `KUBECONFIG` leads to, or that of `config`.

    Raises `Permanent` without any. `transport` answers instead of a network (tests).
    """
    try:
        chosen = config or KubeConfig.from_env()
        client = AsyncClient(
            chosen, timeout=httpx2.Timeout(PATIENCE), field_manager=MANAGER, trust_env=False, transport=transport
        )
    except (ConfigError, KeyError, OSError) as error:
        raise Permanent(
            f"There is no way to a cluster: {error}. Run in a pod with a ServiceAccount, or set KUBECONFIG."
        ) from error
    return LightkubeCluster(client, now)


class LightkubeCluster:
    """Implements `auricle_operator.cluster.Cluster`. Belongs to the event loop that it is first used in."""

    def __init__(self, client: AsyncClient, now: Callable[[], datetime]) -> None:
        self._client: Any = client  # its overloads know no class that is made at run time
        self._now = now
        self._told: dict[str, datetime] = {}

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.close()

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Manifest | None:
        try:
            async with _asking("get", kind, name, namespace):
                return dict(await self._client.get(_class(kind), name, namespace=namespace))
        except Absent:
            return None

    async def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> list[Manifest]:
        where = (namespace or "*") if kind.namespaced else None
        async with _asking("list", kind, "", namespace):
            found = self._client.list(_class(kind), namespace=where, chunk_size=PAGE, labels=dict(labels or {}))
            # Built-in kinds leave out of a list what each of its objects is.
            named = {"apiVersion": kind.api_version, "kind": kind.name}
            return [{**named, **item} async for item in found]

    async def apply(self, manifest: Manifest) -> Manifest:
        kind, name, namespace = _place(manifest)
        async with _asking("patch", kind, name, namespace):
            return await self._applied(_class(kind), name, namespace, manifest)

    async def create(self, manifest: Manifest) -> Manifest:
        kind, name, namespace = _place(manifest)
        try:
            async with _asking("create", kind, name, namespace):
                return dict(await self._client.create(_class(kind)(manifest), namespace=namespace))
        except AlreadyThere as error:
            found = await self.get(kind, name, namespace)
            if found is None:
                raise Retryable(f"{error} came and went.", delay=1) from error
            return found

    async def merge(self, kind: Kind, name: str, namespace: str | None, patch: Manifest) -> Manifest | None:
        try:
            async with _asking("patch", kind, name, namespace):
                asked = self._client.patch(_class(kind), name, patch, namespace=namespace, patch_type=PatchType.MERGE)
                return dict(await asked)
        except Absent:
            return None

    async def status(self, kind: Kind, name: str, namespace: str | None, status: Manifest) -> None:
        said = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}, "status": status}
        try:
            async with _asking("patch", kind, name, namespace, part="/status"):
                await self._applied(_status_class(kind), name, namespace, said)
        except Absent:
            return

    async def delete(self, kind: Kind, name: str, namespace: str | None = None) -> None:
        try:
            async with _asking("delete", kind, name, namespace):
                await self._client.delete(_class(kind), name, namespace=namespace, cascade=CascadeType.BACKGROUND)
        except Absent:
            return
        except Retryable:
            # A namespace that is ending answers 409 to whoever wants it ended.
            if kind != NAMESPACE or not await self._ending(name):
                raise

    async def logs(self, namespace: str, pod: str, container: str, lines: int) -> str:
        try:
            async with _asking("get", LOG, pod, namespace):
                written = self._client.log(pod, namespace=namespace, container=container, tail_lines=lines)
                return "".join([line async for line in written])
        except Absent:
            return ""
        except Permanent:  # 400: it has not begun, which nothing but the sentence tells from a wrong container's name
            log.debug("No log of %s/%s %s yet", namespace, pod, container)
            return ""

    async def tell(self, about: Manifest, reason: str, message: str, *, warning: bool = False) -> None:
        now = self._now()
        what = "\n".join((about["metadata"].get("uid", ""), reason, message))
        if now - self._told.get(what, now - ONCE_IN) < ONCE_IN:
            return
        self._told = {**{key: told for key, told in self._told.items() if now - told < ONCE_IN}, what: now}
        event = _event(about, reason, message, warning=warning, now=now)
        try:
            async with _asking("create", EVENT, event["metadata"]["name"], event["metadata"]["namespace"]):
                await self._client.create(_class(EVENT)(event), namespace=event["metadata"]["namespace"])
        except AlreadyThere:  # told by an earlier process of ours
            return
        except (AuricleError, Gone, Absent) as error:
            log.info("An event could not be told: %s", error)

    async def _applied(self, resource: type[Any], name: str, namespace: str | None, manifest: Manifest) -> Manifest:
        asked = self._client.patch(resource, name, manifest, namespace=namespace, patch_type=PatchType.APPLY, force=True)
        return dict(await asked)

    async def _ending(self, namespace: str) -> bool:
        found = await self.get(NAMESPACE, namespace)
        return found is None or "deletionTimestamp" in found["metadata"]


@asynccontextmanager
async def _asking(verb: str, kind: Kind, name: str, namespace: str | None, part: str = "") -> AsyncIterator[None]:
    """One request: counted, and its errors translated."""
    code = "none"
    try:
        with translated(kind, name, namespace):
            try:
                yield
                code = "200"
            except (ApiError, httpx2.HTTPStatusError) as error:
                code = str(error.response.status_code)
                raise
    finally:
        API_CALLS.labels(verb, kind.plural + part, code).inc()


def _place(manifest: Manifest) -> tuple[Kind, str, str | None]:
    kind, metadata = kind_of(manifest), manifest["metadata"]
    assert kind.namespaced == ("namespace" in metadata), f"{manifest['kind']} {metadata['name']}: namespace?"
    return kind, metadata["name"], metadata.get("namespace")


@cache
def _class(kind: Kind) -> type[Any]:
    """lightkube's class for a kind. Not by its own table, which is one for the whole process and other people's, too."""
    base = GenericNamespacedResource if kind.namespaced else GenericGlobalResource
    version = kind.api_version.rpartition("/")[2]
    return type(kind.name, (base,), {"_api_info": create_api_info(kind.group, version, kind.name, kind.plural)})


@cache
def _status_class(kind: Kind) -> type[Any]:
    """lightkube's class for a kind's status."""
    base = GenericNamespacedStatus if kind.namespaced else GenericGlobalStatus
    parent = _class(kind)._api_info.resource
    info = ApiInfo(resource=parent, parent=parent, plural=kind.plural, verbs=["patch"], action="status")
    return type(f"{kind.name}Status", (base,), {"_api_info": info})


def _event(about: Manifest, reason: str, message: str, *, warning: bool, now: datetime) -> Manifest:
    """Its name is the same for the same words within the hour: an operator that starts anew does not tell them again."""
    metadata = about["metadata"]
    namespace = metadata.get("namespace", "")
    said = "\n".join((metadata.get("uid", ""), reason, message, now.strftime("%Y-%m-%dT%H")))
    name = f"{metadata['name'][:200]}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.name,
        "metadata": {"name": name, "namespace": namespace or EVENTS_OF_THE_CLUSTER},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
            **({"namespace": namespace} if namespace else {}),
        },
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": message[:1024],  # longer ones are refused
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": MANAGER,
        "firstTimestamp": stamp(now),
        "lastTimestamp": stamp(now),
        "count": 1,
    }

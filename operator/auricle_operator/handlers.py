"""Who is told what, when: the only module that knows kopf.

Each resource of ours has a daemon: it makes a pass, then waits for an event, for the delay that the pass asked for, or for the
resync. Events of everything we watch go into the mirror and wake whom they concern. kopf ends the daemons while a peer of
higher priority is at work, and keeps our finalizer until the teardown says that nothing is left.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import kopf
from msgspec import structs

from auricle.errors import AuricleError, Retryable
from auricle_operator.adapters.kubernetes import connected
from auricle_operator.adapters.outside import databases, stores
from auricle_operator.api.conditions import Finding
from auricle_operator.api.rules import GROUP
from auricle_operator.applying import Applying
from auricle_operator.cluster import (
    CONFIG,
    DEPLOYMENT,
    MANAGER,
    MODELS,
    NAMESPACE,
    NODE,
    SECRET,
    SECRETS,
    TENANTS,
    VOLUME,
    Cluster,
    Gone,
    Kind,
    Manifest,
    kind_of,
)
from auricle_operator.concerns import Key, concerned, offered
from auricle_operator.faults import Steps
from auricle_operator.gateway import hosts, reconcile_gateway
from auricle_operator.metrics import reconciling, resources
from auricle_operator.mirror import Mirror
from auricle_operator.models import reconcile as models
from auricle_operator.secrets import reconcile as secrets
from auricle_operator.settings import Settings
from auricle_operator.tenants import plans
from auricle_operator.tenants.desired import KINDS
from auricle_operator.tenants.reconcile import Tenants
from auricle_operator.tenants.teardown import teardown
from auricle_operator.world import World, utc_now

log = logging.getLogger(__name__)

WATCHED: tuple[Kind, ...] = tuple(dict.fromkeys((*KINDS, SECRET, CONFIG, NODE, VOLUME, MODELS, TENANTS)))
EVERYBODYS = frozenset({NAMESPACE, NODE, VOLUME})
"""Kinds of which also those count that are not ours: a namespace may be taken, a node has devices."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds to the next try after an error: doubled each time."""
GATHER = 1.0
"""Seconds in which further events are waited for: one apply makes many."""
GATHER_HOSTS = 3.0
Pass = Callable[[Manifest], Awaitable[float | None]]


class Operator:
    """One process: what it knows, and who waits for news."""

    def __init__(self, settings: Settings, world: World) -> None:
        """`world` is what every pass may reach."""
        self.settings, self.world = settings, world
        self.mirror = Mirror()
        self.applying = Applying(world.cluster, self.mirror)
        self.tenants = Tenants(world, self.mirror, self.applying, self._domains)
        self._wakes: dict[Key, asyncio.Event] = {}
        self._turns: dict[Key, asyncio.Lock] = {}
        self._limit = asyncio.Semaphore(settings.at_once)
        self._steps = Steps(settings.die_at, lambda: os._exit(137))
        self._gateway = asyncio.Lock()
        self._gateway_said: Any = None
        self._gateway_at = -math.inf
        self._looking: dict[Kind, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Look at everything once, before anybody decides."""
        await self.mirror.fill(self.world.cluster, WATCHED)

    # Events.

    def heard(self, manifest: Manifest, gone: bool, anew: bool = False) -> None:
        """Something of the cluster changed; whom it concerns looks again. `anew`: a watch began, with everything there is."""
        kind = kind_of(manifest)
        if anew and kind not in self._looking:
            self._looking[kind] = asyncio.ensure_future(self._look_again(kind))
        labels = manifest["metadata"].get("labels", {})
        if kind not in EVERYBODYS and kind.group != GROUP and not any(label.startswith(f"{GROUP}/") for label in labels):
            return
        before = self.mirror.get(kind, manifest["metadata"]["name"], manifest["metadata"].get("namespace"))
        if gone:
            self.mirror.lost(manifest)
        elif not self.mirror.saw(manifest):
            return  # what we wrote ourselves
        elif kind is NODE and before is not None and offered(before) == offered(manifest):
            return  # kubelet says every few minutes that it is alive
        self._tell(manifest)

    def _tell(self, manifest: Manifest) -> None:
        for woken in concerned(manifest, self.mirror, self.world):
            self._wake(woken).set()

    async def _look_again(self, kind: Kind) -> None:
        """What went while nobody watched (another operator was at work, a watch broke off) is noticed after all."""
        pause = GATHER
        while kind in self._looking:
            await asyncio.sleep(pause)
            try:
                for manifest in await self.mirror.again(self.world.cluster, kind):
                    self._tell(manifest)
                del self._looking[kind]
            except AuricleError as error:
                pause = min(pause * 2, LONGEST_PAUSE)
                log.info("%s: %s Again in %.0f s.", kind.name, error, pause)

    # Passes.

    async def tenant(self, manifest: Manifest) -> float | None:
        """A tenant, and after it the gateway's map, where that has changed."""
        wait = await self.tenants.reconcile(manifest)
        resources(TENANTS.name, Counter(t.get("status", {}).get("phase", "New") for t in self.mirror.all(TENANTS)))
        later = await self._gateway_follows()
        return min((w for w in (wait, later) if w is not None), default=None)

    async def tenant_ends(self, manifest: Manifest) -> float | None:
        """A step of a tenant's end. Nobody is led to it from now on."""
        later = await self._gateway_follows()
        wait = await teardown(self.world, self.mirror, self.applying, manifest)
        if wait is None:
            self.tenants.forget(manifest)
            self.applying.forget(self.world.namespace(manifest["metadata"]["name"]))
        return wait if wait is not None else later

    async def _gateway_follows(self) -> float | None:
        """One gateway for all tenants: written at most once in `GATHER_HOSTS`, and only when there is news for it."""
        async with self._gateway:
            said = [
                (m["metadata"]["name"], m["spec"], m.get("status", {}).get("versions")) for m in self.mirror.all(TENANTS)
            ] + [(m["metadata"]["name"], m.get("status", {}).get("current")) for m in self.mirror.all(SECRETS)]
            grouped = plans.grouped(self.mirror.all(CONFIG, self.settings.namespace))
            since = time.monotonic() - self._gateway_at
            if (said, grouped) == self._gateway_said and since < self.settings.resync:
                return None
            if since < GATHER_HOSTS:
                return GATHER_HOSTS - since
            await reconcile_gateway(self.world, grouped)
            self._gateway_said, self._gateway_at = (said, grouped), time.monotonic()
            return None

    def _domains(self) -> dict[str, Finding]:
        """Whose domains lead to it, and whose are somebody else's."""
        return hosts(self.mirror.all(TENANTS), self.settings)[1]

    async def keep(self, kind: Kind, name: str, namespace: str, act: Pass, stopped: Any) -> None:
        """Pass after pass, until kopf says that it is enough."""
        key, pause = (kind, namespace, name), FIRST_PAUSE
        while not stopped:
            self._wake(key).clear()
            try:
                wait = await self._one(key, act)
                pause = FIRST_PAUSE
            except (Retryable, Gone) as error:
                wait, pause = pause, min(pause * 2, LONGEST_PAUSE)
                log.info("%s %s: %s Again in %.0f s.", kind.name, name, error, wait)
            except AuricleError as error:  # a sentence of ours, which quotes no secret
                wait, pause = pause, min(pause * 2, LONGEST_PAUSE)
                log.warning("%s %s: %s Again in %.0f s.", kind.name, name, error, wait)
            except Exception as error:
                wait, pause = pause, min(pause * 2, LONGEST_PAUSE)
                where = "".join(traceback.format_tb(error.__traceback__))  # what drivers say may quote what they were given
                log.error("%s %s: a pass failed (%s). Again in %.0f s.\n%s", kind.name, name, type(error).__name__, wait, where)
            await self._rest(key, min(self.settings.resync, wait or self.settings.resync), stopped)
        self._wakes.pop(key, None)

    async def end(self, kind: Kind, name: str, namespace: str, act: Pass, body: Manifest) -> None:
        """One step of a teardown; kopf asks again while there is more."""
        key = (kind, namespace, name)
        try:
            async with self._limit, self._turn(key):
                wait = await self._steps.follow(act(body))
        except AuricleError as error:
            log.warning("%s %s cannot end yet: %s", kind.name, name, error)
            await self.world.cluster.tell(body, "CannotEnd", str(error), warning=True)
            raise kopf.TemporaryError(str(error), delay=10) from None
        except Gone:
            wait = 5.0
        except Exception as error:
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s %s: the end failed (%s).\n%s", kind.name, name, type(error).__name__, where)
            raise kopf.TemporaryError("A bug: the operator's log has it.", delay=30) from None
        if wait is not None:
            raise kopf.TemporaryError("Still ending.", delay=wait)
        self._turns.pop(key, None)

    async def _one(self, key: Key, act: Pass) -> float | None:
        kind, namespace, name = key
        manifest = self.mirror.get(kind, name, namespace)
        if manifest is None or "deletionTimestamp" in manifest["metadata"]:
            return None  # the teardown's, from now on
        async with self._limit, self._turn(key):
            with reconciling(kind.name):
                return await self._steps.follow(act(manifest))

    async def _rest(self, key: Key, seconds: float, stopped: Any) -> None:
        woken = asyncio.ensure_future(self._wake(key).wait())
        ended = asyncio.ensure_future(stopped.wait())
        try:
            done, _ = await asyncio.wait((woken, ended), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            ended.cancel()
        if woken in done:
            await asyncio.sleep(GATHER)

    def _wake(self, key: Key) -> asyncio.Event:
        return self._wakes.setdefault(key, asyncio.Event())

    def _turn(self, key: Key) -> asyncio.Lock:
        return self._turns.setdefault(key, asyncio.Lock())


def registry(settings: Settings) -> kopf.OperatorRegistry:
    """Everything that kopf has to know."""
    found = kopf.OperatorRegistry()
    state: dict[str, Operator] = {}

    @kopf.on.login(registry=found)
    def login(**given: Any) -> kopf.ConnectionInfo | None:
        # Only kopf's own registry knows how to sign in by itself. A pod comes first, as for our other client.
        return kopf.login_with_service_account(**given) or kopf.login_with_kubeconfig(**given)

    @kopf.on.startup(registry=found)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        _configure(settings, chosen)
        cluster = connected()
        known = structs.replace(chosen, image=chosen.image or await _own_image(cluster, chosen.namespace))
        world = World(cluster=cluster, databases=databases(known), stores=stores(known), settings=known, now=utc_now)
        state["operator"] = Operator(known, world)
        await state["operator"].start()

    chosen = settings
    passes: tuple[tuple[Kind, Callable[[Operator], Pass], Callable[[Operator], Pass]], ...] = (
        (TENANTS, lambda o: o.tenant, lambda o: o.tenant_ends),
        (SECRETS, lambda o: lambda m: secrets.reconcile(o.world, m), lambda o: lambda m: secrets.teardown(o.world, m)),
        (MODELS, lambda o: lambda m: models.reconcile(o.world, m), lambda o: lambda m: models.teardown(o.world, m)),
    )
    for kind, act, end in passes:
        _keep(found, state, kind, act, end)
    for kind in WATCHED:
        _watch(found, state, kind)
    return found


async def _own_image(cluster: Cluster, namespace: str) -> str:
    """What this operator's Deployment runs, so that whoever changes its image need not say it twice."""
    found = await cluster.get(DEPLOYMENT, MANAGER, namespace)
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"]) if found else ""


def _keep(
    found: kopf.OperatorRegistry,
    state: dict[str, Operator],
    kind: Kind,
    act: Callable[[Operator], Pass],
    end: Callable[[Operator], Pass],
) -> None:
    where = (kind.group, kind.api_version.rpartition("/")[2], kind.plural)

    @kopf.daemon(*where, registry=found, id="keep", cancellation_backoff=5.0, cancellation_timeout=30.0)
    async def keep(name: str, namespace: str | None, stopped: Any, **_: Any) -> None:
        operator = state["operator"]
        await operator.keep(kind, name, namespace or "", act(operator), stopped)

    @kopf.on.delete(*where, registry=found, id="end", backoff=5.0)
    async def ending(name: str, namespace: str | None, body: kopf.Body, **_: Any) -> None:
        operator = state["operator"]
        await operator.end(kind, name, namespace or "", end(operator), _plain(kind, body))


def _watch(found: kopf.OperatorRegistry, state: dict[str, Operator], kind: Kind) -> None:
    where = (kind.group, kind.api_version.rpartition("/")[2], kind.plural) if kind.group else ("v1", kind.plural)

    @kopf.on.event(*where, registry=found, id="heard")
    async def heard(type: str | None, body: kopf.Body, **_: Any) -> None:
        state["operator"].heard(_plain(kind, body), type == "DELETED", anew=type is None)


def _configure(settings: kopf.OperatorSettings, chosen: Settings) -> None:
    settings.posting.enabled = False  # we tell what a person wants to know, and nothing else
    settings.persistence.finalizer = f"{GROUP}/operator"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"operator.{GROUP}")
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"operator.{GROUP}")
    settings.networking.request_timeout = 30.0
    settings.watching.server_timeout = 600  # whole seconds: the API server refuses 600.0
    settings.scanning.disabled = True
    settings.execution.max_workers = 4
    if chosen.peering:
        settings.peering.name, settings.peering.mandatory, settings.peering.priority = chosen.peering, True, chosen.priority
        settings.peering.clusterwide = True
    else:
        settings.peering.standalone = True


def _plain(kind: Kind, body: kopf.Body) -> Manifest:
    """As every other manifest: what kopf shows is a view, and lists do not say of each item what it is."""
    return {**_thawed(body), "apiVersion": kind.api_version, "kind": kind.name}


def _thawed(value: Any) -> Any:
    if hasattr(value, "items"):
        return {key: _thawed(inner) for key, inner in value.items()}
    return [_thawed(inner) for inner in value] if isinstance(value, list | tuple) else value

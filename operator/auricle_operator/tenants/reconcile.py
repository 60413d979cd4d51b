"""Bringing a tenant about: one idempotent pass for its making, every change, a restart and drift.

A pass may end at any await, with the operator or without it; the next one begins from what is there.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

import msgspec

from auricle.deploy import release as releases
from auricle.deploy.release import Release
from auricle.errors import AuricleError, Invalid, Permanent
from auricle_operator.api import tenant
from auricle_operator.api.conditions import Condition, Finding, Truth, conditions, moment, stamp, summary
from auricle_operator.api.quantities import amount
from auricle_operator.api.rules import as_applied
from auricle_operator.api.tenant import Phase, TenantSpec, TenantStatus, Usage
from auricle_operator.applying import Applying
from auricle_operator.cluster import (
    CONFIG,
    MODELS,
    NAMESPACE,
    NODE,
    POD,
    SECRET,
    SECRETS,
    TENANT,
    TENANTS,
    VOLUME,
    Gone,
    Manifest,
    kind_of,
    of_kind,
)
from auricle_operator.mirror import Mirror
from auricle_operator.tenants import plans
from auricle_operator.tenants.content import Content, Place, content
from auricle_operator.tenants.desired import KINDS, PART, Desired, Facts, Part, desired
from auricle_operator.tenants.plans import Plan
from auricle_operator.tenants.provisioning import Provisioning
from auricle_operator.tenants.volumes import claim_of
from auricle_operator.world import World

AWAY = 10.0
"""Seconds until a server that was away is asked again."""
MEASURED = 600.0
"""Seconds between two measurings of what a tenant takes."""
VERSION = version("auricle")


class Tenants:
    """The tenants of one operator."""

    def __init__(
        self, world: World, mirror: Mirror, applying: Applying, domains: Callable[[], Mapping[str, Finding]] = dict
    ) -> None:
        """`mirror` hears of every change (`handlers`); `applying` brings about; `domains`: whose do."""
        self._world, self._mirror, self._applying, self._domains = world, mirror, applying, domains
        self._provisioning = Provisioning(world)
        self._releases: dict[str, tuple[str, Release]] = {}  # name of a ConfigMap → its uid, and what it holds
        self._tickets: dict[str, tuple[str, str]] = {}  # namespace → uid of a Secret, and what it holds
        self._contents: dict[str, tuple[bytes, Content]] = {}  # namespace → what it was made of, and what it is

    async def reconcile(self, manifest: Manifest) -> float | None:
        """One pass; seconds until the next is wanted, None when an event will tell."""
        name = manifest["metadata"]["name"]
        try:
            spec = msgspec.convert(manifest["spec"], TenantSpec)
        except msgspec.ValidationError as error:
            refused = Finding(tenant.READY, Truth.FALSE, "CannotRead", f"spec cannot be read: {error}. Correct it.")
            await self._tell(manifest, [refused], Phase.DEGRADED)
            return None
        if problem := self._taken(name):
            await self._tell(manifest, [Finding(tenant.READY, Truth.FALSE, "NamespaceTaken", problem)], Phase.DEGRADED)
            return None
        found = self._found(name)
        facts = await self._facts(manifest, spec, found)
        wanted = desired(manifest, spec, found, facts)
        again, said_no = wanted.again, ""
        try:
            await self._bring(found, wanted)
        except Gone:
            again = AWAY
        except Permanent as error:
            again, said_no = AWAY, str(error)
        # What was just applied has changed what there is: the status tells of that, and not of the moment before.
        now = desired(manifest, spec, self._found(name), facts)
        if said_no:
            findings = [f for f in now.findings if f.type != tenant.READY]
            first = Finding(tenant.READY, Truth.FALSE, "Refused", said_no)
            now = msgspec.structs.replace(now, findings=(first, *findings), phase=Phase.DEGRADED)
        away = any(f.status is not Truth.TRUE for f in (facts.database, facts.bucket))
        usage = await self._usage(manifest, name, spec)
        await self._status(manifest, spec, now, usage)
        return min((wait for wait in (again, now.again, AWAY if away else None) if wait is not None), default=None)

    def _taken(self, name: str) -> str:
        """Why the namespace cannot be this tenant's: a namespace that somebody else made is never taken over."""
        namespace = self._world.namespace(name)
        there = self._mirror.get(NAMESPACE, namespace)
        if there is None or there["metadata"].get("labels", {}).get(TENANT) == name:
            return ""
        return f"The namespace {namespace} is there already and is nobody's vault: delete it, or call the tenant otherwise."

    def _found(self, name: str) -> list[Manifest]:
        known = set(KINDS)
        return [manifest for manifest in self._mirror.of(name, self._world.namespace(name)) if kind_of(manifest) in known]

    def forget(self, manifest: Manifest) -> None:
        """That tenant is gone; the next one of its name begins with nothing."""
        namespace = self._world.namespace(manifest["metadata"]["name"])
        self._provisioning.forget(manifest["metadata"]["uid"])
        self._tickets.pop(namespace, None)
        self._contents.pop(namespace, None)

    async def _facts(self, manifest: Manifest, spec: TenantSpec, found: Sequence[Manifest]) -> Facts:
        """What is known beside the tenant's own objects; brings about what lies outside on the way."""
        name, uid = manifest["metadata"]["name"], manifest["metadata"]["uid"]
        lacking, release, plan = "", None, None
        try:
            plan = self._plan(spec)
            release = self._release(spec)
        except Invalid as error:
            lacking = str(error)
        models = tuple(self._mirror.all(MODELS))
        chosen = [cache for cache in models if cache["metadata"]["name"] in spec.models]
        secrets = {m["spec"]["secret"]: m.get("status", {}).get("current") for m in of_kind(found, SECRETS)}
        namespace = self._world.namespace(name)
        place = Place(
            tenant=name,
            namespace=namespace,
            bucket=self._world.bucket(name),
            settings=self._world.settings,
            secrets={secret: current for secret, current in secrets.items() if current},
            ticket=await self._ticket(namespace, secrets.get("auricle-timers") or ""),
            devices=self._devices(),
            models_claim=_claim(chosen, name),
        )
        rendered = None
        try:
            rendered = self._content(spec, release, plan, place) if release and plan else None
        except Invalid as error:  # a patch of the plan that does not fit
            lacking = str(error)
        quota = amount(spec.quotas.storage) if spec.quotas.storage else None
        public = f"https://{spec.domains[0]}" if spec.domains else ""
        return Facts(
            settings=self._world.settings,
            place=place,
            content=rendered,
            release=release,
            plan=plan,
            lacking=lacking,
            database=await self._provisioning.provided(uid, tenant.DATABASE, name, lambda: self._world.databases.ensure(name)),
            bucket=await self._provisioning.provided(
                uid, tenant.BUCKET, (quota, public), lambda: self._world.stores.ensure(place.bucket, quota, public)
            ),
            domains=self._domains().get(name) if spec.domains else None,
            models=models,
            volumes=tuple(self._mirror.all(VOLUME)),
            operator=VERSION,
            all_past=release is not None and self._all_past(release),
            now=self._world.now(),
        )

    def _content(self, spec: TenantSpec, release: Release, plan: Plan, place: Place) -> Content:
        """What the namespace holds: made anew when anything that it is made of is another."""
        uid, _ = self._releases[f"{releases.PREFIX}{release.name}"]
        said = hashlib.sha256(msgspec.json.encode((spec, uid, plan, place), order="deterministic")).digest()
        if self._contents.get(place.namespace, (b"",))[0] != said:
            self._contents[place.namespace] = (said, content(spec, release, plan, place))
        return self._contents[place.namespace][1]

    def _plan(self, spec: TenantSpec) -> Plan:
        for found in self._mirror.all(CONFIG, self._world.settings.namespace):
            if found["metadata"].get("labels", {}).get(plans.LABEL) == spec.plan:
                return plans.decoded(found)
        raise Invalid(
            f"There is no plan “{spec.plan}”: kubectl -n {self._world.settings.namespace} get configmap -l {plans.LABEL}"
        )

    def _release(self, spec: TenantSpec) -> Release | None:
        if spec.release is None:
            return None
        where = self._world.settings.namespace
        found = self._mirror.get(CONFIG, f"{releases.PREFIX}{spec.release}", where)
        if found is None:
            raise Invalid(
                f"There is no release “{spec.release}”: auricle manifests release {spec.release} --image … | kubectl apply "
                f"--server-side -f -   (known: kubectl -n {where} get configmap -l {releases.LABEL})"
            )
        return self._decoded(found)

    def _decoded(self, found: Manifest) -> Release:
        """The release in a ConfigMap. They are immutable: read once."""
        name, uid = found["metadata"]["name"], found["metadata"]["uid"]
        if self._releases.get(name, ("",))[0] != uid:
            self._releases[name] = (uid, releases.decoded(found))
        return self._releases[name][1]

    def _all_past(self, release: Release) -> bool:
        """Whether all tenants with functions have rolled to `release`, or to one that knows at least its schema."""
        for one in self._mirror.all(TENANTS):
            at_work = one.get("status", {}).get("versions", {}).get("release")
            if not one["spec"].get("release"):
                continue
            known = self._mirror.get(CONFIG, f"{releases.PREFIX}{at_work}", self._world.settings.namespace) if at_work else None
            if known is None or self._decoded(known).schema < release.schema:
                return False
        return True

    def _devices(self) -> int:
        """What nodes offer, or what the pool can grow to."""
        resource = self._world.settings.gpu_resource
        offered = (node.get("status", {}).get("allocatable", {}).get(resource, "0") for node in self._mirror.all(NODE))
        return max(sum(int(count) for count in offered), self._world.settings.gpu_pool)

    async def _ticket(self, namespace: str, secret: str) -> str:
        """What schedules show to be heard; the only secret that is ever read here."""
        if not secret:
            return ""
        seen = self._mirror.get(SECRET, secret, namespace)
        known, ticket = self._tickets.get(namespace, ("", ""))
        if seen is None or seen["metadata"]["uid"] != known:  # they are immutable: each is read once
            found = await self._world.cluster.get(SECRET, secret, namespace)
            if found is None:
                return ""
            ticket = base64.b64decode(found["data"]["TIMER_TOKEN"]).decode()
            self._tickets[namespace] = (found["metadata"]["uid"], ticket)
        return ticket

    async def _bring(self, found: Sequence[Manifest], wanted: Desired) -> None:
        """Part after part; then what is wanted no more, Triggers before what they call."""
        for part, objects in wanted.parts:
            if part is not Part.FOUNDATION and self._ending(wanted):
                return  # nothing goes into a namespace that is ending, and what is in it goes by itself
            await self._applying.bring(objects)
        held = [m for m in found if m["metadata"].get("labels", {}).get(PART) in wanted.held]
        superfluous = [m for m in reversed(found) if m not in held and m not in wanted.spare]
        await self._applying.prune(superfluous, wanted.objects)

    def _ending(self, wanted: Desired) -> bool:
        (namespace,) = of_kind(wanted.objects, NAMESPACE)
        there = self._mirror.get(NAMESPACE, namespace["metadata"]["name"])
        return there is None or "deletionTimestamp" in there["metadata"]

    async def _usage(self, manifest: Manifest, name: str, spec: TenantSpec) -> Usage:
        """What it takes: asked seldom, because asking costs the servers."""
        known = msgspec.convert(manifest.get("status", {}).get("usage", {}), Usage)
        now = self._world.now()
        if known.measured_at and (now - moment(known.measured_at)).total_seconds() < MEASURED:
            return known
        try:
            objects = await self._world.stores.used(self._world.bucket(name))
            return Usage(
                storage_bytes=objects.bytes if objects else None,
                database_bytes=await self._world.databases.bytes_used(name),
                minutes_this_month=await self._world.databases.minutes_this_month(name) if spec.release else None,
                pods=len(await self._world.cluster.list(POD, self._world.namespace(name))),
                measured_at=stamp(now),
            )
        except AuricleError:
            return known  # what was known; that a server is away is said where it matters

    async def _status(self, manifest: Manifest, spec: TenantSpec, wanted: Desired, usage: Usage) -> None:
        url = f"https://{spec.domains[0]}" if spec.domains and spec.release else None
        await self._write(
            manifest,
            TenantStatus(
                phase=wanted.phase,
                namespace=self._world.namespace(manifest["metadata"]["name"]),
                url=url,
                usage=usage,
                versions=wanted.versions,
            ),
            wanted.findings,
        )

    async def _tell(self, manifest: Manifest, findings: Sequence[Finding], phase: Phase) -> None:
        """A status that is only a problem: everything else stays as it was told."""
        before = msgspec.convert(manifest.get("status", {}), TenantStatus)
        others = [Finding(c.type, c.status, c.reason, c.message) for c in before.conditions if c.type != tenant.READY]
        await self._write(manifest, msgspec.structs.replace(before, phase=phase), [*findings, *others])

    async def _write(self, manifest: Manifest, status: TenantStatus, findings: Sequence[Finding]) -> None:
        """Write the status if it is news, and tell of a phase that is new."""
        said = manifest.get("status", {})
        before = msgspec.convert(said.get("conditions", []), list[Condition])
        generation = manifest["metadata"].get("generation", 0)
        full = msgspec.structs.replace(
            status,
            observed_generation=generation,
            conditions=tuple(conditions(findings, before, generation, self._world.now())),
        )
        now = as_applied(full)
        if now == said:
            return
        name = manifest["metadata"]["name"]
        await self._world.cluster.status(TENANTS, name, None, now)
        if full.phase is not None and full.phase.value != said.get("phase"):
            why = summary([f for f in findings if f.type != tenant.READY], ignoring=(tenant.GPU,)).message
            warning = full.phase in (Phase.DEGRADED, Phase.WAITING_FOR_GPU)
            await self._world.cluster.tell(
                manifest, full.phase.value, why or f"The vault is {full.phase.value}.", warning=warning
            )


def _claim(chosen: Sequence[Manifest], name: str) -> str:
    try:
        return claim_of(chosen, name) if chosen else ""
    except Invalid:
        return ""  # said where the volume is decided

"""What a tenant's namespace shall hold now, and how far it is: state in, state out. Nothing here asks anybody anything.

Parts come one after another, because each needs what the one before made: keys need a namespace, functions need keys and a
database that was migrated. A part that has to wait is *held*: what it made earlier stays as it is, at the release it had.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from auricle.deploy.release import Release
from auricle.deploy.render import SETTINGS, labels
from auricle.errors import Invalid
from auricle_operator.api import tenant
from auricle_operator.api.conditions import Finding, Truth, summary
from auricle_operator.api.tenant import BrokerClass, Phase, TenantSpec, Versions
from auricle_operator.cluster import (
    ACCOUNT,
    BROKER,
    CLAIM,
    CONFIG,
    DISRUPTION,
    JOB,
    KSERVICE,
    LIMITS,
    NAMESPACE,
    NETWORK,
    PING,
    RABBIT,
    RESOURCE_QUOTA,
    SECRETS,
    TRIGGER,
    VOLUME,
    Kind,
    Manifest,
    of_kind,
    owned,
)
from auricle_operator.settings import Settings
from auricle_operator.tenants import standing
from auricle_operator.tenants.content import Content, Place
from auricle_operator.tenants.keys import KEYS, managed_secret
from auricle_operator.tenants.plans import Plan
from auricle_operator.tenants.volumes import models_volume

PART = "auricle.dev/part"
"""Label: which part of a tenant an object belongs to."""
MIGRATED = "auricle.dev/migrated"
"""Annotation of the namespace: the schema that its database was brought to. The database itself knows it too; a job that runs
once too often does no harm."""
SOON = 5.0
"""Seconds until something that tells nobody is looked at again."""


KINDS: tuple[Kind, ...] = (
    NAMESPACE,
    SECRETS,
    RESOURCE_QUOTA,
    LIMITS,
    NETWORK,
    DISRUPTION,
    ACCOUNT,
    CONFIG,
    VOLUME,
    CLAIM,
    JOB,
    BROKER,
    RABBIT,
    KSERVICE,
    TRIGGER,
    PING,
)
"""What a tenant consists of: to be watched, and to be taken away when it is wanted no more."""


class Part(StrEnum):
    """What is made and taken away together."""

    FOUNDATION = "foundation"
    WALLS = "walls"
    KEYS = "keys"
    MODELS = "models"
    JOBS = "jobs"
    BROKER = "broker"
    FUNCTIONS = "functions"
    TRIGGERS = "triggers"
    SCHEDULES = "schedules"
    AFTER = "after"


OF_RELEASE = frozenset({Part.JOBS, Part.FUNCTIONS, Part.TRIGGERS, Part.SCHEDULES, Part.AFTER})
"""Parts that a release makes once keys, database and schema are there."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the tenant's own objects."""

    settings: Settings
    place: Place
    release: Release | None = None
    plan: Plan | None = None
    content: Content | None = None
    """What the release is in this tenant's namespace, when there are a release and a plan."""
    lacking: str = ""
    """A sentence, when the release or the plan that the tenant names is not there or cannot be read."""
    database: Finding
    bucket: Finding
    domains: Finding | None = None
    """Whether the gateway leads the tenant's domains to it."""
    models: tuple[Manifest, ...] = ()
    """The ModelCaches there are."""
    volumes: tuple[Manifest, ...] = ()
    """The PersistentVolumes there are."""
    operator: str = ""
    all_past: bool = False
    """Whether every tenant's functions are of this release or of a newer one."""
    now: datetime


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """What shall be, in order; what is left alone; and what to tell people."""

    parts: tuple[tuple[Part, tuple[Manifest, ...]], ...]
    held: frozenset[Part]
    findings: tuple[Finding, ...]
    phase: Phase
    versions: Versions
    spare: tuple[Manifest, ...] = ()
    """What is wanted no more, and stays until what still reads it is gone."""
    again: float | None = None

    @property
    def objects(self) -> tuple[Manifest, ...]:
        """All that shall be."""
        return tuple(manifest for _, objects in self.parts for manifest in objects)


def desired(manifest: Manifest, spec: TenantSpec, found: Sequence[Manifest], facts: Facts) -> Desired:
    """What shall be of the Tenant `manifest`, given the objects `found` that carry its label."""
    return _Deciding(manifest, spec, found, facts).decided()


class _Deciding:
    """One decision. Each method adds a part, or holds it and says why."""

    def __init__(self, manifest: Manifest, spec: TenantSpec, found: Sequence[Manifest], facts: Facts) -> None:
        self.manifest, self.spec, self.found, self.facts = manifest, spec, found, facts
        self.place, self.content = facts.place, facts.content
        self.parts: list[tuple[Part, tuple[Manifest, ...]]] = []
        self.held: set[Part] = set()
        self.findings: list[Finding] = []
        self.namespace = next(iter(of_kind(found, NAMESPACE)), None)

    def decided(self) -> Desired:
        self.foundation()
        self.keys()
        self.findings += [self.facts.database, self.facts.bucket]
        self.models()
        rolled = self.functions()
        self.findings += [f for f in (self.facts.domains,) if f is not None]
        self.findings += [*standing.quota(self.found), *standing.devices(self.spec, self.facts.plan, self.place)]
        findings = [summary(self.findings, ignoring=(tenant.GPU,)), *self.findings]
        return Desired(
            parts=tuple(self.parts),
            held=frozenset(self.held),
            findings=tuple(findings),
            phase=standing.phase(self.spec, findings),
            versions=self.versions(rolled),
            spare=self.spare(rolled),
            again=self.again(findings),
        )

    # Parts.

    def foundation(self) -> None:
        self.add(Part.FOUNDATION, [self._namespace()])
        if self.content is not None:
            self.add(Part.WALLS, self.content.policies)
        elif self.spec.release is not None:  # what it names cannot be read: functions go on, so their walls stand
            self.held.add(Part.WALLS)
        self.findings.append(standing.namespace(self.found))

    def keys(self) -> None:
        wanted = [key for key in KEYS if key.always or self.spec.release is not None]
        if self.facts.plan is None and self.spec.release is not None:
            self.held.add(Part.KEYS)  # the plan says how often they are exchanged
        else:
            exchange = self.facts.plan.exchange if self.facts.plan else {}
            self.add(Part.KEYS, [managed_secret(key, self.place.namespace, exchange) for key in wanted])
        self.findings.append(standing.secrets(self.found, wanted))

    def models(self) -> None:
        if not self.spec.models:
            return
        there = {standing.name_of(m): m for m in self.facts.models}
        missing = [name for name in self.spec.models if name not in there]
        if missing:
            self.held.add(Part.MODELS)
            what = f"There is no ModelCache {', '.join(missing)}: apply it, or name another."
            self.say(tenant.MODELS, Truth.FALSE, "NoSuchModel", what)
            return
        chosen = [there[name] for name in self.spec.models]
        try:
            self.add(Part.MODELS, models_volume(chosen, self.place.tenant, self.place.namespace, self.facts.volumes))
        except Invalid as error:
            self.held.add(Part.MODELS)
            self.say(tenant.MODELS, Truth.FALSE, "Storage", str(error))
            return
        self.findings.append(standing.models(chosen))

    def functions(self) -> bool:
        """Jobs, broker and functions; whether the release that is asked for is wholly at work."""
        if self.spec.release is None:
            return False  # nothing of it is wanted, so what there was goes
        if self.content is None:
            self.held |= {Part.BROKER, *OF_RELEASE}
            self.say(tenant.FUNCTIONS, Truth.FALSE, "CannotRender", self.facts.lacking)
            return False
        self.add(Part.BROKER, self.content.broker)
        self.findings.append(standing.broker(self.found, self.facts.now))
        if not self._prepared() or not self._migrated():
            return False
        self.add(Part.FUNCTIONS, self.content.functions)
        self.add(Part.TRIGGERS, self.content.triggers)
        self.add(Part.SCHEDULES, self.content.schedules)
        rolled = standing.functions(self.found, self.content, self.spec.suspended, self.facts.now)
        self.findings.append(rolled)
        whole = rolled.status is Truth.TRUE
        if whole:
            jobs = [*self._welcome(), *self._contraction()]
            self.add(Part.AFTER, [*self._accounts(), *jobs] if jobs else [])
        else:
            self.held.add(Part.AFTER)
        return whole

    # Steps of functions.

    def _prepared(self) -> bool:
        """Whether there is what functions start with."""
        made = all(standing.current(m) for m in of_kind(self.found, SECRETS))
        for finding in self.findings:
            # A secret whose exchange is stuck still works: it stops no release.
            stuck = finding.type == tenant.SECRETS and made and bool(of_kind(self.found, KSERVICE))
            if finding.type in standing.EARLY and finding.status is not Truth.TRUE and not stuck:
                self.held |= OF_RELEASE
                why = f"Waits for {finding.type}: {finding.message or finding.reason}"
                self.say(tenant.FUNCTIONS, Truth.UNKNOWN, "Waiting", why)
                return False
        return True

    def _migrated(self) -> bool:
        """Expand first: functions roll when the schema is there that they speak to."""
        assert self.facts.release is not None
        assert self.content is not None
        schema = self.facts.release.schema
        if self._schema() >= schema:
            return True
        self.held |= OF_RELEASE - {Part.JOBS}
        self.add(Part.JOBS, [*self._accounts(), self._named("migrate", self._migration_name())])
        if _ended(self._migration(), "Failed"):
            where, job = f"-n {self.place.namespace}", self._migration_name()
            what = f"The schema could not be brought to {schema}; functions go on at the release before."
            todo = f"Read why (kubectl {where} logs job/{job}), then let it try again (kubectl {where} delete job {job})."
            self.say(tenant.FUNCTIONS, Truth.FALSE, "MigrationFailed", f"{what} {todo}")
        else:
            self.say(tenant.FUNCTIONS, Truth.UNKNOWN, "Migrating", f"The schema is brought to {schema}.")
        return False

    def _welcome(self) -> list[Manifest]:
        """Invitations of the owners, once everything is there."""
        if not self.spec.admins or not self._has("invite"):
            return []
        admins = ",".join(self.spec.admins)
        job = self._named("invite", f"invite-{hashlib.sha256(admins.encode()).hexdigest()[:8]}")
        container = job["spec"]["template"]["spec"]["containers"][0]
        container["env"] = [*container.get("env", ()), {"name": "INVITE_OWNERS", "value": admins}]
        return [job]

    def _contraction(self) -> list[Manifest]:
        """What no release reads any more goes when every tenant is past the last one that did."""
        release = self.facts.release
        if release is None or not release.contraction or not self.facts.all_past:
            return []
        return [self._named("contract", f"contract-{release.contraction.replace('_', '-')}"[:63].strip("-"))]

    # What else is told.

    def versions(self, rolled: bool) -> Versions:
        """What is at work; the release is what the last complete roll left."""
        before = self.manifest.get("status", {}).get("versions", {}).get("release")
        made = {standing.name_of(m): m.get("status", {}).get("version") for m in of_kind(self.found, SECRETS)}
        return Versions(
            release=self.spec.release if rolled else (before if self.spec.release else None),
            schema=self._schema() or None,
            operator=self.facts.operator or None,
            secrets={name: number for name, number in made.items() if number},
        )

    def spare(self, rolled: bool) -> tuple[Manifest, ...]:
        """The settings of revisions that still answer, and jobs, whose logs people may want: those go by themselves."""
        settings = [m for m in of_kind(self.found, CONFIG) if standing.name_of(m).startswith(f"{SETTINGS}-")]
        return (*of_kind(self.found, JOB), *([] if rolled else settings))

    def again(self, findings: Sequence[Finding]) -> float | None:
        """What tells nobody is looked at: the end of a namespace, and an unready thing that may have become a failure."""
        reasons = {finding.reason for finding in findings if finding.status is not Truth.TRUE}
        if "Ending" in reasons:
            return SOON
        return standing.GRACE.total_seconds() if any(f.status is Truth.UNKNOWN for f in findings) else None

    # Small things.

    def add(self, part: Part, objects: Iterable[Manifest]) -> None:
        self.parts.append((part, tuple(self._ours(part, m) for m in objects)))

    def say(self, type: str, status: Truth, reason: str, message: str = "") -> None:
        self.findings.append(Finding(type, status, reason, message))

    def _ours(self, part: Part, manifest: Manifest) -> Manifest:
        metadata = manifest["metadata"]
        marked = {**manifest, "metadata": {**metadata, "labels": {**metadata.get("labels", {}), PART: part.value}}}
        return owned(marked, self.manifest, tenant_name=self.place.tenant)

    def _namespace(self) -> Manifest:
        # RabbitMQ's dispatchers name no seccomp profile: see components/rabbitmq.
        rabbit = self.spec.broker.klass is BrokerClass.RABBITMQ
        version = {"pod-security.kubernetes.io/enforce-version": "v1.18"} if rabbit else {}
        security = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
        name, schema = self.place.namespace, self._schema()
        return {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {**labels(name), **security, **version},
                **({"annotations": {MIGRATED: schema}} if schema else {}),
            },
        }

    def _accounts(self) -> list[Manifest]:
        assert self.content is not None
        return [m for m in self.content.jobs if m["kind"] == ACCOUNT.name]

    def _has(self, job: str) -> bool:
        return self.content is not None and any((m["kind"], standing.name_of(m)) == (JOB.name, job) for m in self.content.jobs)

    def _named(self, job: str, name: str) -> Manifest:
        """A job under a name of its own: a Job cannot be changed, another one is another name."""
        assert self.content is not None
        (found,) = (m for m in self.content.jobs if (m["kind"], standing.name_of(m)) == (JOB.name, job))
        return copy.deepcopy({**found, "metadata": {**found["metadata"], "name": name}})

    def _schema(self) -> str:
        """The newest schema that a job is known to have reached."""
        known = self.namespace["metadata"].get("annotations", {}).get(MIGRATED, "") if self.namespace else ""
        reached = self.facts.release.schema if self.facts.release and _ended(self._migration(), "Complete") else ""
        return max(known, reached)

    def _migration(self) -> Manifest | None:
        return next((m for m in of_kind(self.found, JOB) if standing.name_of(m) == self._migration_name()), None)

    def _migration_name(self) -> str:
        schema = self.facts.release.schema if self.facts.release else ""
        return f"migrate-{schema.replace('_', '-')}"[:63].strip("-")


def _ended(job: Manifest | None, how: str) -> bool:
    conditions = (job or {}).get("status", {}).get("conditions", ())
    return any(c["type"] == how and c["status"] == "True" for c in conditions)

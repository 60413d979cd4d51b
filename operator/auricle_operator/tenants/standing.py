"""How far a tenant is: one finding per condition, each a sentence that says what to do where something is wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from auricle_operator.api import managedsecret, modelcache, tenant
from auricle_operator.api.conditions import Finding, Truth, moment
from auricle_operator.api.quantities import reached
from auricle_operator.api.tenant import Phase, TenantSpec
from auricle_operator.applying import shown
from auricle_operator.cluster import (
    BROKER,
    KSERVICE,
    NAMESPACE,
    PING,
    RESOURCE_QUOTA,
    SECRETS,
    TRIGGER,
    Manifest,
    of_kind,
    ready,
)
from auricle_operator.tenants.content import Content, Place, window
from auricle_operator.tenants.keys import Key
from auricle_operator.tenants.plans import Plan, Speech

EARLY = (tenant.NAMESPACE, tenant.SECRETS, tenant.DATABASE, tenant.BUCKET)
"""What functions need before anything else."""


GRACE = timedelta(seconds=90)
"""Knative and RabbitMQ call unready what they are still making. What stays so for longer is a failure."""


def name_of(manifest: Manifest) -> str:
    """Its name."""
    return str(manifest["metadata"]["name"])


def namespace(found: Sequence[Manifest]) -> Finding:
    """Whether there is one, and it stays."""
    there = next(iter(of_kind(found, NAMESPACE)), None)
    if there is None:
        return Finding(tenant.NAMESPACE, Truth.UNKNOWN, "Creating", "The namespace is being made.")
    if "deletionTimestamp" in there["metadata"]:
        return Finding(tenant.NAMESPACE, Truth.FALSE, "Ending", "The namespace is being deleted; then it is made anew.")
    return Finding(tenant.NAMESPACE, Truth.TRUE, "Active")


def current(secret: Manifest | None) -> str:
    """The Secret that a ManagedSecret has consumers take; empty while there is none."""
    return str((secret or {}).get("status", {}).get("current", ""))


def secrets(found: Sequence[Manifest], wanted: Iterable[Key]) -> Finding:
    """Whether all are made, and none is stuck in its exchange."""
    there = {name_of(m): m for m in of_kind(found, SECRETS)}
    for name, manifest in sorted(there.items()):
        holds, _, message = ready(manifest, managedsecret.READY)
        if holds is False:
            return Finding(tenant.SECRETS, Truth.FALSE, "Failing", f"{name}: {message or 'it is not Ready'}")
    waiting = [key.purpose.value for key in wanted if not current(there.get(key.purpose.value))]
    if waiting:
        return Finding(tenant.SECRETS, Truth.UNKNOWN, "Making", f"Not made yet: {', '.join(waiting)}.")
    return Finding(tenant.SECRETS, Truth.TRUE, "Made")


def models(chosen: Sequence[Manifest]) -> Finding:
    """Whether all of a tenant's ModelCaches are filled."""
    for cache in chosen:
        holds, reason, message = ready(cache, modelcache.READY)
        if not holds:
            truth = Truth.FALSE if holds is False else Truth.UNKNOWN
            return Finding(tenant.MODELS, truth, reason or "NotReady", f"{name_of(cache)}: {message}")
    return Finding(tenant.MODELS, Truth.TRUE, "Present")


def broker(found: Sequence[Manifest], now: datetime) -> Finding:
    """Whether events are carried."""
    there = next(iter(of_kind(found, BROKER)), None)
    if there is None:
        return Finding(tenant.BROKER, Truth.UNKNOWN, "Creating", "The broker is being made.")
    _, reason, message = ready(there)
    return Finding(tenant.BROKER, _truth(there, now), reason or "Ready", message)


def functions(found: Sequence[Manifest], wanted: Content, suspended: bool, now: datetime) -> Finding:
    """Whether every Service, Trigger and schedule says what it should and is Ready; else the first that is not."""
    services = [m for m in wanted.functions if m["kind"] == KSERVICE.name]
    for kind, objects in ((KSERVICE, services), (TRIGGER, wanted.triggers), (PING, wanted.schedules)):
        there = {name_of(m): m for m in of_kind(found, kind)}
        for one in objects:
            what = f"{kind.name} {name_of(one)}"
            said = there.get(name_of(one))
            if said is None or not _says(said, one):
                return Finding(tenant.FUNCTIONS, Truth.UNKNOWN, "Rolling", f"{what} is being changed.")
            truth = _truth(said, now)
            if truth is not Truth.TRUE:
                _, reason, message = ready(said)
                return Finding(tenant.FUNCTIONS, truth, reason or "Rolling", f"{what}: {message or 'not Ready yet'}")
    if suspended:
        return Finding(tenant.FUNCTIONS, Truth.TRUE, "Suspended", "Everything sleeps, and requests are refused.")
    return Finding(tenant.FUNCTIONS, Truth.TRUE, "Rolled")


def quota(found: Sequence[Manifest]) -> list[Finding]:
    """Whether the namespace's quota has something left; nothing before there is one."""
    there = next(iter(of_kind(found, RESOURCE_QUOTA)), None)
    if there is None:
        return []
    status = there.get("status", {})
    full = sorted(name for name, most in status.get("hard", {}).items() if reached(there, name, most))
    if full:
        what = ", ".join(f"{name} ({status['used'][name]} of {status['hard'][name]})" for name in full)
        return [
            Finding(tenant.QUOTA, Truth.FALSE, "Exhausted", f"Used up: {what}. Choose a larger plan, or wait until pods end.")
        ]
    return [Finding(tenant.QUOTA, Truth.TRUE, "Within")]


def devices(spec: TenantSpec, plan: Plan | None, place: Place) -> list[Finding]:
    """Whether there is a GPU for a plan that wants one. Waiting for one is no failure: nodes come and go."""
    if plan is None or plan.speech is not Speech.GPU or spec.release is None:
        return []
    if place.devices == 0:
        what = f"No node offers {place.settings.gpu_resource}: recordings wait for one."
        todo = "Add one to the GPU pool, or choose a plan without."
        return [Finding(tenant.GPU, Truth.FALSE, "WaitingForGPU", f"{what} {todo}")]
    return [Finding(tenant.GPU, Truth.TRUE, "Present", f"Up to {window(spec, place)} at once.")]


def phase(spec: TenantSpec, findings: Sequence[Finding]) -> Phase:
    """One word of all findings, the summary included."""
    by_type = {finding.type: finding for finding in findings}
    if by_type[tenant.NAMESPACE].reason == "Creating":
        return Phase.PENDING
    rolled = by_type.get(tenant.FUNCTIONS)
    if spec.suspended and rolled is not None and rolled.status is Truth.TRUE:
        return Phase.SUSPENDED
    whole = by_type[tenant.READY].status
    if whole is Truth.TRUE:
        waits = tenant.GPU in by_type and by_type[tenant.GPU].status is Truth.FALSE
        return Phase.WAITING_FOR_GPU if waits else Phase.READY
    if whole is Truth.FALSE:
        return Phase.DEGRADED
    if any(by_type[name].status is not Truth.TRUE for name in EARLY if name in by_type):
        return Phase.PROVISIONING
    return Phase.MIGRATING if rolled is not None and rolled.reason == "Migrating" else Phase.ROLLING


def _truth(manifest: Manifest, now: datetime) -> Truth:
    """Of its condition Ready. False counts once it has lasted: see GRACE."""
    holds, _, _ = ready(manifest)
    if holds is not False:
        return Truth.UNKNOWN if holds is None else Truth.TRUE
    (said,) = (c for c in manifest["status"]["conditions"] if c["type"] == "Ready")
    since = max(moment(said["lastTransitionTime"]), moment(manifest["metadata"]["creationTimestamp"]))
    return Truth.FALSE if now - since > GRACE else Truth.UNKNOWN


def _says(found: Manifest, wanted: Manifest) -> bool:
    """Whether what is there is of the release, the settings and the secrets that are wanted."""
    if "template" not in wanted["spec"]:
        return True
    ours, theirs = (m["spec"]["template"]["spec"]["containers"][0] for m in (wanted, found))
    return all(shown(theirs.get(key), ours.get(key)) == ours.get(key) for key in ("image", "env", "envFrom"))

"""What stands in a tenant's namespace: the release's objects with this tenant's names, numbers and addresses. Pure.

The same renderer and the same files as `manifests/overlays`; what an overlay is to kustomize, a plan and a Tenant are here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from auricle.contract.choices import Scale
from auricle.deploy.components import Component
from auricle.deploy.release import Release
from auricle.deploy.render import GROUPS, SETTINGS, labels, render, units
from auricle.errors import Invalid
from auricle_operator.api.quantities import amount
from auricle_operator.api.tenant import BrokerClass, FunctionScale, TenantSpec
from auricle_operator.cluster import Manifest
from auricle_operator.settings import Settings
from auricle_operator.tenants.plans import Plan, Speech
from auricle_operator.tenants.walls import walls

MIN_SCALE = "autoscaling.knative.dev/min-scale"
MAX_SCALE = "autoscaling.knative.dev/max-scale"
MODELS = "models"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a tenant lives, and by what names its things go."""

    tenant: str
    namespace: str
    bucket: str
    settings: Settings
    secrets: dict[str, str] = msgspec.field(default_factory=dict)
    """Secret as the renderer calls it → its current version. What is not here keeps its name (an optional one is not there)."""
    ticket: str = ""
    """What schedules show."""
    devices: int = 0
    """Devices that one tenant's speech functions may take at once."""
    models_claim: str = ""
    """The claim with this tenant's models."""


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace's objects, by what must come before what."""

    policies: tuple[Manifest, ...]
    broker: tuple[Manifest, ...]
    functions: tuple[Manifest, ...]  # settings, accounts, Services
    triggers: tuple[Manifest, ...]
    schedules: tuple[Manifest, ...]
    jobs: tuple[Manifest, ...]


def content(spec: TenantSpec, release: Release, plan: Plan, place: Place) -> Content:
    """Everything of `release` as this tenant has it."""
    chosen = units(release.functions, grouped=plan.grouped)
    rendered = [m for name, objects in render(chosen).items() if name != "event-types" for m in objects]
    components = [
        release.components[spec.broker.klass.value],
        *_speech(plan, spec, release),
        *(_component(name, release) for name in plan.components),
        plan.component(),
    ]
    everything = [*release.policies, *release.broker, *release.jobs, *rendered]
    for component in components:
        everything = component.applied(everything)
    # The volume of models is the ModelCaches' (auricle_operator.models), not the component's.
    everything = [m for m in everything if not (m["kind"] == "PersistentVolumeClaim" and m["metadata"]["name"] == MODELS)]
    config = _config(spec, release, components, plan, place)
    dressed = [_dressed(m, spec, release, place, config["metadata"]["name"], plan) for m in everything]
    jobs = [m for m in dressed if m["kind"] == "Job"]
    of_jobs = {m["metadata"]["name"] for m in jobs}
    accounts_of_jobs = [m for m in dressed if m["kind"] == "ServiceAccount" and m["metadata"]["name"] in of_jobs]
    walls_out = [_at(place, wall) for wall in walls(place.settings, of_jobs)]
    apart = ("Job", "Trigger", "PingSource", "NetworkPolicy", "ResourceQuota", "LimitRange", "PodDisruptionBudget")
    around = [m for m in dressed if m["kind"] in ("NetworkPolicy", "ResourceQuota", "LimitRange", "PodDisruptionBudget")]
    broker = [m for m in dressed if m["kind"] == "Broker" or _configures(m, dressed)]
    rest = [m for m in dressed if m["kind"] not in apart and m not in broker and m not in accounts_of_jobs]
    return Content(
        policies=(*around, *walls_out),
        broker=tuple(broker),
        functions=(config, *rest),
        triggers=tuple(m for m in dressed if m["kind"] == "Trigger"),
        schedules=() if spec.suspended else tuple(m for m in dressed if m["kind"] == "PingSource"),
        jobs=(*accounts_of_jobs, *jobs),
    )


def window(spec: TenantSpec, place: Place) -> int:
    """Pieces of one step under way at once: more than there are devices would only wait, and look busy."""
    return max(1, place.devices if spec.quotas.gpu is None else min(place.devices, spec.quotas.gpu))


def _component(name: str, release: Release) -> Component:
    if (found := release.components.get(name)) is None:
        wrong = f"The plan has component “{name}”, and release {release.name} is too old to have it"
        raise Invalid(f"{wrong}: name a newer release, or a plan without it.")
    return found


def _speech(plan: Plan, spec: TenantSpec, release: Release) -> list[Component]:
    if plan.speech is Speech.GPU:
        return [release.components["gpu"]]
    return [release.components["cpu"]] if spec.models or plan.speech is Speech.CPU else []


def _config(spec: TenantSpec, release: Release, components: Iterable[Component], plan: Plan, place: Place) -> Manifest:
    """The functions' settings. Its name carries a hash, so that a change makes new revisions and old pods keep theirs."""
    public = f"https://{spec.domains[0]}" if spec.domains else ""
    said = {
        **release.settings,
        "S3_ENDPOINT": place.settings.store_endpoint,
        "S3_REGION": place.settings.store_region,
        "BLOBS_INTERNAL_URL": place.settings.store_endpoint,
        "OBJECT_ORIGINS": place.settings.store_endpoint,
        "PUBLIC_URL": public,
        "BLOBS_PUBLIC_URL": public,  # a plan says otherwise where browsers reach the store by another name
        **{key: value for component in components for key, value in component.settings.items()},
        "S3_BUCKET": place.bucket,
        "EVENT_SOURCE": f"/auricle/{place.tenant}",
        **({"WINDOW": str(window(spec, place))} if plan.speech is Speech.GPU else {}),
        **_limits(spec),
    }
    if spec.broker.klass is BrokerClass.KAFKA:
        said["BROKER_URL"] = said["BROKER_URL"].replace("/auricle/default", f"/{place.namespace}/default")
    if not spec.models:
        said = {key: value for key, value in said.items() if key not in ("MODELS_DIR", "MODELS_REQUIRED")}
    marked = hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()[:10]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{SETTINGS}-{marked}", "namespace": place.namespace, "labels": labels(SETTINGS)},
        "immutable": True,
        "data": dict(sorted(said.items())),
    }


def _limits(spec: TenantSpec) -> dict[str, str]:
    quotas = spec.quotas
    said: dict[str, Any] = {
        "MAX_RUNS": quotas.concurrent_runs,
        "MINUTES_PER_MONTH": quotas.minutes_per_month,
        "MAX_STORAGE_BYTES": amount(quotas.storage) if quotas.storage else None,
        "AUDIT_KEEP_DAYS": spec.retention.audit_days,
        "SUSPENDED": "true" if spec.suspended else None,
    }
    return {key: str(value) for key, value in said.items() if value is not None}


def _dressed(manifest: Manifest, spec: TenantSpec, release: Release, place: Place, config: str, plan: Plan) -> Manifest:
    """One object with the tenant's names and numbers."""
    found = _at(place, manifest)
    kind = found["kind"]
    if kind == "Service":
        found = _scaled(_named(found, release, place, config, spec), spec, place, plan)
    elif kind == "Job":
        found = _named(found, release, place, config, spec)
    elif kind == "PingSource":
        found["spec"]["ceOverrides"]["extensions"]["ticket"] = place.ticket
    elif kind == "Broker" and plan.grouped:
        sink = found["spec"]["delivery"]["deadLetterSink"]["ref"]
        sink["name"] = next(
            (GROUPS.get(e.image, e.image.value) for e in release.functions if e.name == "dead_letter"), sink["name"]
        )
    elif kind == "ResourceQuota" and spec.quotas.gpu is not None:
        found["spec"]["hard"][f"requests.{place.settings.gpu_resource}"] = str(spec.quotas.gpu)
    return found


def _at(place: Place, manifest: Manifest) -> Manifest:
    found: Manifest = msgspec.json.decode(msgspec.json.encode(manifest))
    found["metadata"]["namespace"] = place.namespace
    return found


def _named(found: Manifest, release: Release, place: Place, config: str, spec: TenantSpec) -> Manifest:
    """Images, settings and Secrets by the names they have here; on the nodes that the tenant may use."""
    pod = _pod(found)
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        container["image"] = release.images.get(container["image"].removeprefix("auricle-"), container["image"])
        for source in container.get("envFrom", ()):
            if source.get("configMapRef", {}).get("name") == SETTINGS:
                source["configMapRef"]["name"] = config
        for variable in container.get("env", ()):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                reference["name"] = place.secrets.get(reference["name"], reference["name"])
    for volume in pod.get("volumes", ()):
        if "secret" in volume:
            volume["secret"]["secretName"] = place.secrets.get(volume["secret"]["secretName"], volume["secret"]["secretName"])
        if volume.get("persistentVolumeClaim", {}).get("claimName") == MODELS:
            volume["persistentVolumeClaim"]["claimName"] = place.models_claim
    if spec.residency.node_selector:
        pod["nodeSelector"] = {**pod.get("nodeSelector", {}), **spec.residency.node_selector}
    return found


def _scaled(found: Manifest, spec: TenantSpec, place: Place, plan: Plan) -> Manifest:
    """The tenant's own numbers over the plan's; never more speech pods than there are devices for."""
    marks, template = found["metadata"]["labels"], found["spec"]["template"]
    annotations = template["metadata"]["annotations"]
    for word in (marks["auricle.dev/scale"], marks["auricle.dev/function"]):  # the function's own word is the last
        own = spec.scale.get(word, FunctionScale())
        annotations |= {MIN_SCALE: str(own.min)} if own.min is not None else {}
        annotations |= {MAX_SCALE: str(own.max)} if own.max is not None else {}
    if marks["auricle.dev/scale"] == Scale.GPU and plan.speech is Speech.GPU:
        most = window(spec, place)
        annotations[MAX_SCALE] = str(min(most, int(annotations.get(MAX_SCALE) or most) or most))
        limits = template["spec"]["containers"][0].setdefault("resources", {}).setdefault("limits", {})
        limits[place.settings.gpu_resource] = "1"
    if spec.suspended:
        annotations |= {MIN_SCALE: "0", "autoscaling.knative.dev/initial-scale": "0"}
    if MIN_SCALE in annotations and MAX_SCALE in annotations:
        annotations[MAX_SCALE] = str(max(int(annotations[MIN_SCALE]), int(annotations[MAX_SCALE])))
    return found


def _pod(manifest: Manifest) -> Manifest:
    pod: Manifest = manifest["spec"]["template"]["spec"]
    return pod


def _configures(manifest: Manifest, everything: Iterable[Manifest]) -> bool:
    """Whether a Broker names it as its configuration."""
    named = [m["spec"].get("config", {}) for m in everything if m["kind"] == "Broker"]
    return any((c.get("kind"), c.get("name")) == (manifest["kind"], manifest["metadata"]["name"]) for c in named)

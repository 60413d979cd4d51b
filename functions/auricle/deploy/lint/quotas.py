"""What a namespace demands of every pod in it: Pod Security, and resources that a quota wants stated."""

from __future__ import annotations

from collections.abc import Iterator

from auricle.deploy.lint.places import Fault, Place
from auricle.deploy.lint.rules import objects, pods, rule
from auricle.deploy.lint.world import Pod, World

ENFORCE = "pod-security.kubernetes.io/enforce"
DEMANDS: dict[str, tuple[str, str]] = {
    "cpu": ("requests", "cpu"),
    "memory": ("requests", "memory"),
    "requests.cpu": ("requests", "cpu"),
    "requests.memory": ("requests", "memory"),
    "limits.cpu": ("limits", "cpu"),
    "limits.memory": ("limits", "memory"),
}
"""What a quota counts → what every container has to state under resources."""
SIDECAR_ALWAYS = ("requests", "cpu")
"""What Knative's own container states without being told."""


@rule(over=objects("Namespace"))
def unguarded_namespace(namespace: Place, world: World) -> Iterator[Fault]:
    """A namespace that admits any pod: the next manifest may run as root."""
    place = namespace / "metadata" / "labels" / ENFORCE
    runs = any(pod.owner.namespace == namespace.name for pod in world.services)
    if runs and place.text != "restricted":
        yield place.fault("admits pods that Pod Security `restricted` refuses", f"Set the label {ENFORCE}: restricted")


def _demanded(pod: Pod, world: World) -> Iterator[tuple[Place, str, str]]:
    """What the quotas of a pod's namespace demand and no LimitRange fills in, as (quota, field, resource)."""
    for quota in world.of("ResourceQuota"):
        if quota.namespace == pod.owner.namespace and not (quota / "spec" / "scopeSelector").present:
            for counted in (quota / "spec" / "hard").mapping:
                field, resource = DEMANDS.get(str(counted), ("", ""))
                if field and not _filled_in(pod, field, resource, world):
                    yield quota, field, resource


def _filled_in(pod: Pod, field: str, resource: str, world: World) -> bool:
    names = ("defaultRequest", "default") if field == "requests" else ("default",)
    return any(
        (limit / name / resource).present
        for ranges in world.of("LimitRange")
        if ranges.namespace == pod.owner.namespace
        for limit in (ranges / "spec" / "limits").each()
        if (limit / "type").text == "Container"
        for name in names
    )


@rule(over=pods)
def refused_by_quota(pod: Pod, world: World) -> Iterator[Fault]:
    """A container that does not state what the namespace's quota counts: its pods are refused, and nothing says why."""
    for quota, field, resource in _demanded(pod, world):
        for container in pod.containers():
            resources = container.place / "resources"
            enough = (field, "limits") if field == "requests" else (field,)  # a limit alone is taken for the request
            if not any((resources / said / resource).present for said in enough):
                yield (resources / field / resource).fault(
                    f"states no {resource} {field} for {container.name}, which {quota.label} counts",
                    f"Set resources.{field}.{resource}, or give the namespace a LimitRange with defaults",
                )


@rule(over=pods)
def sidecar_refused_by_quota(pod: Pod, world: World) -> Iterator[Fault]:
    """A quota counts what Knative's own container does not state: no pod of the Service is ever made."""
    defaults = world.facts.knative_setting("config-features", "queueproxy.resource-defaults", "disabled").lower() == "enabled"
    if not pod.knative or defaults:
        return
    for quota, field, resource in _demanded(pod, world):
        setting = f"{resource}-resource-{field.removesuffix('s')}"
        stated = pod.annotation(f"queue.sidecar.serving.knative.dev/{setting}").present
        configured = world.facts.knative_setting("config-deployment", f"queue-sidecar-{resource}-{field.removesuffix('s')}", "")
        if (field, resource) != SIDECAR_ALWAYS and not stated and not configured:
            yield pod.annotation(f"queue.sidecar.serving.knative.dev/{setting}").fault(
                f"leaves the {resource} {field} of Knative's own container unsaid, which {quota.label} counts",
                'Set in manifests/knative: ConfigMap config-features, data: {"queueproxy.resource-defaults": "enabled"}, '
                "namespace knative-serving, or give the namespace a LimitRange with defaults",
            )

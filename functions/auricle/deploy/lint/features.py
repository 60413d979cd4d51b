"""Pod features that Knative leaves off: derived from the fields a Service uses, with the patch that turns them on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from auricle.deploy.lint.places import Fault, Place
from auricle.deploy.lint.rules import rule, services
from auricle.deploy.lint.world import Pod, World

_PREFIX = "kubernetes.podspec-"
BY_FIELD: dict[str, str] = {
    "affinity": "affinity",
    "nodeSelector": "nodeselector",
    "tolerations": "tolerations",
    "runtimeClassName": "runtimeclassname",
    "priorityClassName": "priorityclassname",
    "schedulerName": "schedulername",
    "topologySpreadConstraints": "topologyspreadconstraints",
    "securityContext": "securitycontext",
    "hostAliases": "hostaliases",
    "dnsPolicy": "dnspolicy",
    "dnsConfig": "dnsconfig",
    "hostNetwork": "hostnetwork",
    "hostPID": "hostpid",
    "hostIPC": "hostipc",
    "shareProcessNamespace": "shareprocessnamespace",
    "initContainers": "init-containers",
}
"""Field of the pod's spec → the feature it needs."""
BY_VOLUME: dict[str, str] = {
    "persistentVolumeClaim": "persistent-volume-claim",
    "hostPath": "volumes-hostpath",
    "csi": "volumes-csi",
    "image": "volumes-image",
    "ephemeral": "volumes-ephemeral",
}
"""Kind of volume → the feature it needs; the others are always on."""
IN_CONTEXT = frozenset(
    {"runAsUser", "runAsGroup", "runAsNonRoot", "seccompProfile", "fsGroup", "supplementalGroups", "sysctls"}
)
SINCE_ALWAYS: dict[str, Callable[[Any], bool]] = {"securityContext": lambda value: not IN_CONTEXT & set(value or ())}
"""Fields that need no feature as long as they say nothing."""


def needed(pod: Pod) -> dict[str, Place]:
    """Feature → where it is used first."""
    found: dict[str, Place] = {}
    for field, feature in BY_FIELD.items():
        place = pod.spec / field
        if place.value and not SINCE_ALWAYS.get(field, lambda _: False)(place.value):
            found.setdefault(_PREFIX + feature, place)
    for volume in (pod.spec / "volumes").each():
        for kind, feature in BY_VOLUME.items():
            if (volume / kind).present:
                found.setdefault(_PREFIX + feature, volume / kind)
        claim = volume / "persistentVolumeClaim"
        if claim.present and (claim / "readOnly").value is not True:
            found.setdefault(_PREFIX + "persistent-volume-write", claim)
    for container in pod.containers():
        for variable in (container.place / "env").each():
            for reference in ("fieldRef", "resourceFieldRef"):
                if (variable / "valueFrom" / reference).present:
                    found.setdefault(_PREFIX + "fieldref", variable)
        for mount in (container.place / "volumeMounts").each():
            if (mount / "mountPropagation").present:
                found.setdefault(_PREFIX + "volumes-mount-propagation", mount)
    probing = [
        c for c in pod.containers(init=False) if (c.place / "readinessProbe").present or (c.place / "livenessProbe").present
    ]
    if len(list(pod.containers(init=False))) > 1 and len(probing) > 1:
        found["multi-container-probing"] = probing[1].place
    return found


@rule(over=services)
def feature_off(pod: Pod, world: World) -> Iterator[Fault]:
    """A pod feature that the Service uses and manifests/knative does not turn on: the webhook refuses the Service."""
    for feature, place in needed(pod).items():
        if not world.facts.allows(feature):
            patch = f'ConfigMap config-features, data: {{"{feature}": "enabled"}}, namespace knative-serving'
            yield place.fault(f"needs the feature {feature}, which Knative leaves off", f"Set in manifests/knative: {patch}")

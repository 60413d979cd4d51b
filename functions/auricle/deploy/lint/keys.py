"""Annotations and labels: no schema knows their keys, so a misspelled one is accepted and does nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from auricle.deploy.lint.places import Fault, Place
from auricle.deploy.lint.rules import rule
from auricle.deploy.lint.world import World

AUTOSCALING = frozenset(
    f"autoscaling.knative.dev/{key}"
    for key in [
        "class",
        "metric",
        "target",
        "target-utilization-percentage",
        "target-burst-capacity",
        "min-scale",
        "max-scale",
        "initial-scale",
        "window",
        "scale-to-zero-pod-retention-period",
        "scale-down-delay",
        "panic-window-percentage",
        "panic-threshold-percentage",
        "activation-scale",
        "metric-aggregation-algorithm",
        "tick-interval",
    ]
)
QUEUE = frozenset(
    f"queue.sidecar.serving.knative.dev/{key}"
    for key in [
        "cpu-resource-request",
        "cpu-resource-limit",
        "memory-resource-request",
        "memory-resource-limit",
        "ephemeral-storage-resource-request",
        "ephemeral-storage-resource-limit",
        "resource-percentage",
    ]
)
TEMPLATE = AUTOSCALING | QUEUE | {"serving.knative.dev/progress-deadline"}
"""Annotations of a revision: they belong on the template."""
VISIBILITY = "networking.knative.dev/visibility"
SERVICE = frozenset(
    {
        "serving.knative.dev/rollout-duration",
        "serving.knative.dev/creator",
        "serving.knative.dev/lastModifier",
        "serving.knative.dev/no-gc",
        "networking.knative.dev/ingress-class",
        "networking.knative.dev/certificate-class",
        "networking.knative.dev/http-protocol",
        "networking.knative.dev/disable-external-domain-tls",
        "networking.knative.dev/http-option",
    }
)
LABELS = frozenset(
    {
        VISIBILITY,
        "networking.knative.dev/disableWildcardCert",
        "serving.knative.dev/service",
        "serving.knative.dev/revision",
        "serving.knative.dev/configuration",
        "serving.knative.dev/route",
        "eventing.knative.dev/broker",
        "eventing.knative.dev/injection",
        "eventing.knative.dev/brokerRole",
    }
)
BROKERS = frozenset(
    {
        "eventing.knative.dev/broker.class",
        "eventing.knative.dev/injection",
        "eventing.knative.dev/creator",
        "eventing.knative.dev/lastModifier",
        "eventing.knative.dev/scope",
        "rabbitmq.eventing.knative.dev/parallelism",
        "rabbitmq.eventing.knative.dev/cpu-request",
        "rabbitmq.eventing.knative.dev/cpu-limit",
        "rabbitmq.eventing.knative.dev/memory-request",
        "rabbitmq.eventing.knative.dev/memory-limit",
        "kafka.eventing.knative.dev/delivery.order",
        "kafka.eventing.knative.dev/external.topic",
        "kafka.eventing.knative.dev/topic.prefix",
        "sources.knative.dev/creator",
        "sources.knative.dev/lastModifier",
        "features.knative.dev/enabled",
    }
)
KNOWN = TEMPLATE | SERVICE | LABELS | BROKERS
OURS = "auricle.dev/"
OUR_LABELS = frozenset(
    f"auricle.dev/{word}" for word in ("function", "image", "scale", "job", "monitoring", "plan", "tenant", "certificate")
)


def _marked(world: World) -> Iterable[Place]:
    """The metadata of every object and every pod template."""
    for item in world.objects:
        yield item / "metadata"
    for pod in world.pods:
        if pod.template.path:
            yield pod.template / "metadata"


def _is_knatives(key: str) -> bool:
    """Whether a key is in one of Knative's domains, or in what looks like one."""
    domain = key.partition("/")[0]
    return "/" in key and domain.endswith("knative.dev")


@rule(over=_marked)
def unknown_annotation(metadata: Place, world: World) -> Iterator[Fault]:
    """A key in one of Knative's domains that Knative does not read: it is accepted and does nothing."""
    for field in ("annotations", "labels"):
        for key in (metadata / field).mapping:
            if _is_knatives(key) and key not in KNOWN:
                near = difflib.get_close_matches(key, sorted(KNOWN), n=1, cutoff=0.5)
                remedy = f"Write {near[0]}" if near else "Remove it"
                yield (metadata / field / key).fault(f"has {key}, which Knative does not know and ignores", remedy)


@rule(over=_marked)
def misplaced_annotation(metadata: Place, world: World) -> Iterator[Fault]:
    """A key that Knative reads elsewhere: revision settings on the Service, labels among annotations or the reverse."""
    on_template = bool(metadata.path.removesuffix("metadata"))
    for key in (metadata / "annotations").mapping:
        place = metadata / "annotations" / key
        if key in LABELS - BROKERS:
            yield place.fault(f"has {key} as an annotation, where nobody reads it", "Make it a label of metadata.labels")
        elif key in TEMPLATE and not on_template:
            yield place.fault(f"has {key} on its own metadata", "Move it to spec.template.metadata.annotations")
        elif key in SERVICE | BROKERS and on_template:
            yield place.fault(f"has {key} on its pod template", "Move it to metadata.annotations of the object itself")
    for key in (metadata / "labels").mapping:
        place = metadata / "labels" / key
        if key in TEMPLATE | SERVICE | (BROKERS - LABELS):
            yield place.fault(f"has {key} as a label, where nobody reads it", "Make it an annotation")
        elif key == VISIBILITY and on_template:
            yield place.fault(f"has the label {key} on its pod template", "Move it to metadata.labels of the Service itself")


@rule(over=_marked)
def annotation_not_text(metadata: Place, world: World) -> Iterator[Fault]:
    """An annotation or label whose YAML value is a number or a boolean: the API server refuses the object."""
    for field in ("annotations", "labels"):
        for key, value in (metadata / field).mapping.items():
            if not isinstance(value, str):
                shown = str(value).lower() if isinstance(value, bool) else value
                yield (metadata / field / key).fault(
                    f"gives {key} the value {shown!r}, which is not text", f'Put it in quotes: "{shown}"'
                )


@rule(over=lambda world: [pod.owner for pod in world.services])
def public_service(service: Place, world: World) -> Iterator[Fault]:
    """A function that the outside ingress serves: only the gateway may be reached from outside."""
    if service.labels.get(VISIBILITY) != "cluster-local":
        yield (service / "metadata" / "labels" / VISIBILITY).fault(
            "is not kept inside the cluster, so Knative gives it a public address that goes round the gateway",
            f"Set the label {VISIBILITY}: cluster-local",
        )


@rule(over=_marked)
def unknown_house_label(metadata: Place, world: World) -> Iterator[Fault]:
    """A label auricle.dev/… that nothing selects by."""
    for key in (metadata / "labels").mapping:
        if key.startswith(OURS) and key not in OUR_LABELS:
            near = difflib.get_close_matches(key, sorted(OUR_LABELS), n=1, cutoff=0.5)
            remedy = f"Write {near[0]}" if near else "Remove it"
            yield (metadata / "labels" / key).fault(f"has the label {key}, by which nothing is chosen", remedy)

"""From the catalogue to Kubernetes objects: what `manifests/base` holds, and what the operator applies for a tenant.

Pure: entries in, objects out. No number that a deployment may want otherwise stands here (pods, memory, processors: those
are the overlays'); what follows from the code does: concurrency, threads, time limits, filters, secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from auricle.contract.choices import Image, Scale
from auricle.contract.event import Fact
from auricle.deploy.catalogue import DeliveryEntry, FunctionEntry, TimerEntry
from auricle.deploy.secretobjects import mounts, on_knative, variables, volumes

Manifest = dict[str, Any]
"""One Kubernetes object, as its YAML says it."""

PORT = 8080
USER = 65532
DEAD_LETTERS = "dead_letter"
SETTINGS = "auricle-settings"
BROKER = "default"


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How one process of a scale behaves: requests at once, and the seconds one may take."""

    concurrency: int
    timeout: int
    exclusive: bool = False  # one request has the pod (or its GPU) to itself: queue centrally, never behind a busy pod


SHAPES: dict[Scale, Shape] = {
    Scale.INTERACTIVE: Shape(concurrency=8, timeout=60),
    Scale.STREAM: Shape(concurrency=40, timeout=900),  # held-open answers; the feed ends them before this
    Scale.BURST: Shape(concurrency=8, timeout=60),
    Scale.BATCH: Shape(concurrency=1, timeout=1800, exclusive=True),
    Scale.GPU: Shape(concurrency=1, timeout=900, exclusive=True),
    Scale.TIMER: Shape(concurrency=1, timeout=300),
}
SIGNING = frozenset({"signing_keys_file"})
"""Secrets for one function alone: whoever holds them shares a process with nobody."""
GROUPS: dict[Image, str] = {Image.IDENTITY: "people"}
"""The Service of an image's grouped functions, where it is not called like the image: `identity` is a function, too."""
SPARE_THREADS = 4
"""Threads beyond the concurrency: probes and scrapes share them."""
LONGEST_DELIVERY = 7200
"""Seconds. Beyond it a broker's own patience ends first; the laptop's broker has no such limit."""


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One Knative Service: the functions that it serves."""

    name: str
    functions: str  # AURICLE_FUNCTION
    image: Image
    scale: Scale
    shape: Shape
    secrets: tuple[str, ...]
    serves: tuple[FunctionEntry, ...]
    model: str = ""  # pinned: the only model that this Service loads


def units(
    entries: Sequence[FunctionEntry], *, grouped: bool = False, models: Mapping[str, Sequence[str]] | None = None
) -> list[Unit]:
    """The Services for `entries`: one per function, or (`grouped`) one per image, where what signs for everybody stays alone.

    `models` pins: function → models, each in a Service of its own (`transcribe-<model>`): a warm pod never swaps weights.
    """
    if grouped:
        signing = [_alone(entry) for entry in entries if SIGNING & set(entry.secrets)]
        shared = [entry for entry in entries if not SIGNING & set(entry.secrets)]
        groups = ((image, [e for e in shared if e.image is image]) for image in Image)
        return [*signing, *(_group(image, together) for image, together in groups if together)]
    found: list[Unit] = []
    for entry in entries:
        alone = _alone(entry)
        pinned = (models or {}).get(entry.name, ())
        found += [msgspec.structs.replace(alone, name=f"{alone.name}-{slug(m)}", model=m) for m in pinned] or [alone]
    return found


def render(chosen: Sequence[Unit]) -> dict[str, list[Manifest]]:
    """File name (without .yaml) → its objects, for `chosen` units and what they hear."""
    sink = next((u.name for u in chosen for e in u.serves if e.name == DEAD_LETTERS), None)
    files = {unit.name: [*_unit(unit, sink)] for unit in chosen}
    files["event-types"] = [*_event_types()]
    return files


def service_name(function: str) -> str:
    """A function's name as Kubernetes spells it."""
    return function.replace("_", "-")


def slug(model: str) -> str:
    """A model's name as part of an object's name."""
    return "".join(c if c.isalnum() else "-" for c in model.lower()).strip("-")


def labels(name: str, **more: str) -> dict[str, str]:
    """What every object of ours carries."""
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "auricle", **more}


def _alone(entry: FunctionEntry) -> Unit:
    return Unit(
        name=service_name(entry.name),
        functions=entry.name,
        image=entry.image,
        scale=entry.scale,
        shape=SHAPES[entry.scale],
        secrets=on_knative(entry.secrets),
        serves=(entry,),
    )


def _group(image: Image, entries: Sequence[FunctionEntry]) -> Unit:
    """Everything of one image in one Service: fewer pods, one scale. The most patient member sets the limits."""
    scales = {Image.API: Scale.STREAM, Image.IDENTITY: Scale.INTERACTIVE, Image.MEDIA: Scale.BATCH, Image.SPEECH: Scale.GPU}
    # By their names where a function of this image stays alone: `*` would take it in.
    chosen = f"*{image.value}" if image is not Image.IDENTITY else ",".join(e.name for e in entries)
    return Unit(
        name=GROUPS.get(image, image.value),
        functions=chosen,
        image=image,
        scale=scales[image],
        shape=SHAPES[scales[image]],
        secrets=on_knative({s for e in entries for s in e.secrets}),
        serves=tuple(entries),
    )


def _unit(unit: Unit, sink: str | None) -> Iterable[Manifest]:
    yield _account(unit)
    yield _service(unit)
    for entry in unit.serves:
        if entry.kind == "timers":
            yield from _ticks(unit, entry.timers)
        elif entry.filter:
            yield _trigger(unit, entry, sink)


def _account(unit: Unit) -> Manifest:
    """An identity of its own, which may do nothing: functions never ask Kubernetes."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": unit.name, "labels": labels(unit.name)},
        "automountServiceAccountToken": False,
    }


def _service(unit: Unit) -> Manifest:
    mine = labels(unit.name, **_marks(unit))
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": unit.name, "labels": {**mine, "networking.knative.dev/visibility": "cluster-local"}},
        "spec": {
            "template": {
                "metadata": {"labels": mine, "annotations": _scaling(unit.shape)},
                "spec": {
                    "serviceAccountName": unit.name,
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "containerConcurrency": unit.shape.concurrency,
                    "timeoutSeconds": unit.shape.timeout,
                    # Knative's own first-byte limit is 300 s, which would end silent work early.
                    "responseStartTimeoutSeconds": unit.shape.timeout,
                    "containers": [_container(unit)],
                    "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes(unit.secrets)],
                },
            }
        },
    }


def _marks(unit: Unit) -> dict[str, str]:
    """Labels by which overlays and policies choose: kustomize patches whole scales at once."""
    function = unit.serves[0].name if len(unit.serves) == 1 else unit.name
    return {
        "auricle.dev/function": function,
        "auricle.dev/image": unit.image.value,
        "auricle.dev/scale": unit.scale.value,
    }


def _scaling(shape: Shape) -> dict[str, str]:
    found = {"autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev", "autoscaling.knative.dev/metric": "concurrency"}
    if shape.concurrency == 1:  # at Knative's 70 % two pods would start for one request
        found["autoscaling.knative.dev/target-utilization-percentage"] = "100"
    if shape.exclusive:
        found["autoscaling.knative.dev/target-burst-capacity"] = "-1"
    return found


def _container(unit: Unit) -> Manifest:
    return {
        "name": "function",
        "image": f"auricle-{unit.image.value}",
        "ports": [{"containerPort": PORT}],
        "env": [
            {"name": "AURICLE_FUNCTION", "value": unit.functions},
            {"name": "THREADS", "value": str(unit.shape.concurrency + SPARE_THREADS)},
            *([{"name": "PINNED_MODEL", "value": unit.model}] if unit.model else []),
            *variables(unit.secrets),
        ],
        "envFrom": [{"configMapRef": {"name": SETTINGS}}],
        "readinessProbe": {"httpGet": {"path": "/readyz"}, "periodSeconds": 2, "timeoutSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/healthz"}, "periodSeconds": 30, "timeoutSeconds": 10, "failureThreshold": 4},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own, empty at start
            *mounts(unit.secrets),
        ],
    }


def _trigger(unit: Unit, entry: FunctionEntry, sink: str | None) -> Manifest:
    assert entry.filter is not None
    assert entry.delivery is not None
    model = {"model": unit.model} if unit.model else {}
    return {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {
            "name": unit.name if unit.model else service_name(entry.name),
            "labels": labels(service_name(entry.name)),
            # RabbitMQ delivers one event at a time unless it is told otherwise.
            "annotations": {"rabbitmq.eventing.knative.dev/parallelism": str(entry.parallelism)},
        },
        "spec": {
            "broker": BROKER,
            "filter": {"attributes": {**entry.filter, **model}},
            "subscriber": {"ref": _reference(unit.name), "uri": f"/events/{entry.name}"},
            # Everything is repeated here, the sink too: a Trigger with any delivery inherits nothing on some brokers.
            "delivery": delivery(entry.delivery, sink),
        },
    }


def delivery(chosen: DeliveryEntry, sink: str | None) -> Manifest:
    """A complete delivery specification; `sink` is the Service that keeps dead letters."""
    found: Manifest = {
        "retry": chosen.retry,
        "backoffPolicy": "exponential",
        "backoffDelay": duration(chosen.delay),
        "timeout": duration(min(chosen.timeout, LONGEST_DELIVERY)),
    }
    if sink:
        found["deadLetterSink"] = {"ref": _reference(sink), "uri": f"/events/{DEAD_LETTERS}"}
    return found


def duration(seconds: float) -> str:
    """ISO 8601, as Knative wants it."""
    return f"PT{seconds:g}S"


def _reference(service: str) -> Manifest:
    return {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": service}


def _ticks(unit: Unit, timers: Sequence[TimerEntry]) -> Iterable[Manifest]:
    """One PingSource per distinct schedule, straight to the function: a Trigger would cost a dispatcher pod."""
    for minutes in sorted({t.minutes for t in timers}):
        names = [t.name for t in timers if t.minutes == minutes]
        yield {
            "apiVersion": "sources.knative.dev/v1",
            "kind": "PingSource",
            "metadata": {"name": f"every-{_spoken(minutes)}", "labels": labels(f"every-{_spoken(minutes)}")},
            "spec": {
                "schedule": cron(minutes),
                "contentType": "application/json",
                "data": msgspec.json.encode({"timers": names}).decode(),
                "sink": {"ref": _reference(unit.name), "uri": "/events/timers"},
                # The overlay puts the encoded TIMER_TOKEN here; a tick without it is refused.
                "ceOverrides": {"extensions": {"ticket": "unset"}},
            },
        }


def cron(minutes: int) -> str:
    """`minutes` as a cron schedule: a divisor of an hour, whole hours that divide a day, or a day."""
    if minutes < 60 and 60 % minutes == 0:
        return f"*/{minutes} * * * *"
    if minutes == 60:
        return "7 * * * *"  # not on the hour, when everybody's jobs start
    if minutes == 1440:
        return "23 3 * * *"
    if minutes % 60 == 0 and 1440 % minutes == 0:
        return f"7 */{minutes // 60} * * *"
    raise ValueError(
        f"A timer of {minutes} minutes has no cron schedule: take a divisor of 60, whole hours that divide 24, or a day."
    )


def _spoken(minutes: int) -> str:
    return {60: "hour", 1440: "day"}.get(minutes, f"{minutes}-minutes" if minutes < 60 else f"{minutes // 60}-hours")


def _event_types() -> Iterable[Manifest]:
    """What the broker carries, for people who look for it with kubectl."""
    kinds = {kind.TYPE: kind for kind in every_fact() if kind.TYPE}
    for name, kind in sorted(kinds.items()):
        attributes = [{"name": "type", "required": True, "value": name}]
        attributes += [{"name": a, "required": False, "value": f"{{{a}}}"} for a in sorted(kind.ATTRIBUTES)]
        if kind.CONCERNS:
            attributes.append({"name": "concerns", "required": True, "value": kind.CONCERNS})
        yield {
            "apiVersion": "eventing.knative.dev/v1beta3",
            "kind": "EventType",
            "metadata": {"name": name.removeprefix("auricle."), "labels": labels("events")},
            "spec": {
                "reference": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": BROKER},
                "description": (kind.__doc__ or "").strip().partition("\n")[0],
                "attributes": attributes,
            },
        }


def every_fact() -> list[type[Fact]]:
    """All declared event types, by type; the rooms must be imported (`catalogue.load`)."""
    found: list[type[Fact]] = []
    waiting = list(Fact.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.TYPE and kind.__module__.startswith("auricle."):
            found.append(kind)
    return sorted(found, key=lambda kind: kind.TYPE)

"""Times that contradict each other: who gives up first decides whether work is lost, doubled or cut short."""

from __future__ import annotations

from collections.abc import Iterator

from auricle.deploy.lint.facts import CONSUMER_TIMEOUT, consumer_timeout
from auricle.deploy.lint.places import Fault, Place, iso_seconds
from auricle.deploy.lint.rules import pods, rule, services, triggers
from auricle.deploy.lint.world import RABBITMQ, Pod, World
from auricle.deploy.render import SHAPES


def service_seconds(pod: Pod, world: World) -> float:
    """How long a Service lets one request take."""
    default = world.facts.knative_setting("config-defaults", "revision-timeout-seconds", "300")
    found = (pod.spec / "timeoutSeconds").number
    return float(default) if found is None else found


def first_byte_seconds(pod: Pod, world: World) -> float:
    """How long a Service waits for the first byte of an answer; Knative's default is that of the whole request."""
    found = (pod.spec / "responseStartTimeoutSeconds").number
    return found or float(world.facts.knative_setting("config-defaults", "revision-response-start-timeout-seconds", "300"))


def consumer_seconds(world: World) -> float:
    """RabbitMQ's consumer_timeout, where the objects, or those of the platform, set it."""
    return consumer_timeout([*(item.root for item in world.objects), *world.facts.platform]) or CONSUMER_TIMEOUT


@rule(over=services)
def first_byte_after_the_end(pod: Pod, world: World) -> Iterator[Fault]:
    """A wait for the first byte that is longer than the request may take."""
    place, whole = pod.spec / "responseStartTimeoutSeconds", service_seconds(pod, world)
    if place.number and place.number > whole:
        yield place.fault(
            f"waits {place.text} s for the first byte of a request that may take {whole:g} s",
            "Set responseStartTimeoutSeconds to timeoutSeconds",
        )


@rule(over=services)
def idle_after_the_end(pod: Pod, world: World) -> Iterator[Fault]:
    """An idle timeout that is longer than the request may take."""
    place, whole = pod.spec / "idleTimeoutSeconds", service_seconds(pod, world)
    if place.number and place.number > whole:
        yield place.fault(
            f"lets a request idle for {place.text} s that may take {whole:g} s in all",
            "Lower idleTimeoutSeconds under timeoutSeconds, or set 0",
        )


@rule(over=services)
def silent_work_cut_short(pod: Pod, world: World) -> Iterator[Fault]:
    """An event function answers once, at its end: the wait for the first byte has to last as long as the work may."""
    whole, first = service_seconds(pod, world), first_byte_seconds(pod, world)
    hears = [entry.name for entry in world.functions(pod) if entry.kind != "routes"]
    if hears and first < whole:
        yield (pod.spec / "responseStartTimeoutSeconds").fault(
            f"may work {whole:g} s and is cut off after {first:g} s of silence, and {', '.join(hears)} is silent to the end",
            f"Set responseStartTimeoutSeconds: {whole:g}",
        )


@rule(over=services)
def timeout_above_the_clusters(pod: Pod, world: World) -> Iterator[Fault]:
    """A timeout that config-defaults does not allow: the webhook refuses the Service."""
    limit = float(world.facts.knative_setting("config-defaults", "max-revision-timeout-seconds", "600"))
    whole = service_seconds(pod, world)
    if whole > limit:
        yield (pod.spec / "timeoutSeconds").fault(
            f"may take {whole:g} s, and Knative allows {limit:g} s",
            "Set in manifests/knative: ConfigMap config-defaults, data: "
            f'{{max-revision-timeout-seconds: "{whole:g}"}}, namespace knative-serving',
        )


def _own_seconds(pod: Pod, trigger: Place, world: World) -> list[float]:
    """Where functions share a Service its limit is that of the most patient one: how long the one that hears may take."""
    entry = world.heard_by(trigger)
    return [SHAPES[entry.scale].timeout] if entry and len(world.functions(pod)) > 1 else []


@rule(over=triggers)
def delivery_gives_up_first(trigger: Place, world: World) -> Iterator[Fault]:
    """A delivery timeout under the Service's: the broker sends again what is still being done."""
    pod = world.service(trigger / "spec" / "subscriber" / "ref", trigger.namespace)
    place = trigger / "spec" / "delivery" / "timeout"
    seconds = iso_seconds(place.value)
    whole = min([service_seconds(pod, world), *_own_seconds(pod, trigger, world)]) if pod else 0
    if pod and seconds is not None and seconds < whole:
        yield place.fault(
            f"gives up after {seconds:g} s while {pod.owner.label} works up to {whole:g} s, so the work is done twice",
            f"Set spec.delivery.timeout to PT{whole:g}S or more, or lower the Service's timeoutSeconds",
        )


@rule(over=triggers)
def delivery_outlasts_the_queue(trigger: Place, world: World) -> Iterator[Fault]:
    """A delivery longer than RabbitMQ waits for an acknowledgement: it takes the message back and delivers it again."""
    place, limit = trigger / "spec" / "delivery" / "timeout", consumer_seconds(world)
    seconds = iso_seconds(place.value)
    if world.broker_class(trigger) == RABBITMQ and seconds is not None and seconds > limit:
        ample = (
            f"consumer_timeout = {seconds * 4000:.0f}"  # milliseconds, and tries follow each other before the acknowledgement
        )
        yield place.fault(
            f"may take {seconds:g} s, and RabbitMQ takes a message back after {limit:g} s",
            f"Set {ample} in the RabbitmqCluster's additionalConfig, or lower the timeout",
        )


@rule(over=pods)
def job_without_end(pod: Pod, world: World) -> Iterator[Fault]:
    """A Job without a deadline hangs for ever on a database that does not answer."""
    if pod.owner.kind in ("Job", "CronJob"):
        spec = pod.owner / "spec" if pod.owner.kind == "Job" else pod.owner / "spec" / "jobTemplate" / "spec"
        if not (spec / "activeDeadlineSeconds").present and not (pod.spec / "activeDeadlineSeconds").present:
            yield (spec / "activeDeadlineSeconds").fault(
                "has no deadline", "Set activeDeadlineSeconds to what it may take at worst"
            )


@rule(over=lambda world: world.of("CronJob", "batch"))
def overlapping_jobs(job: Place, world: World) -> Iterator[Fault]:
    """A CronJob that starts beside its own unfinished run."""
    place = job / "spec" / "concurrencyPolicy"
    if place.text not in ("Forbid", "Replace"):
        yield place.fault("starts again while its last run is still at work", "Set spec.concurrencyPolicy: Forbid")

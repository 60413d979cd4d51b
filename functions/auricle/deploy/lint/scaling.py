"""How many pods, and when: values out of range, and values that contradict each other or the functions' own declarations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from auricle.deploy.lint.places import Fault, go_seconds, number, quantity
from auricle.deploy.lint.rules import rule, services
from auricle.deploy.lint.world import KNATIVE, Pod, World

SCALE = "autoscaling.knative.dev"
MIN, MAX, INITIAL = f"{SCALE}/min-scale", f"{SCALE}/max-scale", f"{SCALE}/initial-scale"
TARGET, UTILIZATION = f"{SCALE}/target", f"{SCALE}/target-utilization-percentage"
PROBES = 4
"""Threads that a process needs beyond its concurrency, because probes share them."""


def _whole(value: object, least: int = 0) -> bool:
    found = number(value)
    return found is not None and found == int(found) and found >= least


def _between(value: object, low: float, high: float) -> bool:
    found = number(value)
    return found is not None and low <= found <= high


def _lasts(value: object, low: float, high: float) -> bool:
    found = go_seconds(value)
    return found is not None and low <= found <= high and found == int(found)


def _one_of(value: object, words: tuple[str, ...]) -> bool:
    return value in words


KPA = "kpa.autoscaling.knative.dev"
RANGES: dict[str, tuple[Callable[[object], bool], str]] = {
    MIN: (_whole, "a whole number, 0 or more"),
    MAX: (_whole, "a whole number, 0 or more"),
    INITIAL: (_whole, "a whole number, 0 or more"),
    f"{SCALE}/activation-scale": (partial(_whole, least=1), "a whole number, 1 or more"),
    TARGET: (partial(_between, low=0.01, high=1e9), "a number of 0.01 or more"),
    UTILIZATION: (partial(_between, low=1, high=100), "a percentage from 1 to 100"),
    f"{SCALE}/target-burst-capacity": (partial(_between, low=-1, high=1e9), "-1, 0 or more"),
    f"{SCALE}/window": (partial(_lasts, low=6, high=3600), "whole seconds from 6s to 1h, such as 60s"),
    f"{SCALE}/scale-to-zero-pod-retention-period": (partial(_lasts, low=0, high=3600), "a duration up to 1h, such as 5m"),
    f"{SCALE}/scale-down-delay": (partial(_lasts, low=0, high=3600), "a duration up to 1h, such as 2m"),
    f"{SCALE}/panic-window-percentage": (partial(_between, low=1, high=100), "a percentage from 1 to 100"),
    f"{SCALE}/panic-threshold-percentage": (partial(_between, low=110, high=1000), "a percentage from 110 to 1000"),
    f"{SCALE}/class": (partial(_one_of, words=(KPA, "hpa.autoscaling.knative.dev")), f"{KPA} or hpa.autoscaling.knative.dev"),
    f"{SCALE}/metric": (partial(_one_of, words=("concurrency", "rps", "cpu", "memory")), "concurrency, rps, cpu or memory"),
    f"{KNATIVE}/progress-deadline": (partial(_lasts, low=1, high=86400), "a duration in whole seconds, such as 600s"),
}
"""Annotation → what its value may be."""
SIDECAR = "queue.sidecar.serving.knative.dev/"


def _value(pod: Pod, key: str, default: float | None = None) -> float | None:
    found = pod.annotation(key).number
    return default if found is None else found


@rule(over=services)
def annotation_out_of_range(pod: Pod, world: World) -> Iterator[Fault]:
    """An annotation's value that Knative refuses, or takes for something else."""
    for key, (fits, words) in RANGES.items():
        place = pod.annotation(key)
        if place.present and not fits(place.value):
            yield place.fault(f"sets {key} to {place.text!r}", f"Set {words}")
    for key, value in (pod.template / "metadata" / "annotations").mapping.items():
        if key.startswith(SIDECAR) and "resource-" in key and quantity(value) is None:
            yield pod.annotation(key).fault(f"sets {key} to {value!r}, which is no quantity", "Write one such as 50m or 64Mi")


@rule(over=services)
def min_above_max(pod: Pod, world: World) -> Iterator[Fault]:
    """More pods at least than at most."""
    least, most = _value(pod, MIN, 0) or 0, _value(pod, MAX, 0) or 0
    if most and least > most:
        yield pod.annotation(MIN).fault(
            f"asks for at least {least:g} and at most {most:g} pods", "Lower min-scale or raise max-scale"
        )


@rule(over=services)
def initial_above_max(pod: Pod, world: World) -> Iterator[Fault]:
    """A first scale above the largest one."""
    first, most = _value(pod, INITIAL, 1) or 0, _value(pod, MAX, 0) or 0
    if most and first > most:
        yield pod.annotation(INITIAL).fault(
            f"starts with {first:g} pods and may have {most:g}", "Lower initial-scale to max-scale or beneath"
        )


@rule(over=services)
def no_max_scale(pod: Pod, world: World) -> Iterator[Fault]:
    """No upper bound: a burst then takes every database connection and every node."""
    default = world.facts.knative_setting("config-autoscaler", "max-scale", "0")
    place = pod.annotation(MAX)
    if not (place.number if place.present else number(default)):
        yield place.fault("may grow without limit", f"Set {MAX} on the template; `budget` shows what the database can carry")


@rule(over=services)
def max_scale_above_limit(pod: Pod, world: World) -> Iterator[Fault]:
    """More pods than the cluster allows any revision."""
    limit = number(world.facts.knative_setting("config-autoscaler", "max-scale-limit", "0")) or 0
    most = _value(pod, MAX, 0) or 0
    if limit and most > limit:
        yield pod.annotation(MAX).fault(
            f"may have {most:g} pods, and config-autoscaler allows {limit:g}",
            "Lower max-scale, or raise max-scale-limit in manifests/knative",
        )


@rule(over=services)
def initial_scale_zero_not_allowed(pod: Pod, world: World) -> Iterator[Fault]:
    """A first scale of 0 on a cluster that does not allow it: the webhook refuses the Service."""
    allowed = world.facts.knative_setting("config-autoscaler", "allow-zero-initial-scale", "false").lower() == "true"
    if _value(pod, INITIAL) == 0 and not allowed:
        yield pod.annotation(INITIAL).fault(
            "starts with 0 pods, which Knative refuses unless it is told otherwise",
            "Set in manifests/knative: ConfigMap config-autoscaler, data: "
            '{allow-zero-initial-scale: "true"}, namespace knative-serving',
        )


@rule(over=services)
def metric_of_another_class(pod: Pod, world: World) -> Iterator[Fault]:
    """CPU or memory as the metric of an autoscaler that counts requests only."""
    metric, kind = pod.annotation(f"{SCALE}/metric"), pod.annotation(f"{SCALE}/class").text or KPA
    if metric.text in ("cpu", "memory") and kind == KPA:
        yield metric.fault(
            f"scales by {metric.text}, which Knative's own autoscaler does not measure",
            "Use concurrency or rps; the hpa class measures it but never scales to zero",
        )


@rule(over=services)
def half_used_pods(pod: Pod, world: World) -> Iterator[Fault]:
    """One request at a time with a utilization under 100 %: the autoscaler starts two pods for one request."""
    default = world.facts.knative_setting("config-autoscaler", "container-concurrency-target-percentage", "70")
    share = _value(pod, UTILIZATION, number(default)) or 0
    if (pod.spec / "containerConcurrency").number == 1 and share < 100:
        yield pod.annotation(UTILIZATION).fault(
            f"takes one request at a time and aims at {share:g} % of that, so one request starts two pods",
            f'Set {UTILIZATION}: "100" on the template',
        )


@rule(over=services)
def unlimited_concurrency(pod: Pod, world: World) -> Iterator[Fault]:
    """Any number of requests at once: threads run out and probes fail under load."""
    default = world.facts.knative_setting("config-defaults", "container-concurrency", "0")
    place = pod.spec / "containerConcurrency"
    if not (place.number if place.present else number(default)):
        yield place.fault(
            "takes any number of requests at once", "Set spec.template.spec.containerConcurrency to THREADS - 4 or less"
        )


@rule(over=services)
def too_few_threads(pod: Pod, world: World) -> Iterator[Fault]:
    """THREADS < containerConcurrency + 4: probes share the threads, so a busy pod looks dead."""
    concurrency = (pod.spec / "containerConcurrency").number or 0
    for container, entries in world.hosts:
        threads = number(world.setting(container, "THREADS")) or 0
        if container.pod is pod and entries and concurrency and threads < concurrency + PROBES:
            yield (container.place / "env").fault(
                f"takes {concurrency:g} requests at once with {threads:g} threads, and probes need some too",
                f"Set THREADS to {concurrency + PROBES:g} or more, or lower containerConcurrency",
            )


@rule(over=services)
def target_above_concurrency(pod: Pod, world: World) -> Iterator[Fault]:
    """An autoscaling target that a pod can never reach."""
    target, limit = _value(pod, TARGET), (pod.spec / "containerConcurrency").number
    metric = pod.annotation(f"{SCALE}/metric").text or "concurrency"
    if target and limit and metric == "concurrency" and target > limit:
        yield pod.annotation(TARGET).fault(
            f"aims at {target:g} requests a pod and lets {limit:g} in", "Lower the target or raise containerConcurrency"
        )


@rule(over=services)
def scale_label_differs(pod: Pod, world: World) -> Iterator[Fault]:
    """A Service that overlays take for another kind of function than the code declares."""
    declared = {entry.scale for entry in world.functions(pod)}
    said = pod.owner.labels.get("auricle.dev/scale")
    if declared and len(declared) == 1 and said not in declared:
        (scale,) = declared
        yield (pod.owner / "metadata" / "labels" / "auricle.dev/scale").fault(
            f"is labelled auricle.dev/scale={said}, and its function is declared {scale}: an overlay's numbers miss it",
            f"Label it auricle.dev/scale: {scale} (auricle manifests render)",
        )

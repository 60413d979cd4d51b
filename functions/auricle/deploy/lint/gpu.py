"""GPUs: whole, tolerated, chosen, counted, and given back."""

from __future__ import annotations

from collections.abc import Iterator

from auricle.deploy.lint.places import Fault, Place, quantity
from auricle.deploy.lint.rules import pods, rule
from auricle.deploy.lint.scaling import INITIAL, SCALE
from auricle.deploy.lint.world import Pod, World

VENDORS = ("nvidia.com/", "amd.com/gpu", "gpu.intel.com/")


def devices(pod: Pod, field: str = "limits") -> list[Place]:
    """Every GPU that a pod's containers state under requests or limits."""
    return [
        container.place / "resources" / field / name
        for container in pod.containers()
        for name in (container.place / "resources" / field).mapping
        if name.startswith(VENDORS)
    ]


def gpus(pod: Pod) -> int:
    """How many GPUs (or slices) one pod takes."""
    return int(sum(quantity(place.value) or 0 for place in devices(pod)))


def gpu_pods(world: World) -> list[Pod]:
    """Pods with a GPU limit."""
    return [pod for pod in world.pods if devices(pod)]


def _name(place: Place) -> str:
    return place.path.rpartition("[")[2].rstrip("]")


@rule(over=gpu_pods)
def gpu_without_toleration(pod: Pod, world: World) -> Iterator[Fault]:
    """A GPU pod that the GPU nodes' taint keeps away: it stays Pending."""
    keys = {(t / "key").text for t in (pod.spec / "tolerations").each()}
    everything = any((t / "operator").text == "Exists" and not (t / "key").text for t in (pod.spec / "tolerations").each())
    if not everything and not any(key.startswith(VENDORS) for key in keys):
        yield (pod.spec / "tolerations").fault(
            "wants a GPU and does not tolerate the GPU nodes' taint",
            "Add tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]",
        )


@rule(over=gpu_pods)
def gpu_without_selector(pod: Pod, world: World) -> Iterator[Fault]:
    """A GPU pod that does not say which nodes: an autoscaler cannot tell which pool to grow."""
    if not (pod.spec / "nodeSelector").mapping and not (pod.spec / "affinity" / "nodeAffinity").present:
        yield (pod.spec / "nodeSelector").fault(
            "wants a GPU and names no node pool", 'Add nodeSelector: {nvidia.com/gpu.present: "true"}'
        )


@rule(over=gpu_pods)
def gpu_without_runtime_class(pod: Pod, world: World) -> Iterator[Fault]:
    """A GPU pod in the ordinary runtime: the device is there and its libraries are not."""
    if any(_name(place).startswith("nvidia.com/") for place in devices(pod)) and not (pod.spec / "runtimeClassName").text:
        yield (pod.spec / "runtimeClassName").fault(
            "wants a GPU in the ordinary container runtime", "Set runtimeClassName: nvidia"
        )


@rule(over=pods)
def gpu_request_without_limit(pod: Pod, world: World) -> Iterator[Fault]:
    """A GPU request without an equal limit: the API server refuses the pod."""
    for place in devices(pod, "requests"):
        limit = Place(place.root, place.path, None)
        limit = next((d for d in devices(pod) if d.path == place.path.replace(".requests", ".limits")), limit)
        if quantity(limit.value) != quantity(place.value):
            yield place.fault(
                f"requests {place.text} {_name(place)} without the same limit",
                f"State {_name(place)} under resources.limits only",
            )


@rule(over=pods)
def fractional_gpu(pod: Pod, world: World) -> Iterator[Fault]:
    """Half a GPU: devices are whole."""
    for place in (*devices(pod), *devices(pod, "requests")):
        amount = quantity(place.value)
        if amount is None or amount != int(amount) or amount < 0:
            yield place.fault(
                f"asks for {place.text} {_name(place)}, and devices are whole",
                "Ask for 1; share a GPU by time-slicing or MIG in the node pool",
            )


def _serving_gpus(world: World) -> list[Pod]:
    return [pod for pod in gpu_pods(world) if pod.knative]


@rule(over=_serving_gpus)
def gpu_queue_behind_a_pod(pod: Pod, world: World) -> Iterator[Fault]:
    """Without the activator in between, requests queue behind a busy pod while another GPU is free."""
    place = pod.annotation(f"{SCALE}/target-burst-capacity")
    if place.number != -1:
        yield place.fault("lets requests queue behind one busy GPU", f'Set {SCALE}/target-burst-capacity: "-1" on the template')


@rule(over=_serving_gpus)
def gpu_at_deploy(pod: Pod, world: World) -> Iterator[Fault]:
    """A GPU taken by every deployment: the new revision needs one while the old one works."""
    place = pod.annotation(INITIAL)
    if place.number != 0:
        yield place.fault("takes a GPU whenever it is deployed", f'Set {INITIAL}: "0" on the template')


@rule(over=_serving_gpus)
def shared_gpu_pod(pod: Pod, world: World) -> Iterator[Fault]:
    """Several requests at once on one device: they fight for its memory."""
    place = pod.spec / "containerConcurrency"
    if place.number != 1:
        yield place.fault(f"takes {place.text or 'any number of'} requests at once on one GPU", "Set containerConcurrency: 1")


@rule(over=pods)
def idle_on_a_gpu_node(pod: Pod, world: World) -> Iterator[Fault]:
    """A pod that may sit on a GPU node and asks for no GPU: it keeps the dear node from going away."""
    if devices(pod) or pod.owner.kind == "DaemonSet":
        return
    for toleration in (pod.spec / "tolerations").each():
        if (toleration / "key").text.startswith(VENDORS):
            yield toleration.fault(
                "tolerates GPU nodes and asks for no GPU", "Remove the toleration, or set limits: {nvidia.com/gpu: 1}"
            )

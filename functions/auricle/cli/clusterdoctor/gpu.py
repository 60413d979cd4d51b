"""GPUs: nodes that offer them, and whether speech pods may go there."""

from __future__ import annotations

from collections.abc import Iterator

from auricle.cli.clusterdoctor.seen import Seen, Sight, names
from auricle.cli.clusterdoctor.table import Said, check, note, ok, problem
from auricle.deploy.lint.gpu import devices, gpu_pods
from auricle.deploy.lint.places import Place, quantity
from auricle.deploy.lint.world import Pod

NO_PODS = ("NoSchedule", "NoExecute")


def _kinds(pod: Pod) -> set[str]:
    """The device resources that a pod asks for, such as nvidia.com/gpu."""
    return {place.path.rpartition("[")[2].rstrip("]") for place in devices(pod) if quantity(place.value)}


@check(Sight.NODES, Sight.SERVICES)
def gpu(seen: Seen) -> Iterator[Said]:
    """Somewhere there is a device for each pod that wants one, and the pod is let in."""
    wanting = [pod for pod in gpu_pods(seen.world) if pod.knative and _kinds(pod)]
    bad = 0
    offered: dict[str, float] = {}
    for pod in wanting:
        for said in _placed(seen, pod, offered):
            bad += 1
            yield said
    if wanting and not bad:
        yield ok(", ".join(f"{count:.0f} × {kind}" for kind, count in sorted(offered.items())))


def _placed(seen: Seen, pod: Pod, offered: dict[str, float]) -> Iterator[Said]:
    name = pod.owner.name
    for kind in sorted(_kinds(pod)):
        nodes = [n for n in seen.of(Sight.NODES) if quantity((n / "status" / "allocatable" / kind).value)]
        offered[kind] = sum(quantity((n / "status" / "allocatable" / kind).value) or 0 for n in nodes)
        if not nodes:
            empty = [n.name for n in seen.of(Sight.NODES) if (n / "status" / "capacity" / kind).present]
            plugin = f" ({names(empty)} has some, none of them healthy)" if empty else ""
            yield note(
                f"No node offers {kind} now{plugin}, and Service {name} wants it.",
                "Right for a pool that grows from zero; else: kubectl get pods -A | grep -i device-plugin",
            )
            continue
        chosen = [n for n in nodes if _selected(pod, n)]
        if not chosen:
            selector = ", ".join(f"{k}={v}" for k, v in (pod.spec / "nodeSelector").texts.items())
            yield problem(
                f"Service {name} wants nodes with {selector}, and no node with {kind} has that label.",
                f"kubectl label node {nodes[0].name} {selector.replace(', ', ' ')}, or patch the nodeSelector in the overlay.",
            )
            continue
        kept_out = [(n, taint) for n in chosen for taint in (n / "spec" / "taints").each() if not _tolerated(pod, taint)]
        if len({n.name for n, _ in kept_out}) == len(chosen):
            key, effect = ((kept_out[0][1] / word).text for word in ("key", "effect"))
            yield problem(
                f"Every node with {kind} has a taint that Service {name} does not tolerate ({key}).",
                f"Add a toleration in the overlay: {{key: {key}, operator: Exists, effect: {effect}}}",
            )


def _selected(pod: Pod, node: Place) -> bool:
    return all(node.labels.get(key) == value for key, value in (pod.spec / "nodeSelector").texts.items())


def _tolerated(pod: Pod, taint: Place) -> bool:
    if (taint / "effect").text not in NO_PODS:
        return True
    for toleration in (pod.spec / "tolerations").each():
        key, effect = (toleration / "key").text, (toleration / "effect").text
        same_key = key == (taint / "key").text or (not key and (toleration / "operator").text == "Exists")
        same_value = (toleration / "operator").text == "Exists" or (toleration / "value").text == (taint / "value").text
        if same_key and same_value and effect in ("", (taint / "effect").text):
            return True
    return False


@check(Sight.RUNTIME_CLASSES, Sight.SERVICES)
def runtime_class(seen: Seen) -> Iterator[Said]:
    """The container runtime that gives a pod its device."""
    found = [c.name for c in seen.of(Sight.RUNTIME_CLASSES)]
    wanted: dict[str, list[str]] = {}
    for pod in seen.world.services:
        if (pod.spec / "runtimeClassName").text:
            wanted.setdefault((pod.spec / "runtimeClassName").text, []).append(pod.owner.name)
    missing = {name: who for name, who in wanted.items() if name not in found}
    for name, who in missing.items():
        yield problem(
            f"The cluster has no RuntimeClass {name}, wanted by {names(who)}.",
            f"Install the GPU operator, or make it for your nodes' runtime (there is: {names(found) or 'none'}).",
        )
    if wanted and not missing:
        yield ok(names(sorted(wanted)))

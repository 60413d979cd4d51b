"""The functions: all there, Ready, of one release; and when not, why."""

from __future__ import annotations

from collections.abc import Iterator

from auricle.cli.clusterdoctor.seen import Seen, Sight, condition, holds, names, reason
from auricle.cli.clusterdoctor.table import Said, check, note, ok, problem
from auricle.deploy.lint.places import Place
from auricle.deploy.lint.world import FUNCTION

SERVICE = "serving.knative.dev/service"
IMAGE = "auricle.dev/image"
MANY_RESTARTS = 5
_PULL = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
_UNDONE = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")


@check(Sight.NAMESPACE)
def namespace(seen: Seen) -> Iterator[Said]:
    """Whether there is anything to look at."""
    found = seen.of(Sight.NAMESPACE)
    if not found:
        yield problem(
            f"There is no namespace {seen.namespace}.", "Name Auricle's with --namespace, or deploy it (manifests/README.md)."
        )
    elif (found[0] / "status" / "phase").text == "Terminating":
        yield problem(f"The namespace {seen.namespace} is being deleted.", "Wait for its end, then deploy again.")
    else:
        yield ok(seen.namespace)


@check(Sight.SERVICES)
def functions(seen: Seen) -> Iterator[Said]:
    """Every function of the catalogue runs somewhere, once, and nothing runs that this release does not know."""
    running: dict[str, list[str]] = {}
    unknown: list[tuple[str, str]] = []
    for pod in seen.world.services:
        for container in pod.containers(init=False):
            words = seen.world.environment(container).get(FUNCTION, "")
            found, strange = seen.facts.chosen(words)
            unknown += [(pod.owner.name, word) for word in strange]
            for entry in found:
                running.setdefault(entry.name, []).append(pod.owner.name)
    missing = [entry.name for entry in seen.facts.catalogue if entry.name not in running]
    if missing and not running:
        yield problem("No function is deployed.", "kubectl apply --server-side -k manifests/overlays/… (manifests/README.md)")
    elif missing:
        yield problem(
            f"Not deployed: {names(missing)}.", "Apply the overlay again: kubectl apply --server-side -k manifests/overlays/…"
        )
    for service, word in unknown:
        yield problem(
            f"Service {service} runs {word!r}, which this release does not know.",
            f"It is left over, or newer than this command: {seen.kubectl(f'delete ksvc {service}')}, or upgrade auricle.",
        )
    twice = [name for name, services in running.items() if len(services) > 1 and not _pinned(seen, services)]
    if twice:
        yield note(
            f"Run by several Services: {names(twice)} (by {names(running[twice[0]])}).",
            "Left over from the other grouping? Delete the Services that the overlay does not have.",
        )
    if not missing and not unknown and not twice:
        yield ok(f"all {len(running)} are deployed")


def _pinned(seen: Seen, services: list[str]) -> bool:
    """Whether they differ by their model, which is meant."""
    models = [
        seen.world.environment(container).get("TRANSCRIBE_MODEL", "")
        + seen.world.environment(container).get("DIARIZE_MODEL", "")
        for pod in seen.world.services
        if pod.owner.name in services
        for container in pod.containers(init=False)
    ]
    return len(set(models)) == len(models)


@check(Sight.SERVICES)
def services(seen: Seen) -> Iterator[Said]:
    """Every Knative Service Ready, or the sentence why not."""
    found = seen.of(Sight.SERVICES)
    bad = [service for service in found if not holds(service)]
    for service in bad:
        yield why(seen, service)
    stale = [s.name for s in found if holds(s) and _behind(s)]
    if stale:
        yield note(f"Answered by an older revision still: {names(stale)}.", seen.kubectl("get ksvc,revisions"))
    if found and not bad and not stale:
        yield ok(f"{len(found)} Ready")


def _behind(service: Place) -> bool:
    made, ready = (service / "status" / f"latest{word}RevisionName" for word in ("Created", "Ready"))
    return made.text != ready.text


def why(seen: Seen, service: Place) -> Said:
    """Why a Service is not Ready: its pods know best, then its Deployment, its revision, itself."""
    for pod in seen.of(Sight.PODS):
        if pod.labels.get(SERVICE) == service.name:
            told = stuck(seen, pod)
            if told:
                return problem(f"Service {service.name} is not Ready: {told[0]}.", told[1])
    for deployment in seen.of(Sight.DEPLOYMENTS):
        if deployment.labels.get(SERVICE) == service.name and holds(deployment, "ReplicaFailure"):
            return refused(seen, deployment, f"Service {service.name} is not Ready: ")
    revision = seen.named(Sight.REVISIONS, (service / "status" / "latestCreatedRevisionName").text)
    text = reason(revision) if revision and not holds(revision) else reason(service)
    if "digest" in text or "fetch image" in text:
        return problem(
            f"Service {service.name} is not Ready: {text}.",
            "Knative could not ask the registry for the image: push it, give the pull secret, or name the registry in "
            "config-deployment registries-skipping-tag-resolving.",
        )
    return problem(f"Service {service.name} is not Ready: {text}.", seen.kubectl(f"describe ksvc {service.name}"))


def stuck(seen: Seen, pod: Place) -> tuple[str, str] | None:
    """Why a pod does not run, and what to do; None when it does, or only starts."""
    unscheduled = condition(pod, "PodScheduled")
    if unscheduled and (unscheduled / "status").text == "False":
        text = (unscheduled / "message").text.rstrip(". ")
        return (
            f"the pod {pod.name} fits on no node ({text})",
            f"Add a node, or ask for less: {seen.kubectl(f'describe pod {pod.name}')}",
        )
    for status in (*(pod / "status" / "initContainerStatuses").each(), *(pod / "status" / "containerStatuses").each()):
        waiting, name = status / "state" / "waiting", (status / "name").text
        cause, message = (waiting / "reason").text, (waiting / "message").text.rstrip(". ")
        if cause in _PULL:
            return (
                f"the image {(status / 'image').text} cannot be pulled ({message or cause})",
                "Push it, correct the overlay's `images:`, or give the pull secret; then "
                f"{seen.kubectl(f'delete pod {pod.name}')}",
            )
        if cause in _UNDONE:
            return (
                f"the container {name} of {pod.name} cannot be made ({message or cause})",
                "Make the Secret or ConfigMap that it names (auricle manifests secrets …), then apply the overlay again.",
            )
        if cause == "CrashLoopBackOff":
            ended = status / "lastState" / "terminated"
            memory = (ended / "reason").text == "OOMKilled"
            return (
                f"{name} of {pod.name} ends again and again ({(ended / 'reason').text or 'Error'}, exit code "
                f"{(ended / 'exitCode').text or '?'})",
                "Give it more memory in the overlay." if memory else seen.kubectl(f"logs {pod.name} -c {name} --previous"),
            )
    return None


def refused(seen: Seen, deployment: Place, lead: str) -> Said:
    """Why a Deployment's pods are not made: a quota, Pod Security, or an admission webhook."""
    text = reason(deployment, "ReplicaFailure")
    if "exceeded quota" in text:
        return problem(f"{lead}{text}.", f"Raise the quota in the overlay, or scale down: {seen.kubectl('describe quota')}")
    if "violates PodSecurity" in text:
        return problem(f"{lead}{text}.", f"`auricle manifests lint` says which field; then {seen.kubectl('get ksvc')}")
    return problem(f"{lead}{text}.", seen.kubectl(f"describe deployment {deployment.name}"))


@check(Sight.PODS, Sight.SERVICES)
def pods(seen: Seen) -> Iterator[Said]:
    """Pods that do not start or keep ending, of whatever makes them; those of a Service that is not Ready are told there."""
    told = {service.name for service in seen.of(Sight.SERVICES) if not holds(service)}
    found = [pod for pod in seen.of(Sight.PODS) if (pod / "status" / "phase").text not in ("Succeeded", "Failed")]
    bad = 0
    for pod in found:
        if pod.labels.get(SERVICE) in told:
            continue
        wrong = stuck(seen, pod)
        if wrong:
            bad += 1
            text, remedy = wrong
            yield problem(f"{text[0].upper()}{text[1:]}.", remedy)
            continue
        restarts = sum(int((s / "restartCount").number or 0) for s in (pod / "status" / "containerStatuses").each())
        if restarts >= MANY_RESTARTS:
            bad += 1
            yield note(
                f"The pod {pod.name} has started {restarts} times over.",
                seen.kubectl(f"logs {pod.name} --all-containers --previous"),
            )
    if not bad:
        yield ok(f"{len(found)} run")


@check(Sight.DEPLOYMENTS, Sight.STATEFUL_SETS)
def workloads(seen: Seen) -> Iterator[Said]:
    """Gateway, database, object store, broker: as many pods ready as wanted."""
    found = [w for sight in (Sight.DEPLOYMENTS, Sight.STATEFUL_SETS) for w in seen.of(sight) if SERVICE not in w.labels]
    bad = 0
    for workload in found:
        wanted = 1 if not (workload / "spec" / "replicas").present else int((workload / "spec" / "replicas").number or 0)
        ready = int((workload / "status" / "readyReplicas").number or 0)
        if holds(workload, "ReplicaFailure"):
            bad += 1
            yield refused(seen, workload, f"{workload.label} has too few pods: ")
        elif ready < wanted:
            bad += 1
            yield problem(
                f"{workload.label} has {ready} of {wanted} pods ready.",
                seen.kubectl(f"describe {workload.kind.lower()} {workload.name}"),
            )
        elif not wanted:
            bad += 1
            yield note(f"{workload.label} is scaled to none.", seen.kubectl(f"scale {workload.label.lower()} --replicas=1"))
    if not seen.named(Sight.DEPLOYMENTS, "gateway"):
        bad += 1
        yield problem("There is no gateway, so nobody reaches Auricle.", "Apply the overlay again (base/gateway).")
    if not bad:
        yield ok(f"{len(found)} have all their pods")


@check(Sight.SERVICES)
def images(seen: Seen) -> Iterator[Said]:
    """Functions of one image run one image; jobs run the functions'."""
    used: dict[str, dict[str, list[str]]] = {}
    for pod in seen.world.services:
        kind = pod.owner.labels.get(IMAGE, "")
        for container in pod.containers(init=False):
            used.setdefault(kind, {}).setdefault((container.place / "image").text, []).append(pod.owner.name)
    mixed = {kind: found for kind, found in used.items() if len(found) > 1}
    for kind, found in mixed.items():
        told = "; ".join(f"{names(who, 3)}: {image}" for image, who in sorted(found.items(), key=lambda pair: -len(pair[1])))
        yield note(
            f"Functions of the image {kind} run different ones ({told}).",
            "An upgrade that stopped half-way? Apply the overlay again: kubectl apply --server-side -k manifests/overlays/…",
        )
    if used and not mixed:
        yield ok(f"one of each: {names(sorted(used))}")

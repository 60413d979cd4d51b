"""What Auricle stands on: Kubernetes, Knative and its settings, nodes and their clocks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auricle.cli.checks import CLOCK_SECONDS
from auricle.cli.clusterdoctor.seen import Seen, Sight, holds, names, reason, seconds_of
from auricle.cli.clusterdoctor.table import Said, check, note, ok, problem
from auricle.deploy.lint.facts import ALLOWED
from auricle.deploy.lint.features import needed
from auricle.deploy.lint.places import go_seconds
from auricle.deploy.lint.rules import RULES
from auricle.deploy.lint.scaling import INITIAL

KUBERNETES = (1, 34)
KNATIVE_RELEASE = (1, 21)
OLD_LEASE = 60.0
"""Seconds. A node renews its lease every ten; after forty it counts as lost."""
LONG_GRACE = 600.0
"""Seconds before the last pod goes, beyond which sleeping saves nothing."""
SHORT_DEADLINE = 300.0
"""Seconds a new revision gets; pulling a speech image takes minutes."""
APPLY = "kubectl apply --server-side --field-manager=auricle -k manifests/knative"
_RELEASE = re.compile(r"v?(\d+)\.(\d+)")
_PRESSURE = ("MemoryPressure", "DiskPressure", "PIDPressure")


def _release(text: str) -> tuple[int, int] | None:
    found = _RELEASE.match(text)
    return (int(found[1]), int(found[2])) if found else None


def _spoken(release: tuple[int, int]) -> str:
    return ".".join(map(str, release))


@check()
def kubernetes(seen: Seen) -> Iterator[Said]:
    """The API server's release."""
    release = _release(seen.version)
    if release is None:
        yield note(
            "The API server does not say its release.", f"See that it is {_spoken(KUBERNETES)} or newer: kubectl version"
        )
    elif release < KUBERNETES:
        yield problem(
            f"Kubernetes {seen.version} is too old.",
            f"Upgrade the cluster to {_spoken(KUBERNETES)} or newer, one step at a time.",
        )
    else:
        yield ok(f"Kubernetes {seen.version}")


@check(Sight.SERVING, Sight.EVENTING)
def knative(seen: Seen) -> Iterator[Said]:
    """Knative's releases, and whether its controllers run."""
    silent = []
    for sight, part in ((Sight.SERVING, "Serving"), (Sight.EVENTING, "Eventing")):
        deployments = seen.of(sight)
        namespace = f"knative-{part.lower()}"
        if not deployments:
            yield problem(f"Knative {part} does not run: {namespace} is empty.", f"Install Knative {part}, then look again.")
            continue
        down = [d.name for d in deployments if (d / "spec" / "replicas").value != 0 and not holds(d, "Available")]
        if down:
            yield problem(
                f"Knative {part} is not whole: not available: {names(down)}.",
                f"Look at its pods: kubectl -n {namespace} get pods; kubectl -n {namespace} describe deployment {down[0]}",
            )
        said = sorted({d.labels.get("app.kubernetes.io/version", "") for d in deployments} - {""})
        releases = sorted(release for text in said if (release := _release(text)))
        if releases and releases[0] < KNATIVE_RELEASE:
            yield problem(
                f"Knative {part} {_spoken(releases[0])} is too old.", f"Upgrade it to {_spoken(KNATIVE_RELEASE)} or newer."
            )
        elif not releases:
            silent.append(f"Knative {part} ({names(said) or 'nothing'})")
        elif not down:
            yield ok(f"Knative {part} {_spoken(releases[0])}")
    if silent:
        yield note(f"No release is said by {' and '.join(silent)}.", f"See that it is {_spoken(KNATIVE_RELEASE)} or newer.")


@check(Sight.SERVING_CONFIG, Sight.SERVICES)
def features(seen: Seen) -> Iterator[Said]:
    """Pod features that the deployed functions use and Knative leaves off: the next revision would be refused."""
    users: dict[str, list[str]] = {}
    for pod in seen.world.services:
        for feature in needed(pod):
            if not seen.facts.allows(feature):
                users.setdefault(feature, []).append(pod.owner.name)
    for feature, who in users.items():
        yield problem(
            f"Knative's feature {feature} is off, and the next revision of {names(who)} is refused without it.",
            "kubectl -n knative-serving patch configmap config-features --type=merge "
            f'-p \'{{"data":{{"{feature}":"enabled"}}}}\'',
        )
    # Without its LimitRange, what a quota demands cannot be told from what is filled in.
    rules = () if Sight.LIMIT_RANGES in seen.lacking else ("sidecar-refused-by-quota", "refused-by-quota")
    refused = [f for rule in rules for f in RULES[rule].findings(seen.world)]
    for owner in dict.fromkeys(finding.object for finding in refused):
        first = next(finding for finding in refused if finding.object == owner)
        yield problem(first.sentence, "Apply base/policies (its LimitRange has defaults for what is not stated).")
    if not users and not refused:
        yield ok("every pod feature that the functions use is on")


@check(Sight.SERVING_CONFIG)
def settings(seen: Seen) -> Iterator[Said]:
    """What manifests/knative sets, against what is set; features are judged by their users."""
    away = []
    for config, wanted in seen.wanted.items():
        for key, value in wanted.items():
            found = seen.facts.knative_setting(config, key, "")
            if not _enough(found, value):
                away.append(f"{config} {key}: {value}")
    urgent = [*_refused_at_once(seen)]
    yield from urgent
    if away and not urgent:
        yield note(f"manifests/knative sets what this cluster does not: {names(away)}. Nothing here needs it yet.", APPLY)
    elif not urgent:
        yield ok("as manifests/knative wants them" if seen.wanted else "nothing that the functions use is missing")


def _enough(found: str, wanted: str) -> bool:
    if wanted in ALLOWED:
        return found.lower() in ALLOWED
    if wanted.isdigit():
        return found.isdigit() and int(found) >= int(wanted)
    return found == wanted


def _refused_at_once(seen: Seen) -> Iterator[Said]:
    """Settings that a deployed function goes beyond."""
    longest = int(seen.facts.knative_setting("config-defaults", "max-revision-timeout-seconds", "600") or 600)
    zero = seen.facts.knative_setting("config-autoscaler", "allow-zero-initial-scale", "false") == "true"
    over = [p.owner.name for p in seen.world.services if ((p.spec / "timeoutSeconds").number or 0) > longest]
    none = [p.owner.name for p in seen.world.services if p.annotation(INITIAL).text == "0"]
    if over:
        yield problem(
            f"A request may take {longest} s at most, and the next revision of {names(over)} is refused: it wants more.", APPLY
        )
    if none and not zero:
        yield problem(
            f"allow-zero-initial-scale is off, and the next revision of {names(none)} is refused: it starts with no pod.", APPLY
        )


@check(Sight.SERVING_CONFIG)
def autoscaler(seen: Seen) -> Iterator[Said]:
    """Whether functions sleep, and how new revisions are waited for."""
    fine = True
    if seen.facts.knative_setting("config-autoscaler", "enable-scale-to-zero", "true").lower() != "true":
        fine = False
        yield problem(
            "Functions never sleep: enable-scale-to-zero is off, so GPUs are kept for nobody.",
            "kubectl -n knative-serving patch configmap config-autoscaler --type=merge "
            '-p \'{"data":{"enable-scale-to-zero":"true"}}\'',
        )
    grace = go_seconds(seen.facts.knative_setting("config-autoscaler", "scale-to-zero-grace-period", "30s"))
    if grace is None or grace > LONG_GRACE:
        fine = False
        yield note(
            f"The last pod of a function stays for {grace or 0:.0f} s after its work (scale-to-zero-grace-period).",
            "Set scale-to-zero-grace-period in config-autoscaler to about 30s; a GPU's own pause is an annotation.",
        )
    deadline = go_seconds(seen.facts.knative_setting("config-deployment", "progress-deadline", "600s"))
    if deadline is None or deadline < SHORT_DEADLINE:
        fine = False
        yield note(
            f"A new revision is given up after {deadline or 0:.0f} s (progress-deadline), and speech images are large.",
            "Set progress-deadline in config-deployment to 600s.",
        )
    if fine:
        yield ok("functions sleep when nobody asks")


@check(Sight.NODES)
def nodes(seen: Seen) -> Iterator[Said]:
    """Nodes that are not Ready, or run out of something."""
    found = seen.of(Sight.NODES)
    bad = 0
    for node in found:
        pressed = [kind for kind in _PRESSURE if holds(node, kind)]
        if not holds(node):
            bad += 1
            yield problem(f"The node {node.name} is not Ready: {reason(node)}.", f"kubectl describe node {node.name}")
        elif pressed:
            bad += 1
            yield problem(
                f"The node {node.name} is under {names(pressed)}: it evicts pods.",
                f"Free it or add a node: kubectl describe node {node.name}",
            )
        elif (node / "spec" / "unschedulable").value:
            bad += 1
            yield note(
                f"The node {node.name} takes no new pods.", f"When its maintenance is done: kubectl uncordon {node.name}"
            )
    if not bad:
        yield ok(f"{len(found)} Ready")


@check()
def clock(seen: Seen) -> Iterator[Said]:
    """This machine's clock against the API server's: signed links and leases live by it."""
    if seen.server_clock is None:
        yield note("The API server does not say its time.", "Compare the clocks yourself: signed links expire by them.")
        return
    away = abs(seen.server_clock - seen.now)
    if away > CLOCK_SECONDS:
        yield problem(
            f"The API server's clock is {away:.0f} s away from this machine's: links signed by one are refused by the other.",
            "Turn on NTP on both: timedatectl set-ntp true",
        )
    else:
        yield ok(f"in step with the API server (within {max(away, 1):.0f} s)")


@check(Sight.LEASES)
def node_clocks(seen: Seen) -> Iterator[Said]:
    """Each node's lease, written by its own clock, against the API server's."""
    server = seen.server_clock if seen.server_clock is not None else seen.now
    bad = 0
    alive = {n.name for n in seen.of(Sight.NODES)}
    for lease in seen.of(Sight.LEASES):
        renewed = seconds_of((lease / "spec" / "renewTime").text)
        if renewed is None or (alive and lease.name not in alive):
            continue
        if renewed - server > CLOCK_SECONDS:
            bad += 1
            yield problem(
                f"The clock of the node {lease.name} is {renewed - server:.0f} s ahead of the API server's.",
                f"Turn on NTP on {lease.name}: timedatectl set-ntp true",
            )
        elif server - renewed > OLD_LEASE:
            bad += 1
            yield problem(
                f"The node {lease.name} was last heard {server - renewed:.0f} s ago: its kubelet hangs or its clock is late.",
                f"kubectl describe node {lease.name}; on it: timedatectl, systemctl status kubelet",
            )
    if not bad:
        yield ok("nodes' clocks agree with the API server's")

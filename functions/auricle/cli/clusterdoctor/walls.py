"""What keeps things apart and in bounds: secrets, quotas, disruption, network, Pod Security."""

from __future__ import annotations

from collections.abc import Iterator

from auricle.cli.clusterdoctor.events import APPLY, linted
from auricle.cli.clusterdoctor.seen import Seen, Sight, names
from auricle.cli.clusterdoctor.table import Said, check, note, ok, problem
from auricle.deploy.lint.places import Place, quantity
from auricle.deploy.lint.quotas import ENFORCE
from auricle.deploy.lint.scaling import MIN
from auricle.deploy.lint.world import Pod

TLS = "gateway-tls"
NEAR = 0.9
"""Part of a quota, beyond which the next function may find no room."""
MAKE = "auricle manifests secrets manifests/overlays/…/secrets"
HOLDERS = ("needless-secret", "missing-secret", "secret-on-speech", "whole-secret")
SIGN_IN = ("auricle-signing", "auricle-public-keys")
"""Pods start without these, but nobody can sign in."""
IN_CLEAR = ("secret-in-clear", "secret-in-settings")


def _wanted_keys(pod: Pod) -> Iterator[tuple[str, str]]:
    """(Secret, key) for everything a pod cannot do its work without; an empty key stands for the Secret alone."""
    for container in pod.containers():
        for variable in (container.place / "env").each():
            reference = variable / "valueFrom" / "secretKeyRef"
            if reference.present and (reference / "optional").value is not True:
                yield (reference / "name").text, (reference / "key").text
    for volume in (pod.spec / "volumes").each():
        secret = volume / "secret"
        name = (secret / "secretName").text
        if secret.present and ((secret / "optional").value is not True or name in SIGN_IN):
            items = [name]
            yield from ((items[0], (item / "key").text) for item in (secret / "items").each())
            if not (secret / "items").present:
                yield items[0], ""


def _users(seen: Seen) -> dict[tuple[str, str], list[str]]:
    """Who of Auricle's own needs which key; what is known to be made outside is needed even by nobody."""
    found: dict[tuple[str, str], list[str]] = {}
    for pod in seen.world.pods:
        if pod.owner.labels.get("app.kubernetes.io/part-of") == "auricle":
            for wanted in _wanted_keys(pod):
                found.setdefault(wanted, []).append(pod.owner.name)
    for (secret, key), who in list(found.items()):
        if not key:
            del found[secret, key]
            for expected in seen.facts.secrets.get(secret, ()):
                found.setdefault((secret, expected), []).extend(who)
    return found


@check(Sight.SECRETS, Sight.SERVICES)
def secrets(seen: Seen) -> Iterator[Said]:
    """Every Secret that something refers to is there, with its keys, none of them empty. Values are never looked at."""
    bad = 0
    gone = set()
    for (secret, key), who in sorted(_users(seen).items()):
        found = seen.named(Sight.SECRETS, secret)
        if found is None:
            if secret not in gone:
                bad += 1
                gone.add(secret)
                yield problem(f"The Secret {secret} is missing, for {names(dict.fromkeys(who))}.", _how(seen, secret))
        elif not (found / "data" / key).text:
            bad += 1
            lack = "an empty" if (found / "data" / key).present else "no"
            yield problem(f"The Secret {secret} has {lack} {key}, wanted by {names(dict.fromkeys(who))}.", _how(seen, secret))
    if not bad:
        yield ok("all there, with their keys")


def _how(seen: Seen, name: str) -> str:
    if name == TLS:
        return f"{seen.kubectl('create secret tls gateway-tls --cert=cert.pem --key=key.pem')}, or add components/tls."
    return f"{MAKE} writes what is missing; then kubectl apply --server-side -k manifests/overlays/…"


@check(Sight.SERVICES)
def secret_holders(seen: Seen) -> Iterator[Said]:
    """Each function holds the secrets that its code asks for, and no other; none stands in clear."""
    found = list(dict.fromkeys(linted(seen, (*HOLDERS, *IN_CLEAR))))
    for sentence in found:
        yield problem(sentence, APPLY)
    if not found:
        yield ok("no function holds a secret that it does not need")


@check(Sight.QUOTAS)
def quotas(seen: Seen) -> Iterator[Said]:
    """How much of each quota is used."""
    bad = 0
    for quota in seen.of(Sight.QUOTAS):
        used = (quota / "status" / "used").texts
        for counted, hard in (quota / "status" / "hard").texts.items():
            most, now = quantity(hard), quantity(used.get(counted, "0"))
            if most is None or now is None or counted.startswith("services") or (not most and not now):
                continue  # one gateway of one is as it should be
            raise_it = (
                f"Raise it in the overlay, or scale down: {seen.kubectl(f'describe quota {quota.name}')}; "
                "auricle manifests budget says what is needed at full scale."
            )
            if now >= most:
                bad += 1
                yield problem(f"The quota {quota.name} is used up: {counted} {used.get(counted)} of {hard}.", raise_it)
            elif now >= NEAR * most:
                bad += 1
                yield note(f"The quota {quota.name} is nearly used up: {counted} {used.get(counted)} of {hard}.", raise_it)
    if not bad:
        yield ok("room enough" if seen.of(Sight.QUOTAS) else "no quota bounds the namespace")


@check(Sight.LIMIT_RANGES, Sight.SERVICES)
def limit_range(seen: Seen) -> Iterator[Said]:
    """No container of ours asks for more than the namespace lets one have."""
    bad = 0
    for ranges in seen.of(Sight.LIMIT_RANGES):
        for limit in (ranges / "spec" / "limits").each():
            for resource, most in (limit / "max").texts.items():
                over = [] if (limit / "type").text != "Container" else _over(seen, resource, quantity(most))
                if over:
                    bad += 1
                    yield problem(
                        f"{ranges.label} allows a container {most} {resource} at most, and refuses the pods of {names(over)}.",
                        f"Raise `max` or ask for less in the overlay: {seen.kubectl(f'edit limitrange {ranges.name}')}",
                    )
    if not bad:
        yield ok("nobody asks for more than is allowed")


def _over(seen: Seen, resource: str, most: float | None) -> list[str]:
    if most is None:
        return []
    asked = {c.pod.owner.name: quantity((c.place / "resources" / "limits" / resource).value) for c in seen.world.containers}
    return [name for name, amount in asked.items() if amount is not None and amount > most]


@check(Sight.DISRUPTION, Sight.SERVICES)
def disruption(seen: Seen) -> Iterator[Said]:
    """What stays awake for people has a disruption budget, and every budget lets a node go some day."""
    found = seen.of(Sight.DISRUPTION)
    bad = 0
    warm = [p.owner.name for p in seen.world.services if (p.annotation(MIN).number or 0) >= 2]
    if warm and not found:
        bad += 1
        yield note(f"No PodDisruptionBudget for {names(warm)}: a drain may take all pods at once.", "Apply base/policies.")
    for budget in found:
        expected, healthy = ((budget / "status" / n).number or 0 for n in ("expectedPods", "currentHealthy"))
        never = (budget / "spec" / "maxUnavailable").text in ("0", "0%") or (budget / "spec" / "minAvailable").text == "100%"
        if never and expected:
            bad += 1
            yield problem(
                f"{budget.label} never lets a pod go, so no node can be drained.",
                seen.kubectl(f'patch pdb {budget.name} --type=merge -p \'{{"spec":{{"maxUnavailable":1}}}}\''),
            )
        elif healthy < ((budget / "status" / "desiredHealthy").number or 0):
            bad += 1
            yield note(
                f"{budget.label} counts {healthy:.0f} healthy of {expected:.0f} pods: a drain has to wait.",
                seen.kubectl("get pods"),
            )
    if not bad:
        yield ok(f"{len(found)} budgets")


@check(Sight.POLICIES)
def network(seen: Seen) -> Iterator[Said]:
    """Nobody reaches anybody unless a policy says so."""
    found = seen.of(Sight.POLICIES)
    denied = {word for policy in found if _denies(policy) for word in (policy / "spec" / "policyTypes").words}
    missing = [word for word in ("Ingress", "Egress") if word not in denied]
    opened = [p.name for p in found if _opens(p)]
    if missing:
        yield problem(
            f"No network policy denies {' and '.join(missing)} by default: any pod reaches the database.",
            "Apply base/policies (its policy deny-all).",
        )
    if opened:
        yield problem(
            f"Everybody is let in or out again by the network policy {names(opened)}.",
            f"{seen.kubectl(f'delete netpol {opened[0]}')}",
        )
    if not missing and not opened:
        yield ok(f"{len(found)} policies, everything else denied")


def _everybody(policy: Place) -> bool:
    return (policy / "spec" / "podSelector").present and not any((policy / "spec" / "podSelector").mapping.values())


def _denies(policy: Place) -> bool:
    return _everybody(policy) and not any((policy / "spec" / way).value for way in ("ingress", "egress"))


def _opens(policy: Place) -> bool:
    return _everybody(policy) and any({} in ((policy / "spec" / way).value or []) for way in ("ingress", "egress"))


@check(Sight.NAMESPACE)
def pod_security(seen: Seen) -> Iterator[Said]:
    """The namespace admits only pods without rights."""
    for namespace in seen.of(Sight.NAMESPACE):
        level = namespace.labels.get(ENFORCE, "")
        if level != "restricted":
            yield problem(
                f"The namespace enforces Pod Security {level or 'privileged'}: a pod may run as root.",
                f"kubectl label namespace {seen.namespace} {ENFORCE}=restricted --overwrite",
            )
        else:
            yield ok(f"restricted ({namespace.labels.get(f'{ENFORCE}-version', 'latest')})")

"""What objects say about each other: names that lead nowhere, selectors that choose nothing, objects made twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from auricle.deploy.lint.places import Fault, Place, number
from auricle.deploy.lint.rules import objects, pods, rule, whole
from auricle.deploy.lint.scaling import MIN
from auricle.deploy.lint.world import Pod, World

OF_THE_CLUSTER = frozenset({"PriorityClass"})
"""Kinds without a namespace."""
OF_OUR_OPERATOR = ({"app.kubernetes.io/name": "models"}, {"auricle.dev/job": "snapshot"})
"""Labels of the jobs that our own operator makes in its namespace."""
MADE_BY_KUBERNETES = frozenset({"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"})


def _exists(world: World, kind: str, name: str, namespace: str) -> bool:
    label = f"{kind}/{name}"
    where = "" if kind in OF_THE_CLUSTER else namespace
    if world.named(kind, name, where) or label in world.facts.external or label in MADE_BY_KUBERNETES:
        return True
    if kind == "Secret":
        return name in world.facts.secrets or any(
            (maker / "spec" / "secretName").text == name or (maker / "spec" / "target" / "name").text == name
            for maker in (*world.of("Certificate", "cert-manager.io"), *world.of("ExternalSecret", "external-secrets.io"))
        )
    return kind == "PriorityClass" and name.startswith("system-")


def _claims(pod: Pod) -> set[str]:
    return {(c / "metadata" / "name").text for c in (pod.owner / "spec" / "volumeClaimTemplates").each()}


def _named(pod: Pod) -> Iterator[tuple[str, Place]]:
    """Everything that a pod refers to by name, as (kind, place of the name)."""
    yield "ServiceAccount", pod.spec / "serviceAccountName"
    yield "PriorityClass", pod.spec / "priorityClassName"
    for secret in (pod.spec / "imagePullSecrets").each():
        yield "Secret", secret / "name"
    for volume in (pod.spec / "volumes").each():
        for source in (volume, *(volume / "projected" / "sources").each()):
            if (source / "configMap" / "optional").value is not True:
                yield "ConfigMap", source / "configMap" / "name"
            field = "secretName" if (source / "secret" / "secretName").present else "name"
            if (source / "secret" / "optional").value is not True:
                yield "Secret", source / "secret" / field
        yield "PersistentVolumeClaim", volume / "persistentVolumeClaim" / "claimName"
    for container in pod.containers():
        for reference in (v / "valueFrom" for v in (container.place / "env").each()):
            for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                if (reference / field / "optional").value is not True:
                    yield kind, reference / field / "name"
        for source in (container.place / "envFrom").each():
            for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if (source / field / "optional").value is not True:
                    yield kind, source / field / "name"


@rule(over=pods)
def dangling_reference(pod: Pod, world: World) -> Iterator[Fault]:
    """A ConfigMap, Secret, claim, priority class or service account that nothing makes: the pod never starts."""
    told = set()
    for kind, place in _named(pod):
        if place.text and (kind, place.text) not in told and not _exists(world, kind, place.text, pod.owner.namespace):
            told.add((kind, place.text))
            outside = ", or list it as made outside the manifests" if kind == "Secret" else ""
            yield place.fault(
                f"refers to {kind}/{place.text}, which nothing makes", f"Add it to the overlay, or correct the name{outside}"
            )


@rule(over=pods)
def missing_key(pod: Pod, world: World) -> Iterator[Fault]:
    """A key that a ConfigMap among the objects does not have."""
    for container in pod.containers():
        for variable in (container.place / "env").each():
            reference = variable / "valueFrom" / "configMapKeyRef"
            config = world.named("ConfigMap", (reference / "name").text, pod.owner.namespace) if reference.present else None
            key = (reference / "key").text
            if config and (reference / "optional").value is not True and key not in (config / "data").mapping:
                yield (reference / "key").fault(
                    f"reads {key} out of {config.label}, which has no such key",
                    f"Add {key} to {config.name}, or correct the key",
                )


@rule(over=whole)
def made_twice(_: None, world: World) -> Iterator[Fault]:
    """Two objects of one kind and name: the second overwrites the first."""
    counted = Counter((o.group, o.kind, o.namespace, o.name) for o in world.objects)
    for item in {(o.group, o.kind, o.namespace, o.name): o for o in world.objects}.values():
        times = counted[(item.group, item.kind, item.namespace, item.name)]
        if times > 1:
            yield (item / "metadata" / "name").fault(f"is made {times} times", "Remove all but one")


def selects(selector: Place, labels: Mapping[str, str]) -> bool:
    """Whether a label selector (`matchLabels`, `matchExpressions`) chooses these labels."""
    if any(labels.get(key) != value for key, value in (selector / "matchLabels").texts.items()):
        return False
    for expression in (selector / "matchExpressions").each():
        has, found = (expression / "key").text in labels, labels.get((expression / "key").text)
        values = (expression / "values").words
        meets = {"In": found in values, "NotIn": found not in values, "Exists": has, "DoesNotExist": not has}
        if not meets.get((expression / "operator").text, False):
            return False
    return True


def _chosen(world: World, selector: Place, namespace: str) -> list[Pod]:
    return [pod for pod in world.pods if pod.owner.namespace == namespace and selects(selector, pod.labels)]


def _of_an_operator(world: World, selector: Place, namespace: str) -> bool:
    """Whether an operator could make such pods for one of the objects: they are not among these, and not ours to see."""
    wanted = (selector / "matchLabels").texts
    for expression in (selector / "matchExpressions").each():
        wanted[(expression / "key").text] = next(iter((expression / "values").words), "")
    owners = {o.name for o in world.objects if o.kind in ("RabbitmqCluster", "Kafka", "Broker") and o.namespace == namespace}
    if wanted in OF_OUR_OPERATOR and world.named("Deployment", "auricle-operator", namespace):
        return True
    domains = ("eventing.knative.dev/", "rabbitmq.com/")
    return bool(owners) and (wanted.get("app.kubernetes.io/name") in owners or any(key.startswith(domains) for key in wanted))


def _nobody(world: World, selector: Place, namespace: str) -> bool:
    """Whether a selector chooses no pod that we know of."""
    return not _chosen(world, selector, namespace) and not _of_an_operator(world, selector, namespace)


def _plain(selector: Place) -> Place:
    """A Service's selector, which is labels and nothing else, as other objects write theirs."""
    return Place(selector.root, selector.path, {"matchLabels": selector.mapping})


@rule(over=objects("NetworkPolicy", "networking.k8s.io"))
def policy_selects_nothing(policy: Place, world: World) -> Iterator[Fault]:
    """A network policy for pods that there are none of: it protects nothing."""
    place = policy / "spec" / "podSelector"
    if place.mapping and _nobody(world, place, policy.namespace):
        yield place.fault("selects no pod of these objects", "Correct spec.podSelector to labels that a pod template carries")


@rule(over=whole)
def no_default_deny(_: None, world: World) -> Iterator[Fault]:
    """A namespace whose pods anybody in the cluster may reach: functions are reached through their doors only."""
    for namespace in sorted({pod.owner.namespace for pod in world.services}):
        denied = set()
        for policy in world.of("NetworkPolicy", "networking.k8s.io"):
            spec = policy / "spec"
            if policy.namespace == namespace and (spec / "podSelector").present and not (spec / "podSelector").mapping:
                denied |= {kind for kind in (spec / "policyTypes").words or ["Ingress"] if not (spec / kind.lower()).value}
        missing = [kind for kind in ("Ingress", "Egress") if kind not in denied]
        if missing:
            first = next(pod.owner for pod in world.services if pod.owner.namespace == namespace)
            yield (first / "metadata" / "namespace").fault(
                f"is in a namespace that does not deny {' and '.join(missing).lower()} by default",
                "Add a NetworkPolicy with podSelector: {} and policyTypes: [Ingress, Egress] and no rules",
            )


@rule(over=objects("PodDisruptionBudget", "policy"))
def budget_selects_nothing(budget: Place, world: World) -> Iterator[Fault]:
    """A disruption budget for pods that there are none of."""
    place = budget / "spec" / "selector"
    if _nobody(world, place, budget.namespace):
        yield place.fault("selects no pod of these objects", "Correct spec.selector to labels that a pod template carries")


def _replicas(pod: Pod) -> float:
    """The pods that there are at least."""
    if pod.knative:
        return pod.annotation(MIN).number or 0
    found = (pod.owner / "spec" / "replicas").number
    return 1 if found is None else found


@rule(over=objects("PodDisruptionBudget", "policy"))
def budget_blocks_all(budget: Place, world: World) -> Iterator[Fault]:
    """A disruption budget that never allows a disruption: nodes cannot be drained."""
    chosen = _chosen(world, budget / "spec" / "selector", budget.namespace)
    there = sum(_replicas(pod) for pod in chosen)
    least, most = budget / "spec" / "minAvailable", budget / "spec" / "maxUnavailable"
    if most.text in ("0", "0%"):
        yield most.fault("lets no pod be moved", "Set spec.maxUnavailable: 1")
    elif least.present and chosen:
        share = number(least.text.removesuffix("%")) or 0
        needed = -(-share * there // 100) if least.text.endswith("%") else share
        if needed and needed >= there:
            yield least.fault(
                f"wants {least.text} pods of {there:g} to stay, so no node can be drained",
                "Set spec.maxUnavailable: 1 instead, or more replicas",
            )


@rule(over=objects("Service"))
def service_selects_nothing(service: Place, world: World) -> Iterator[Fault]:
    """An address behind which there is no pod."""
    place = service / "spec" / "selector"
    if place.mapping and _nobody(world, _plain(place), service.namespace):
        yield place.fault("selects no pod of these objects", "Correct spec.selector to labels that a pod template carries")


@rule(over=objects("Service"))
def service_port_nowhere(service: Place, world: World) -> Iterator[Fault]:
    """A port by a name that its pods do not have."""
    selector = service / "spec" / "selector"
    chosen = _chosen(world, _plain(selector), service.namespace) if selector.mapping else []
    names = {(p / "name").text for pod in chosen for c in pod.containers(init=False) for p in (c.place / "ports").each()}
    for port in (service / "spec" / "ports").each():
        target = port / "targetPort"
        if chosen and isinstance(target.value, str) and target.value not in names and not target.value.isdigit():
            yield target.fault(
                f"leads to the port {target.value!r}, which its pods do not name",
                f"Use one of {', '.join(sorted(names)) or 'their numbers'}",
            )


@rule(over=pods)
def selector_differs(pod: Pod, world: World) -> Iterator[Fault]:
    """A Deployment or StatefulSet that does not choose its own pods: the API server refuses it."""
    if pod.owner.kind in ("Deployment", "StatefulSet", "DaemonSet"):
        place = pod.owner / "spec" / "selector"
        if not place.mapping or not selects(place, pod.labels):
            yield place.fault("does not select its own pods", "Make spec.selector.matchLabels a part of the template's labels")

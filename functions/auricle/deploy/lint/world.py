"""All objects of an overlay together, as rules ask about them: who is there, who runs which function, who hears what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from auricle.deploy.catalogue import FunctionEntry
from auricle.deploy.lint.facts import Facts, knative_settings
from auricle.deploy.lint.places import Place

KNATIVE = "serving.knative.dev"
EVENTING = "eventing.knative.dev"
SOURCES = "sources.knative.dev"
TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    (KNATIVE, "Service"): ("spec", "template"),
    ("apps", "Deployment"): ("spec", "template"),
    ("apps", "StatefulSet"): ("spec", "template"),
    ("apps", "DaemonSet"): ("spec", "template"),
    ("batch", "Job"): ("spec", "template"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
    ("sinks.knative.dev", "JobSink"): ("spec", "job", "spec", "template"),
    ("", "Pod"): (),
}
"""Kinds that make pods, and where their template is."""
BROKER_CLASS = "eventing.knative.dev/broker.class"
RABBITMQ = "RabbitMQBroker"
FUNCTION = "AURICLE_FUNCTION"


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod template."""

    pod: Pod
    place: Place
    init: bool

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.place.mapping.get("name", "?"))


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod template, whatever makes pods of it."""

    owner: Place
    template: Place

    @property
    def spec(self) -> Place:
        """The pod's spec."""
        return self.template / "spec"

    @property
    def labels(self) -> dict[str, str]:
        """The labels its pods carry; Knative adds its own."""
        own = (self.template / "metadata" / "labels").texts
        if not self.knative:
            return own
        given = dict.fromkeys(("service", "configuration", "route"), self.owner.name)
        return {**own, **{f"{KNATIVE}/{name}": value for name, value in given.items()}, f"{KNATIVE}/revision": "", "app": ""}

    @property
    def knative(self) -> bool:
        """Whether Knative Serving runs it."""
        return self.owner.group == KNATIVE

    @property
    def serves(self) -> bool:
        """Whether it goes on until it is stopped."""
        return self.owner.kind in ("Service", "Deployment", "StatefulSet", "DaemonSet")

    def containers(self, init: bool = True) -> Iterator[Container]:
        """Its containers; the init containers too unless told not to."""
        for field in ("initContainers", "containers") if init else ("containers",):
            for place in (self.spec / field).each():
                yield Container(self, place, field == "initContainers")

    def annotation(self, key: str) -> Place:
        """An annotation of the template."""
        return self.template / "metadata" / "annotations" / key


class World:
    """The objects and the facts. Nothing here changes."""

    def __init__(self, objects: Sequence[Mapping[str, Any]], facts: Facts) -> None:
        """Settings of Knative among the objects count as well as those of manifests/knative."""
        self.objects = tuple(Place.top(item) for item in objects)
        merged = {name: dict(data) for name, data in facts.knative.items()}
        for name, data in knative_settings(o.root for o in self.objects if o.namespace).items():
            merged.setdefault(name, {}).update(data)
        self.facts = Facts(**{**{n: getattr(facts, n) for n in Facts.__struct_fields__}, "knative": merged})

    def of(self, kind: str, group: str = "") -> list[Place]:
        """All objects of a kind."""
        return [o for o in self.objects if (o.kind, o.group) == (kind, group)]

    def named(self, kind: str, name: str, namespace: str) -> Place | None:
        """One object by name, of any API group."""
        return self._by_name.get((kind, name, namespace))

    @cached_property
    def _by_name(self) -> dict[tuple[str, str, str], Place]:
        # Rules ask for names thousands of times. Reversed, so that of several of one name the first is meant.
        return {(o.kind, o.name, o.namespace): o for o in reversed(self.objects)}

    @cached_property
    def services(self) -> list[Pod]:
        """Every Knative Service."""
        return [pod for pod in self.pods if pod.knative]

    @cached_property
    def triggers(self) -> list[Place]:
        """Every Trigger."""
        return self.of("Trigger", EVENTING)

    @cached_property
    def brokers(self) -> list[Place]:
        """Every Broker."""
        return self.of("Broker", EVENTING)

    @cached_property
    def pings(self) -> list[Place]:
        """Every PingSource."""
        return self.of("PingSource", SOURCES)

    @cached_property
    def pods(self) -> list[Pod]:
        """Every pod template."""
        found = []
        for item in self.objects:
            steps = TEMPLATES.get((item.group, item.kind))
            if steps is not None:
                place = item
                for step in steps:
                    place = place / step
                found.append(Pod(item, place))
        return found

    @cached_property
    def containers(self) -> list[Container]:
        """Every container, init containers too."""
        return [container for pod in self.pods for container in pod.containers()]

    @cached_property
    def hosts(self) -> list[tuple[Container, list[FunctionEntry]]]:
        """Every container that runs functions, with those that the catalogue knows."""
        named = [(c, self.environment(c).get(FUNCTION, "")) for c in self.containers]
        return [(c, self.facts.chosen(words)[0]) for c, words in named if words]

    def environment(self, container: Container) -> dict[str, str]:
        """The variables whose values can be read here: literals, and ConfigMaps among the objects."""
        found: dict[str, str] = {}
        for source in (container.place / "envFrom").each():
            config = self.named("ConfigMap", (source / "configMapRef" / "name").text, container.pod.owner.namespace)
            prefix = (source / "prefix").text
            found |= {prefix + key: str(value) for key, value in ((config / "data").mapping if config else {}).items()}
        for variable in (container.place / "env").each():
            reference = variable / "valueFrom" / "configMapKeyRef"
            if (variable / "value").present:
                found[(variable / "name").text] = (variable / "value").text
            elif reference.present:
                config = self.named("ConfigMap", (reference / "name").text, container.pod.owner.namespace)
                key = (reference / "key").text
                if config and key in (config / "data").mapping:
                    found[(variable / "name").text] = str((config / "data").mapping[key])
        return found

    def setting(self, container: Container, name: str) -> Any:
        """A setting as the container sees it: its variable, or the code's default."""
        return self.environment(container).get(name, self.facts.settings.get(name))

    def functions(self, pod: Pod) -> list[FunctionEntry]:
        """The functions that a pod runs."""
        return [entry for container, entries in self.hosts if container.pod is pod for entry in entries]

    def asks_kubernetes(self, pod: Pod) -> bool:
        """Whether a role is bound to its service account: such a pod needs its token."""
        account = (pod.spec / "serviceAccountName").text
        bindings = [b for kind in ("RoleBinding", "ClusterRoleBinding") for b in self.of(kind, "rbac.authorization.k8s.io")]
        subjects = [subject for binding in bindings for subject in (binding / "subjects").each()]
        return any((s / "kind").text == "ServiceAccount" and (s / "name").text == account for s in subjects)

    def service(self, reference: Place, namespace: str) -> Pod | None:
        """The Knative Service that a `ref` points to."""
        where = (reference / "namespace").text or namespace
        return next((p for p in self.services if (p.owner.name, p.owner.namespace) == ((reference / "name").text, where)), None)

    def broker_of(self, trigger: Place) -> Place | None:
        """The Broker of a Trigger."""
        name = (trigger / "spec" / "broker").text
        return next((b for b in self.brokers if (b.name, b.namespace) == (name, trigger.namespace)), None)

    def broker_class(self, trigger: Place) -> str:
        """The class of a Trigger's Broker; empty when it is not among the objects."""
        broker = self.broker_of(trigger)
        return broker.annotation(BROKER_CLASS).text if broker else ""

    def heard_by(self, trigger: Place) -> FunctionEntry | None:
        """The function that a Trigger delivers to: the last word of the subscriber's path, if its Service runs it."""
        pod = self.service(trigger / "spec" / "subscriber" / "ref", trigger.namespace)
        name = (trigger / "spec" / "subscriber" / "uri").text.rstrip("/").rpartition("/")[2]
        return next((f for f in self.functions(pod) if f.name == name), None) if pod else None

    def filter_of(self, trigger: Place) -> Mapping[str, Any]:
        """A Trigger's exact filter."""
        return (trigger / "spec" / "filter" / "attributes").mapping

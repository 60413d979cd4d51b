"""Whether those who need each other may meet: network policies, evaluated as the network would.

Clusters whose network does not enforce policies hide a missing rule until the first one that does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from auricle.contract.choices import Image
from auricle.deploy.lint.places import Fault, Place
from auricle.deploy.lint.references import selects
from auricle.deploy.lint.rules import rule, whole
from auricle.deploy.lint.world import BROKER_CLASS, RABBITMQ, Container, Pod, World

NAMESPACE_NAME = "kubernetes.io/metadata.name"
QUEUE_PROXY, DOOR, AMQP, ENVOY, DNS = 8012, 8080, 5672, 8081, 53
EVERYWHERE = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True)
class End:
    """One end of a connection: pods that look alike."""

    label: str
    namespace: str
    labels: Mapping[str, str]
    ports: Mapping[str, int] = field(default_factory=dict)
    space: Mapping[str, str] = field(default_factory=dict)
    """Labels of its namespace, where that is not among the objects."""


@dataclass(frozen=True, slots=True)
class Need:
    """Somebody has to reach somebody."""

    place: Place
    source: End
    target: End
    port: int
    why: str
    protocol: str = "TCP"


INGRESS = End("Knative's ingress", "kourier-system", {"app": "3scale-kourier-gateway"}, {})
NAMES = End("the cluster's DNS", "kube-system", {"k8s-app": "kube-dns"}, {})
TENANT = End(
    "a tenant's functions",
    "(a tenant's)",
    {"auricle.dev/function": "files", "auricle.dev/image": "api"},
    space={"auricle.dev/tenant": "acme"},
)
"""Pods that the operator makes in namespaces of their own, as one of them looks."""
ACTIVATOR = End("Knative's activator", "knative-serving", {"app": "activator"}, {})


def end_of(pod: Pod) -> End:
    """A pod template as an end of connections."""
    ports = [port for container in pod.containers(init=False) for port in (container.place / "ports").each()]
    named = {(port / "name").text: int((port / "containerPort").number or 0) for port in ports}
    return End(pod.owner.label, pod.owner.namespace, pod.labels, named)


def needs(world: World) -> Iterator[Need]:
    """Every connection that an Auricle lives by, among the objects at hand."""
    pooler, database, store = (_named(world, name) for name in ("pgbouncer", "postgres", "object-store"))
    front = pooler or database
    for container in world.containers:
        held = {(variable / "name").text for variable in (container.place / "env").each()}
        me = end_of(container.pod)
        runs = [entry for host, entries in world.hosts if host is container for entry in entries]
        if "DATABASE_URL" in held and runs and front:
            yield Need(container.place, me, end_of(front), _port(front), "its rows are there")
        if "OWNER_DATABASE_URL" in held and database:
            yield Need(container.place, me, end_of(database), _port(database), "it alters the schema there")
        if store and ("S3_ACCESS_KEY_ID" in held or any(entry.image is Image.SPEECH for entry in runs)):
            yield Need(container.place, me, end_of(store), _port(store), "recordings are there")
        if runs and "EVENT_KEY" in held:
            yield from _publishing(container, me, world, "it publishes its facts there")
        elif any(entry.image is Image.SPEECH for entry in runs):
            yield from _publishing(container, me, world, "it tells there how far it is")
    if pooler and database:
        yield Need(pooler.owner, end_of(pooler), end_of(database), _port(database), "it pools its connections")
    yield from _delivering(world)
    yield from _serving(world)
    yield from _sharing(world)


def _sharing(world: World) -> Iterator[Need]:
    """What many vaults share: the operator makes their databases and buckets, their functions use them."""
    operator = _named(world, "auricle-operator")
    if operator is None:
        return
    pooler, database, store, gateway = (_named(world, name) for name in ("pgbouncer", "postgres", "object-store", "gateway"))
    for server, why in ((database, "it makes tenants' databases there"), (store, "it makes tenants' buckets there")):
        if server:
            yield Need(server.owner, end_of(operator), end_of(server), _port(server), why)
    for server, why in ((pooler or database, "their rows are there"), (store, "their recordings are there")):
        if server:
            yield Need(server.owner, TENANT, end_of(server), _port(server), why)
    if store and gateway and (relay := end_of(gateway).ports.get("relay")):
        yield Need(store.owner, end_of(store), end_of(gateway), relay, "it tells of new objects there")


def _publishing(container: Container, me: End, world: World, why: str) -> Iterator[Need]:
    for broker in _rabbits(world):
        yield Need(container.place, me, _door(broker), DOOR, why)


def _delivering(world: World) -> Iterator[Need]:
    """The pods that RabbitMQ's Broker makes in our namespace, which our policies hold too."""
    for broker in _rabbits(world):
        dispatcher = End(
            "the Broker's dispatchers", broker.namespace, {"eventing.knative.dev/broker": broker.name, **_DISPATCHER}
        )
        server = End("RabbitMQ", "rabbitmq", {"app.kubernetes.io/name": "rabbit"})
        for pod in (dispatcher, _door(broker)):
            yield Need(broker, pod, server, AMQP, "the queues are there")
        yield Need(broker, dispatcher, INGRESS, ENVOY, "events are delivered through it")
        yield Need(broker, dispatcher, _door(broker), DOOR, "replies go there")


_DISPATCHER = {"eventing.knative.dev/brokerRole": "dispatcher"}


def _serving(world: World) -> Iterator[Need]:
    for pod in world.services:
        yield Need(pod.owner, end_of(pod), NAMES, DNS, "names are looked up there", "UDP")
        for knative in (INGRESS, ACTIVATOR):
            yield Need(pod.owner, knative, end_of(pod), QUEUE_PROXY, "requests come from there")
    gateway, store = _named(world, "gateway"), _named(world, "object-store")
    if gateway:
        yield Need(gateway.owner, end_of(gateway), INGRESS, ENVOY, "functions are reached through it")
    if gateway and store:
        yield Need(gateway.owner, end_of(gateway), end_of(store), _port(store), "signed URLs lead there")


def _rabbits(world: World) -> list[Place]:
    return [broker for broker in world.brokers if broker.annotation(BROKER_CLASS).text == RABBITMQ]


def _door(broker: Place) -> End:
    labels = {"eventing.knative.dev/broker": broker.name, "eventing.knative.dev/brokerRole": "ingress"}
    return End("the Broker's ingress", broker.namespace, labels)


def _named(world: World, name: str) -> Pod | None:
    return next((pod for pod in world.pods if pod.owner.name == name and pod.owner.kind in ("Deployment", "StatefulSet")), None)


def _port(pod: Pod) -> int:
    return next(iter(end_of(pod).ports.values()), 0)


@rule(over=whole)
def cut_off(_: None, world: World) -> Iterator[Fault]:
    """Somebody who cannot reach what it lives by: a default-deny policy without the rule that lets it through."""
    for need in needs(world):
        for direction, who in (("Egress", need.source), ("Ingress", need.target)):
            if not permitted(world, need, direction):
                way = "to" if direction == "Egress" else "from"
                other = need.target if direction == "Egress" else need.source
                wrong = f"needs {need.source.label} to reach {need.target.label} at port {need.port} ({need.why})"
                remedy = f"Add a NetworkPolicy that selects {who.label} and allows {direction.lower()} {way} {other.label}"
                yield need.place.fault(f"{wrong}, and no policy allows it", f"{remedy}, port {need.port}")


def permitted(world: World, need: Need, direction: str) -> bool:
    """Whether the policies let a connection through in one direction, as Kubernetes defines it."""
    me, other = (need.source, need.target) if direction == "Egress" else (need.target, need.source)
    holding = [
        policy
        for policy in world.of("NetworkPolicy", "networking.k8s.io")
        if policy.namespace == me.namespace
        and direction in _types(policy)
        and selects(policy / "spec" / "podSelector", me.labels)
    ]
    rules = [allowed for policy in holding for allowed in (policy / "spec" / direction.lower()).each()]
    peers = "to" if direction == "Egress" else "from"
    return not holding or any(
        _ports_match(allowed / "ports", need) and _peers_match((allowed / peers), other, me.namespace, world)
        for allowed in rules
    )


def _types(policy: Place) -> list[str]:
    stated = (policy / "spec" / "policyTypes").words
    return stated or ["Ingress", *(["Egress"] if (policy / "spec" / "egress").present else [])]


def _ports_match(ports: Place, need: Need) -> bool:
    listed = list(ports.each())
    for port in listed:
        wanted, last = port / "port", (port / "endPort").number
        first = need.target.ports.get(wanted.text) if isinstance(wanted.value, str) else wanted.number
        if ((port / "protocol").text or "TCP") == need.protocol and (
            not wanted.present or (first and first <= need.port <= (last or first))
        ):
            return True
    return not listed


def _peers_match(peers: Place, other: End, own: str, world: World) -> bool:
    listed = list(peers.each())
    return not listed or any(_peer_matches(peer, other, own, world) for peer in listed)


def _peer_matches(peer: Place, other: End, own: str, world: World) -> bool:
    if (peer / "ipBlock").present:
        return (peer / "ipBlock" / "cidr").text in EVERYWHERE
    spaces, pods = peer / "namespaceSelector", peer / "podSelector"
    space = {**other.space, **_labels_of(other.namespace, world.of("Namespace"))}
    in_space = selects(spaces, space) if spaces.present else other.namespace == own
    return in_space and (not pods.present or selects(pods, other.labels))


def _labels_of(namespace: str, objects: Iterable[Place]) -> dict[str, str]:
    """A namespace's labels: its own, and its name, which Kubernetes adds."""
    made = next((item for item in objects if item.name == namespace), None)
    return {**(made.labels if made else {}), NAMESPACE_NAME: namespace}

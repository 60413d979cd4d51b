"""Brokers and what Triggers promise: nothing is inherited everywhere, so everything is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from auricle.contract.event import EXTENSION_NAME
from auricle.deploy.lint.places import Fault, Place, iso_seconds
from auricle.deploy.lint.rules import objects, rule, triggers
from auricle.deploy.lint.world import BROKER_CLASS, EVENTING, RABBITMQ, World
from auricle.deploy.render import DEAD_LETTERS

PARALLELISM = "rabbitmq.eventing.knative.dev/parallelism"
CLASSES = ("RabbitMQBroker", "Kafka", "KafkaNamespaced", "MTChannelBasedBroker")
COMPLETE = {"retry": "5", "backoffPolicy": "exponential", "backoffDelay": "PT2S", "timeout": "PT60S"}
"""What a delivery has to say, with an example."""


def deliverers(world: World) -> Iterable[Place]:
    """Brokers and Triggers: whoever has a `delivery`."""
    return [*world.brokers, *world.triggers]


def sink_of(place: Place) -> Place:
    """Where its dead letters go."""
    return place / "spec" / "delivery" / "deadLetterSink"


@rule(over=objects("Broker", EVENTING))
def broker_class_unsaid(broker: Place, world: World) -> Iterator[Fault]:
    """A Broker without a class is made of memory: its events are lost with its pod, and the class cannot be changed later."""
    place = broker.annotation(BROKER_CLASS)
    if place.text not in CLASSES:
        wrong = (
            f"has the class {place.text}, which nothing runs"
            if place.text
            else "does not say its class, so it keeps events in memory"
        )
        yield place.fault(wrong, f"Set the annotation {BROKER_CLASS}: RabbitMQBroker (or {', '.join(CLASSES[1:])})")


@rule(over=objects("Broker", EVENTING))
def broker_without_dead_letters(broker: Place, world: World) -> Iterator[Fault]:
    """A Broker that throws away what it cannot deliver."""
    if not sink_of(broker).mapping:
        yield sink_of(broker).fault(
            "has no dead letter sink: what cannot be delivered is lost",
            f"Set spec.delivery.deadLetterSink to the Service dead-letter, uri /events/{DEAD_LETTERS}",
        )


@rule(over=triggers)
def trigger_without_dead_letters(trigger: Place, world: World) -> Iterator[Fault]:
    """A Trigger whose delivery has no sink of its own: RabbitMQ does not inherit the Broker's."""
    if not sink_of(trigger).mapping:
        yield sink_of(trigger).fault(
            "has no dead letter sink of its own, and not every broker inherits one",
            f"Set spec.delivery.deadLetterSink to the Service dead-letter, uri /events/{DEAD_LETTERS}",
        )


@rule(over=deliverers)
def incomplete_delivery(place: Place, world: World) -> Iterator[Fault]:
    """A delivery that leaves retries, waits or the time limit to the broker: each kind has other defaults."""
    delivery = place / "spec" / "delivery"
    missing = [name for name in COMPLETE if not (delivery / name).present]
    if missing:
        example = ", ".join(f"{name}: {COMPLETE[name]}" for name in missing)
        yield delivery.fault(f"leaves {', '.join(missing)} of its delivery to the broker", f"Add to spec.delivery {example}")


@rule(over=deliverers)
def delivery_out_of_range(place: Place, world: World) -> Iterator[Fault]:
    """Retries that are no small whole number, or a backoff that Knative does not know."""
    retry, policy = place / "spec" / "delivery" / "retry", place / "spec" / "delivery" / "backoffPolicy"
    if retry.present and (retry.number is None or retry.number != int(retry.number) or not 0 <= retry.number <= 100):
        yield retry.fault(f"tries again {retry.text} times", "Set spec.delivery.retry to a whole number up to 100")
    if policy.present and policy.text not in ("linear", "exponential"):
        yield policy.fault(f"waits {policy.text!r} between tries", "Set spec.delivery.backoffPolicy: exponential")


@rule(over=deliverers)
def duration_not_iso(place: Place, world: World) -> Iterator[Fault]:
    """A duration that is not ISO 8601: the webhook refuses it."""
    for name in ("backoffDelay", "timeout", "retryAfterMax"):
        value = place / "spec" / "delivery" / name
        if value.present and iso_seconds(value.value) is None:
            yield value.fault(
                f"has the {name} {value.text!r}, which is no ISO 8601 duration", "Write it as PT0.5S, PT2M or PT6H"
            )


@rule(over=deliverers)
def missing_dead_letter_sink(place: Place, world: World) -> Iterator[Fault]:
    """Dead letters that go to a Service that does not exist, or that does not keep them."""
    reference, uri = sink_of(place) / "ref", sink_of(place) / "uri"
    if (
        not reference.mapping
        or (reference / "kind").text != "Service"
        or not (reference / "apiVersion").text.startswith("serving.")
    ):
        return
    pod = world.service(reference, place.namespace)
    name = uri.text.rstrip("/").rpartition("/")[2]
    keeper = next(
        (p.owner.name for p in world.services if any(f.name == DEAD_LETTERS for f in world.functions(p))), "dead-letter"
    )
    remedy = f"Send them to the Service {keeper}, uri /events/{DEAD_LETTERS}"
    if pod is None:
        yield reference.fault(f"sends dead letters to the Service {(reference / 'name').text}, which nothing makes", remedy)
    elif name != DEAD_LETTERS or not any(f.name == name for f in world.functions(pod)):
        yield uri.fault(f"sends dead letters to {pod.owner.label}{uri.text}, which does not keep them", remedy)


@rule(over=triggers)
def dead_letters_of_dead_letters(trigger: Place, world: World) -> Iterator[Fault]:
    """A Trigger for the dead letter function, or one whose sink is its own subscriber: failures go round for ever."""
    subscriber, sink = trigger / "spec" / "subscriber", sink_of(trigger)
    entry = world.heard_by(trigger)
    if entry and entry.name == DEAD_LETTERS:
        yield subscriber.fault(f"delivers events to {DEAD_LETTERS}, which only keeps what failed", "Remove the Trigger")
    elif (
        sink.mapping
        and (subscriber / "ref").mapping == (sink / "ref").mapping
        and (subscriber / "uri").text == (sink / "uri").text
    ):
        yield sink.fault("sends its dead letters to the subscriber that failed", "Send them to dead-letter")


@rule(over=triggers)
def ignored_filters(trigger: Place, world: World) -> Iterator[Fault]:
    """`spec.filters` on a broker that ignores it: the function hears every event."""
    place = trigger / "spec" / "filters"
    if place.value and world.broker_class(trigger) == RABBITMQ:
        yield place.fault("filters by spec.filters, which RabbitMQ ignores", "Use spec.filter.attributes with exact values")


@rule(over=triggers)
def hears_everything(trigger: Place, world: World) -> Iterator[Fault]:
    """A Trigger without a filter hears every event, its own function's replies too."""
    if not world.filter_of(trigger) and not (trigger / "spec" / "filters").value:
        yield (trigger / "spec" / "filter").fault("has no filter, so it hears every event", "Set spec.filter.attributes.type")


@rule(over=triggers)
def filter_attribute_name(trigger: Place, world: World) -> Iterator[Fault]:
    """An attribute name that CloudEvents does not allow: nothing ever matches, or the webhook refuses it."""
    for name, value in world.filter_of(trigger).items():
        place = trigger / "spec" / "filter" / "attributes" / name
        if not EXTENSION_NAME.match(name):
            yield place.fault(
                f"filters by {name!r}, which no event can carry", f"Use lower-case letters and digits: {name.lower()!r}"
            )
        elif not isinstance(value, str) or not value:
            yield place.fault(f"compares {name} with {value!r}, and attributes are text", "Put the exact text in quotes")


@rule(over=triggers)
def parallelism(trigger: Place, world: World) -> Iterator[Fault]:
    """On RabbitMQ, without parallelism, one event at a time: one failing event holds up the queue for its whole backoff."""
    place = trigger.annotation(PARALLELISM)
    if world.broker_class(trigger) == RABBITMQ and not place.present:
        yield place.fault("does not state its parallelism, so RabbitMQ delivers one event at a time", f'Set {PARALLELISM}: "8"')
    elif place.present and not (place.number and place.number == int(place.number) and 1 <= place.number <= 1000):
        yield place.fault(f"states the parallelism {place.text!r}", "Set a whole number from 1 to 1000")


@rule(over=triggers)
def unknown_broker(trigger: Place, world: World) -> Iterator[Fault]:
    """A Trigger of a Broker that nothing makes."""
    place = trigger / "spec" / "broker"
    if not world.broker_of(trigger) and f"Broker/{place.text}" not in world.facts.external:
        names = ", ".join(b.name for b in world.brokers) or "none"
        yield place.fault(
            f"listens to the Broker {place.text!r}, which nothing makes",
            f"Name one of those there are ({names}), or add a broker component",
        )

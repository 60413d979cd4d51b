"""Event types and functions as one graph: what is heard is produced, what is answered is heard, nothing goes round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from auricle.deploy.catalogue import PING, FunctionEntry
from auricle.deploy.lint.facts import EventKind
from auricle.deploy.lint.places import Fault, Place
from auricle.deploy.lint.rules import hosts, objects, rule, triggers, whole
from auricle.deploy.lint.world import EVENTING, Container, World

MODEL = "PINNED_MODEL"


def _subscriber(trigger: Place) -> Place:
    return trigger / "spec" / "subscriber"


def _replies(entry: FunctionEntry, world: World) -> list[EventKind]:
    return [kind for kind in world.facts.kinds if kind.type in entry.replies]


@rule(over=triggers)
def missing_subscriber(trigger: Place, world: World) -> Iterator[Fault]:
    """A Trigger whose Service does not exist."""
    reference = _subscriber(trigger) / "ref"
    if not reference.mapping:
        yield _subscriber(trigger).fault("names no Service as its subscriber", "Set spec.subscriber.ref to a Knative Service")
    elif (reference / "kind").text == "Service" and not world.service(reference, trigger.namespace):
        yield reference.fault(
            f"delivers to the Service {(reference / 'name').text}, which nothing makes",
            "Name an existing Service, or remove the Trigger",
        )


@rule(over=triggers)
def subscriber_without_function(trigger: Place, world: World) -> Iterator[Fault]:
    """A Trigger whose Service does not run the function that its path names."""
    pod = world.service(_subscriber(trigger) / "ref", trigger.namespace)
    uri = _subscriber(trigger) / "uri"
    if pod and not world.heard_by(trigger):
        runs = ", ".join(f.name for f in world.functions(pod)) or "no function"
        yield uri.fault(
            f"delivers to {pod.owner.label}{uri.text}, and that Service runs {runs}",
            "Set spec.subscriber.uri: /events/<function>",
        )


@rule(over=triggers)
def no_handler_for_filter(trigger: Place, world: World) -> Iterator[Fault]:
    """A filter that is not the function's: it would be sent what it has no handler for, or miss what it has."""
    entry, given = world.heard_by(trigger), dict(world.filter_of(trigger))
    if not entry or not given:
        return
    pod = world.service(_subscriber(trigger) / "ref", trigger.namespace)
    pinned = [world.environment(c).get(MODEL) for c in pod.containers()] if pod else []
    if "model" in given and given["model"] in pinned:
        del given["model"]
    if entry.filter is None:
        yield _subscriber(trigger).fault(f"delivers events to {entry.name}, which handles none", "Remove the Trigger")
    elif entry.filter and given != entry.filter:
        wanted = ", ".join(f"{k}: {v}" for k, v in entry.filter.items())
        yield (trigger / "spec" / "filter").fault(
            f"sends {entry.name} what it has no handler for",
            f"Set spec.filter.attributes to {{{wanted}}} (auricle manifests render)",
        )


@rule(over=whole)
def triggered_twice(_: None, world: World) -> Iterator[Fault]:
    """Two Triggers that hand one function the same events: everything is done twice."""
    seen: dict[tuple[str, str, str], Place] = {}
    for trigger in world.triggers:
        entry = world.heard_by(trigger)
        model = str(world.filter_of(trigger).get("model", ""))
        if entry:
            first = seen.setdefault((entry.name, model, trigger.namespace), trigger)
            if first is not trigger:
                yield _subscriber(trigger).fault(
                    f"delivers to {entry.name}, and so does {first.label}",
                    "Remove one: a function hears several types through one shared attribute",
                )


@rule(over=hosts)
def function_without_trigger(host: tuple[Container, list[FunctionEntry]], world: World) -> Iterator[Fault]:
    """An event function that no Trigger and no schedule reaches: it never works."""
    container, entries = host
    heard = {f.name for t in world.triggers if (f := world.heard_by(t))}
    for entry in entries:
        if entry.kind == "stage" and entry.filter and entry.name not in heard:
            wanted = ", ".join(f"{k}: {v}" for k, v in entry.filter.items())
            yield (container.place / "env").fault(
                f"runs {entry.name}, which no Trigger delivers to",
                f"Add a Trigger with filter {{{wanted}}} and uri /events/{entry.name} (auricle manifests render)",
            )


@rule(over=triggers)
def never_produced(trigger: Place, world: World) -> Iterator[Fault]:
    """A filter that no event of ours can pass: a type that nobody produces, or an attribute it does not carry."""
    given = world.filter_of(trigger)
    if not given or any(kind.may_match(given) for kind in world.facts.kinds) or (given.get("type") == PING and world.pings):
        return
    same = next((kind for kind in world.facts.kinds if kind.type == given.get("type")), None)
    if same:
        carried = ", ".join((*same.attributes, *(["concerns"] if same.concerns else []))) or "none"
        wrong, remedy = f"waits for attributes that {same.type} does not carry", f"Filter by those it carries ({carried})"
    else:
        shown = ", ".join(f"{k}={v}" for k, v in given.items())
        wrong, remedy = (
            f"waits for {shown}, which nobody produces",
            "Correct the type, or declare the fact in its room's events.py",
        )
    yield (trigger / "spec" / "filter").fault(wrong, remedy)


@rule(over=hosts)
def never_heard(host: tuple[Container, list[FunctionEntry]], world: World) -> Iterator[Fault]:
    """A reply that no Trigger passes on: the work is done, and nobody is told."""
    container, entries = host
    filters = [world.filter_of(trigger) for trigger in world.triggers]
    for entry in entries:
        for kind in _replies(entry, world):
            if not any(given and kind.may_match(given) for given in filters):
                yield (container.place / "env").fault(
                    f"answers {kind.type} from {entry.name}, which no Trigger passes on",
                    f"Add a Trigger whose filter it passes (type: {kind.type})",
                )


@rule(over=triggers)
def answers_itself(trigger: Place, world: World) -> Iterator[Fault]:
    """A function whose reply passes its own filter: one event becomes an endless stream."""
    entry, given = world.heard_by(trigger), world.filter_of(trigger)
    for kind in _replies(entry, world) if entry and given else ():
        if kind.may_match(given):
            yield (trigger / "spec" / "filter").fault(
                f"sends {kind.type} to {entry.name if entry else ''}, which answers with that very type",
                "Filter by a type that it does not answer with",
            )


@rule(over=whole)
def reply_cycle(_: None, world: World) -> Iterator[Fault]:
    """Functions that answer each other round and round, with nobody in between who counts."""
    heard = [(t, entry) for t in world.triggers if (entry := world.heard_by(t)) and world.filter_of(t)]
    after: dict[str, set[str]] = {}
    for _trigger, entry in heard:
        kinds = _replies(entry, world)
        after[entry.name] = {
            e.name for t, e in heard if e.name != entry.name and any(k.may_match(world.filter_of(t)) for k in kinds)
        }
    told: set[frozenset[str]] = set()
    for trigger, entry in heard:
        path = _way_back(entry.name, after)
        if path and frozenset(path) not in told:
            told.add(frozenset(path))
            yield (trigger / "spec" / "filter").fault(
                f"closes the circle {' → '.join((*path, path[0]))}: each answers what the next one hears",
                "Let one of them hear another type",
            )


def _way_back(start: str, after: dict[str, set[str]]) -> list[str]:
    """The shortest way from a function over its answers back to itself."""
    ways = [[start]]
    seen = {start}
    while ways:
        way = ways.pop(0)
        for following in sorted(after.get(way[-1], ())):
            if following == start:
                return way
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []


def _documented(world: World) -> Counter[str]:
    found: Counter[str] = Counter()
    for document in world.of("EventType", EVENTING):
        found[type_of(document)] += 1
    return found


def type_of(document: Place) -> str:
    """The type that an EventType object documents (v1beta3 attributes, or the older field)."""
    for attribute in (document / "spec" / "attributes").each():
        if (attribute / "name").text == "type":
            return (attribute / "value").text
    return (document / "spec" / "type").text


@rule(over=hosts)
def undocumented_type(host: tuple[Container, list[FunctionEntry]], world: World) -> Iterator[Fault]:
    """A type that functions hear or answer, and no EventType says so to people who look."""
    container, entries = host
    documented = _documented(world)
    for entry in entries:
        for name in (*entry.hears, *entry.replies):
            if name != PING and name not in documented:
                yield (container.place / "env").fault(
                    f"handles {name} in {entry.name}, and no EventType documents it",
                    "Add an EventType (auricle manifests render)",
                )


@rule(over=objects("EventType", EVENTING))
def unknown_type(document: Place, world: World) -> Iterator[Fault]:
    """An EventType for a type that the code does not publish."""
    name = type_of(document)
    if name not in {kind.type for kind in world.facts.kinds}:
        yield (document / "spec").fault(
            f"documents {name or 'no type'}, which the code does not publish", "Remove it (auricle manifests render)"
        )

"""How events travel: Broker, Triggers, schedules. What their YAML must say is lint's knowledge; how they are is seen here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from auricle.cli.clusterdoctor.seen import Seen, Sight, condition, holds, names, reason
from auricle.cli.clusterdoctor.table import Said, check, note, ok, problem
from auricle.deploy.lint.delivery import CLASSES
from auricle.deploy.lint.places import Place
from auricle.deploy.lint.rules import RULES
from auricle.deploy.lint.world import BROKER_CLASS
from auricle.deploy.render import BROKER

IN_MEMORY = "MTChannelBasedBroker"
OF_BROKERS = ("broker-without-dead-letters", "missing-dead-letter-sink", "incomplete-delivery", "duration-not-iso")
OF_TRIGGERS = (
    "trigger-without-dead-letters",
    "missing-dead-letter-sink",
    "incomplete-delivery",
    "duration-not-iso",
    "dead-letters-of-dead-letters",
    "ignored-filters",
    "hears-everything",
    "parallelism",
    "unknown-broker",
)
OF_SCHEDULES = ("missing-ping-sink", "unknown-timer", "another-pace", "timer-never-fired", "tick-without-ticket")
APPLY = "Apply the overlay again: kubectl apply --server-side -k manifests/overlays/…"


def linted(seen: Seen, rules: Sequence[str], kind: str = "") -> list[str]:
    """What lint's rules say of the deployed objects of a kind."""
    found = [finding for name in rules for finding in RULES[name].findings(seen.world)]
    return [finding.sentence for finding in found if not kind or finding.object.startswith(f"{kind}/")]


def _unready(seen: Seen, item: Place) -> Said:
    """An event object that is not Ready: what it waits for is often another thing that is told elsewhere."""
    text = reason(item)
    failed = [
        (c / "message").text.rstrip(". ")
        for c in (item / "status" / "conditions").each()
        if (c / "status").text == "False" and (c / "type").text != "Ready" and (c / "message").text
    ]
    if failed and failed[0] not in text:
        text = f"{text} ({failed[0]})"
    return problem(f"{item.label} is not Ready: {text}.", seen.kubectl(f"describe {item.kind.lower()} {item.name}"))


def _unready_ones(seen: Seen, items: Sequence[Place], *targets: tuple[str, ...]) -> Iterator[Said]:
    """Those that wait for the same Service are one finding: mending that mends them all."""
    waiting: dict[str, list[str]] = {}
    for item in items:
        wanted = [_beneath(item / "spec", target) for target in targets]
        named = [(ref / "name").text for ref in wanted if (ref / "kind").text == "Service"]
        absent = [name for name in named if seen.named(Sight.SERVICES, name) is None]
        asleep = [s.name for s in seen.of(Sight.SERVICES) if s.name in named and not holds(s)]
        if absent:
            yield problem(f"{item.label} delivers to Service {absent[0]}, which is not there.", APPLY)
        elif asleep:
            waiting.setdefault(asleep[0], []).append(item.name)
        else:
            yield _unready(seen, item)
    for name, who in waiting.items():
        yield problem(
            f"Until Service {name} is Ready, no {items[0].kind} delivers of: {names(who, 12)}.",
            f"Mend Service {name} first: see `services` above.",
        )


def _beneath(place: Place, steps: tuple[str, ...]) -> Place:
    for step in steps:
        place = place / step
    return place


@check(Sight.BROKERS, Sight.SERVICES)
def broker(seen: Seen) -> Iterator[Said]:
    """The Broker: there, durable, Ready, and with somewhere for dead letters."""
    found = seen.named(Sight.BROKERS, BROKER)
    if found is None:
        yield problem(
            f"There is no Broker {BROKER}, so no event is delivered.", f"Add components/rabbitmq to the overlay. {APPLY}"
        )
        return
    kind = found.annotation(BROKER_CLASS).text
    fine = True
    if kind not in CLASSES:
        fine = False
        yield problem(
            f"The Broker's class is {kind or 'not said'}, which nothing here runs.",
            f"It cannot be changed: {seen.kubectl(f'delete broker {BROKER}')}, then apply the overlay with a broker component.",
        )
    elif kind == IN_MEMORY:
        fine = False
        yield note(
            "The Broker keeps events in memory: they are lost with its pods, and runs wait for the hourly sweep.",
            f"For people's recordings: {seen.kubectl(f'delete broker {BROKER}')}, then apply components/rabbitmq.",
        )
    if not holds(found):
        fine = False
        yield _unready(seen, found)
    for sentence in linted(seen, OF_BROKERS, "Broker"):
        fine = False
        yield problem(sentence, APPLY)
    if fine:
        yield ok(f"{kind}, Ready")


@check(Sight.TRIGGERS, Sight.SERVICES, Sight.BROKERS)
def triggers(seen: Seen) -> Iterator[Said]:
    """Every function that hears events has its Trigger, Ready, with a delivery that is complete."""
    found = seen.of(Sight.TRIGGERS)
    heard = {(t / "spec" / "subscriber" / "uri").text.rstrip("/").rpartition("/")[2] for t in found}
    stages = [entry.name for entry in seen.facts.catalogue if entry.kind == "stage" and entry.filter]
    deaf = [name for name in stages if name not in heard]
    bad = [trigger for trigger in found if not holds(trigger)]
    wrong = linted(seen, OF_TRIGGERS, "Trigger")
    if deaf:
        yield problem(f"No Trigger for {names(deaf)}: runs stop there, for lack of events.", APPLY)
    yield from _unready_ones(seen, bad, ("subscriber", "ref"), ("delivery", "deadLetterSink", "ref"))
    for sentence in dict.fromkeys(wrong):
        yield problem(sentence, APPLY)
    for trigger in found:
        if holds(trigger) and not (trigger / "status" / "subscriberUri").text:
            yield note(f"{trigger.label} does not say whom it delivers to.", seen.kubectl(f"describe trigger {trigger.name}"))
    if not deaf and not bad and not wrong:
        yield ok(f"{len(found)} Ready, each with retries and a dead letter sink")


@check(Sight.PINGS, Sight.SERVICES)
def schedules(seen: Seen) -> Iterator[Said]:
    """Every timer is fired, at its pace, with the ticket, by a PingSource that is Ready."""
    found = seen.of(Sight.PINGS)
    bad = [ping for ping in found if not holds(ping)]
    wrong = linted(seen, OF_SCHEDULES)
    yield from _unready_ones(seen, bad, ("sink", "ref"))
    for sentence in dict.fromkeys(wrong):
        yield problem(sentence, APPLY)
    if not bad and not wrong:
        yield ok(f"{len(found)} Ready")


@check(Sight.SERVICES)
def dead_letter_keeper(seen: Seen) -> Iterator[Said]:
    """Whoever keeps what could not be delivered answers."""
    keepers = [p.owner for p in seen.world.services if any(f.name == "dead_letter" for f in seen.world.functions(p))]
    if not keepers:
        yield problem("Nobody keeps dead letters: the function dead_letter is not deployed.", APPLY)
    for keeper in keepers:
        if not holds(keeper):
            text = reason(keeper)
            yield problem(
                f"Dead letters are lost while Service {keeper.name} is not Ready ({text}).",
                seen.kubectl(f"describe ksvc {keeper.name}"),
            )
        elif condition(keeper) is not None:
            yield ok(f"Service {keeper.name} is Ready")

"""Schedules: what fires, how often, and whether anybody listens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from auricle.contract.function import MIN_TIMER_MINUTES
from auricle.deploy.catalogue import FunctionEntry
from auricle.deploy.lint import cron
from auricle.deploy.lint.places import Fault, Place
from auricle.deploy.lint.rules import hosts, objects, rule
from auricle.deploy.lint.world import SOURCES, Container, World

PINGS = objects("PingSource", SOURCES)
UNSET = "unset"
"""What the renderer writes where an overlay has to put its ticket."""


class _Tick(msgspec.Struct):
    """The data of a schedule's event."""

    timer: str = ""
    timers: tuple[str, ...] = ()


def timers_of(ping: Place) -> tuple[str, ...]:
    """The timers that a PingSource fires; none when its data says none."""
    try:
        tick = msgspec.json.decode((ping / "spec" / "data").text.encode() or b"{}", type=_Tick)
    except msgspec.DecodeError:
        return ()
    return (*((tick.timer,) if tick.timer else ()), *tick.timers)


def _clocks(world: World) -> Iterable[Place]:
    return [*world.pings, *world.of("CronJob", "batch")]


def _schedule(clock: Place) -> Place:
    return clock / "spec" / "schedule"


@rule(over=_clocks)
def bad_schedule(clock: Place, world: World) -> Iterator[Fault]:
    """A schedule that is no cron expression."""
    wrong = cron.problem(_schedule(clock).text)
    if wrong:
        yield _schedule(clock).fault(
            f"is scheduled for {_schedule(clock).text!r}, which {wrong}",
            "Write minute hour day month weekday, such as 7 * * * *",
        )


@rule(over=PINGS)
def fires_too_often(ping: Place, world: World) -> Iterator[Fault]:
    """A schedule that keeps its pod awake for ever."""
    schedule = _schedule(ping)
    if not cron.problem(schedule.text) and cron.closest(schedule.text) < MIN_TIMER_MINUTES:
        yield schedule.fault(
            f"fires every {cron.closest(schedule.text)} minutes, so its pod never sleeps",
            f"Fire every {MIN_TIMER_MINUTES} minutes at most",
        )


@rule(over=PINGS)
def missing_ping_sink(ping: Place, world: World) -> Iterator[Fault]:
    """A schedule that speaks to nobody."""
    sink = ping / "spec" / "sink"
    reference, name = sink / "ref", (sink / "ref" / "name").text
    if (reference / "kind").text == "Broker":
        there = any((b.name, b.namespace) == (name, ping.namespace) for b in world.brokers)
    else:
        there = bool((sink / "uri").text and not reference.mapping) or world.service(reference, ping.namespace) is not None
    if not there:
        yield sink.fault(
            f"fires at {name or 'nothing'}, which nothing makes", "Set spec.sink.ref to the Service timers, uri /events/timers"
        )


@rule(over=PINGS)
def unknown_timer(ping: Place, world: World) -> Iterator[Fault]:
    """A schedule whose data names no timer of ours: the function refuses it."""
    known = {timer.name for entry in world.facts.catalogue for timer in entry.timers}
    data = ping / "spec" / "data"
    names = timers_of(ping)
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        yield data.fault(
            f"fires {', '.join(wrong) or 'no timer'}, which nobody declares",
            f"Name timers that there are: {', '.join(sorted(known))}",
        )


@rule(over=PINGS)
def another_pace(ping: Place, world: World) -> Iterator[Fault]:
    """A timer fired more or less often than it is declared."""
    schedule = _schedule(ping)
    declared = {timer.name: timer.minutes for entry in world.facts.catalogue for timer in entry.timers}
    if cron.problem(schedule.text):
        return
    every = cron.closest(schedule.text)
    for name in timers_of(ping):
        if name in declared and declared[name] != every:
            yield schedule.fault(
                f"fires {name} every {every} minutes, and it is declared for every {declared[name]}",
                "Change the declaration and render (auricle manifests render)",
            )


@rule(over=hosts)
def timer_never_fired(host: tuple[Container, list[FunctionEntry]], world: World) -> Iterator[Fault]:
    """A timer that no schedule fires: what it sweeps is never swept."""
    container, entries = host
    fired = {name for ping in world.pings for name in timers_of(ping)}
    for timer in (timer for entry in entries for timer in entry.timers):
        if timer.name not in fired:
            yield (container.place / "env").fault(
                f"has the timer {timer.name}, which no PingSource fires",
                f'Add it to the data of one that fires every {timer.minutes} minutes: {{"timers": [...]}}',
            )


@rule(over=PINGS)
def tick_without_ticket(ping: Place, world: World) -> Iterator[Fault]:
    """A schedule whose events anybody could send: the timer function refuses ticks without the overlay's ticket."""
    sink = world.service(ping / "spec" / "sink" / "ref", ping.namespace)
    place = ping / "spec" / "ceOverrides" / "extensions" / "ticket"
    asks = sink is not None and any("timer_token" in entry.secrets for entry in world.functions(sink))
    if asks and place.text in ("", UNSET):
        yield place.fault(
            "carries no ticket, so its ticks are refused",
            "Let the overlay put TIMER_TOKEN into spec.ceOverrides.extensions.ticket",
        )

"""The broker itself: who gets an event, and what happens when the database goes and comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from auricle.runtime.local.broker import wire
from auricle.runtime.local.broker.changes import Change, NewDelivery, NewEvent
from auricle.runtime.local.broker.chaos import Chaos
from auricle.runtime.local.broker.client import HttpClient
from auricle.runtime.local.broker.lane import Lane
from auricle.runtime.local.broker.ledger import Ledger
from auricle.runtime.local.broker.lines import Away
from auricle.runtime.local.broker.store import Superseded
from auricle.runtime.local.errors import CannotStart
from auricle.runtime.local.plan import Plan, Subscription
from auricle.runtime.local.workers import Workers

log = logging.getLogger(__name__)

MEND_EVERY = 0.1
"""Seconds between two attempts to reach a database that went away."""
LOOK_EVERY = 30.0
"""Seconds between two looks into the tables for what no lane knows of: there should be nothing; belt and braces."""
KEEP = 60.0
"""Seconds that finished events stay, for whoever looks into the tables."""


class Hub:
    """Accepts events and owns the lanes."""

    def __init__(self, plan: Plan, ledger: Ledger, workers: Workers, client: HttpClient, chaos: Chaos | None = None) -> None:
        """`chaos` spreads deliveries for tests."""
        self.accepted = 0
        # Ends the process: with a result when it is told to stop, with an exception when it cannot go on.
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ledger = ledger
        self._chaos = chaos
        self._owner = False
        self._stopping = False
        self._online = asyncio.Event()
        self._mending: asyncio.Task[None] | None = None
        namespace = plan.broker_path.split("/")[1]
        self.lanes: Mapping[str, Lane] = {s.name: Lane(s, namespace, self, ledger, workers, client) for s in plan.subscriptions}
        sinks = {s.delivery.dead_letter for s in plan.subscriptions}
        # Without a filter a subscription hears everything, unless it is where dead letters go: then it hears those alone.
        self._hearing = tuple(s for s in plan.subscriptions if s.filter or s.name not in sinks)

    @property
    def running(self) -> bool:
        """Whether deliveries may start."""
        return self._online.is_set() and not self._stopping

    @property
    def online(self) -> bool:
        """Whether there is a database."""
        return self._online.is_set()

    async def accept(self, event: wire.Event) -> None:
        """Keep what was published; raises `Away` when that is not possible, or not certain."""
        if not self._online.is_set():
            raise Away("The broker's database is away.")
        change = self._change(event, cause=None)
        if change.deliveries:
            await self._kept(change, again=False)
        self.accepted += 1

    async def fire(self, name: str, minutes: int, event: wire.Event) -> None:
        """Keep a timer's event, if the timer is due."""
        change = self._change(event, cause=None)
        self._expect(change)
        try:
            fired = await self._ledger.fire(name, minutes, change)
        except BaseException:
            self._unexpect(change)
            raise
        if fired:
            self._offer(change)
        else:
            self._unexpect(change)

    def publication(self, event: wire.Event, cause: int) -> Change:
        """What publishing `event` as the outcome of the delivery `cause` means."""
        change = self._change(event, cause)
        return Change(events=change.events, deliveries=change.deliveries, done=(cause,))

    def burial(self, event: wire.Event, subscription: str, cause: int) -> Change:
        """What dead-lettering `event` as the outcome of the delivery `cause` means."""
        kept = self._event(event, cause)
        delivery = NewDelivery(id=self._ledger.next_id(), event=kept.id, cause=cause, subscription=subscription, dead=True)
        return Change(events=(kept,), deliveries=(delivery,), done=(cause,))

    async def settle(self, change: Change) -> None:
        """Keep what came of a delivery, however long the database is away."""
        await self._kept(change, again=True)

    def lost_database(self) -> None:
        """Stop delivering until it is back: outcomes could not be kept."""
        if self._online.is_set():
            log.error("the database is away: nothing is accepted and nothing delivered until it is back")
            self._online.clear()
        self.start()

    def start(self) -> None:
        """Reach the database, and become its broker the first time."""
        if self._mending is None and not self._stopping:
            self._mending = asyncio.get_running_loop().create_task(self._mend())

    async def keep_house(self) -> None:
        """For ever: forget what is finished, look for what was overlooked."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if not self._online.is_set():
                continue
            try:
                await self._ledger.trim(KEEP)
                for depth in await self._ledger.depths():
                    if depth.waiting and depth.subscription in self.lanes:
                        self.lanes[depth.subscription].reload()
            except Away:
                self.lost_database()
            except Exception:
                log.exception("the broker's house is not kept")

    async def stop(self, patience: float) -> None:
        """Start nothing new; give what is under way `patience` seconds."""
        self._stopping = True
        if self._mending is not None:
            self._mending.cancel()
        await asyncio.gather(*(lane.stop(patience) for lane in self.lanes.values()))

    async def _kept(self, change: Change, *, again: bool) -> None:
        self._expect(change)
        while True:
            try:
                await (self._ledger.settle(change) if again else self._ledger.arrive(change))
                break
            except Away:
                self.lost_database()
                if not again:
                    self._unexpect(change)
                    raise
                await self._online.wait()
            except BaseException as error:
                self._unexpect(change)
                if isinstance(error, Superseded) and not self.end.done():
                    self.end.set_exception(error)
                raise
        self._offer(change)

    async def _mend(self) -> None:
        told = False
        while True:
            try:
                if self._owner:
                    await self._ledger.depths()
                else:
                    await self._ledger.take_over()
                    self._owner = True
                break
            except Away as error:
                if not told:
                    log.warning("waiting for the database: %s", error)
                    told = True
            except Exception as error:
                if not self.end.done():
                    self.end.set_exception(_unusable(error))
                return
            await asyncio.sleep(MEND_EVERY)
        self._mending = None
        log.info("the database is there")
        self._online.set()
        for lane in self.lanes.values():
            lane.reload()

    def _change(self, event: wire.Event, cause: int | None) -> Change:
        kept = self._event(event, cause)
        deliveries = [
            NewDelivery(id=self._ledger.next_id(), event=kept.id, cause=cause, subscription=s.name, wait=wait)
            for s in self._hearing
            if matches(s, event)
            for wait in (self._chaos.waits() if self._chaos else (0.0,))
        ]
        return Change(events=(kept,) if deliveries else (), deliveries=tuple(deliveries))

    def _event(self, event: wire.Event, cause: int | None) -> NewEvent:
        return NewEvent(id=self._ledger.next_id(), cause=cause, attributes=event.attributes, trace=event.trace, data=event.data)

    def _expect(self, change: Change) -> None:
        for delivery in change.deliveries:
            self.lanes[delivery.subscription].expect(delivery)

    def _unexpect(self, change: Change) -> None:
        for delivery in change.deliveries:
            self.lanes[delivery.subscription].unexpect(delivery)

    def _offer(self, change: Change) -> None:
        for kept in change.events:  # one, or none
            event = wire.Event(attributes=kept.attributes, data=kept.data, trace=kept.trace)
            for delivery in change.deliveries:
                self.lanes[delivery.subscription].offer(delivery, event)


def _unusable(error: Exception) -> CannotStart:
    if isinstance(error, CannotStart):
        return error
    sentence = CannotStart(f"The broker cannot use its database: {error}. Is database_url in the plan right?")
    sentence.__cause__ = error
    return sentence


def matches(subscription: Subscription, event: wire.Event) -> bool:
    """Whether all attributes of the filter are exactly so in `event`."""
    return all(event.value(name) == value for name, value in subscription.filter.items())

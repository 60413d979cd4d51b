"""One subscription's way from the tables to its subscriber. Lanes know nothing of each other: none waits for another."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from auricle.runtime.local.broker import verdict, wire
from auricle.runtime.local.broker.changes import Change, NewDelivery, Postponed
from auricle.runtime.local.broker.client import ConnectionLost, HttpClient
from auricle.runtime.local.broker.ledger import WINDOW_BYTES, WINDOW_ROWS, Ledger
from auricle.runtime.local.broker.lines import Away
from auricle.runtime.local.broker.verdict import Failure
from auricle.runtime.local.plan import Subscription
from auricle.runtime.local.workers import NoWorker, WorkerDied, Workers

log = logging.getLogger(__name__)

UNSETTLED = 512
"""Outcomes that may wait for the database before a lane starts nothing new."""
HICCUP = 5.0
"""Seconds until a lane looks again after an error that nobody foresaw."""


@dataclass(slots=True)
class Parcel:
    """One delivery under way."""

    id: int
    event: wire.Event
    attempt: int = 0
    losses: int = 0
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker died under the delivery."""

    detail: bytes


@dataclass(slots=True)
class Counts:
    """Since the start of the process."""

    delivered: int = 0
    failed: int = 0
    dead_lettered: int = 0


class Hub(Protocol):
    """What a lane needs from the broker."""

    @property
    def running(self) -> bool:
        """Whether deliveries may start: there is a database, and the broker is not stopping."""

    def publication(self, event: wire.Event, cause: int) -> Change:
        """What publishing `event` means; kept only if the delivery `cause` is finished with it."""

    def burial(self, event: wire.Event, subscription: str, cause: int) -> Change:
        """What dead-lettering `event` to `subscription` means."""

    async def settle(self, change: Change) -> None:
        """Keep `change`, however long that takes."""

    def lost_database(self) -> None:
        """Say that the database is away."""


class Lane:
    """Delivers what is due for one subscription, `parallelism` at once."""

    def __init__(
        self, subscription: Subscription, namespace: str, hub: Hub, ledger: Ledger, workers: Workers, client: HttpClient
    ) -> None:
        """Begins with what the tables hold as soon as it is pumped."""
        self.subscription = subscription
        self.counts = Counts()
        self.busy = 0
        self._namespace = namespace
        self._hub = hub
        self._ledger = ledger
        self._workers = workers
        self._client = client
        self._arriving: set[int] = set()
        self._ready: deque[Parcel] = deque()
        self._ready_bytes = 0
        self._flying: dict[int, asyncio.Task[None]] = {}
        self._settled_meanwhile: set[int] = set()
        self._behind = True  # the tables may hold what is due and not known here
        self._refill: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None

    def expect(self, delivery: NewDelivery) -> None:
        """Say that `delivery` is being written, so that reading the tables does not find it a second time."""
        self._arriving.add(delivery.id)

    def offer(self, delivery: NewDelivery, event: wire.Event) -> None:
        """`delivery` is kept now: get on with it."""
        self._arriving.discard(delivery.id)
        if delivery.wait > 0:
            self._wake_in(delivery.wait)
        elif self._behind or len(self._ready) >= WINDOW_ROWS or self._ready_bytes >= WINDOW_BYTES:
            self._behind = True  # it stays in the tables until its turn
        else:
            self._line_up(Parcel(delivery.id, event, dead=delivery.dead))
        self.pump()

    def unexpect(self, delivery: NewDelivery) -> None:
        """Whether `delivery` was written is not known: the tables will say."""
        self._arriving.discard(delivery.id)
        self._behind = True

    def reload(self) -> None:
        """Look into the tables again."""
        self._behind = True
        self.pump()

    def pump(self) -> None:
        """Start whatever may start."""
        while self._hub.running and self._ready and self._has_room():
            parcel = self._ready.popleft()
            self._ready_bytes -= len(parcel.event.data)
            self.busy += 1
            self._flying[parcel.id] = asyncio.get_running_loop().create_task(self._carry(parcel))
        if self._hub.running and self._behind and self._refill is None and len(self._ready) < self.subscription.parallelism:
            self._refill = asyncio.get_running_loop().create_task(self._fetch())

    async def stop(self, patience: float) -> None:
        """Give what is under way `patience` seconds, then leave it to the next start."""
        if self._alarm is not None:
            self._alarm.cancel()
        flying = [*self._flying.values(), *([self._refill] if self._refill else [])]
        if flying:
            await asyncio.wait(flying, timeout=patience)
        for task in flying:
            task.cancel()

    def _has_room(self) -> bool:
        return self.busy < self.subscription.parallelism and len(self._flying) < self.subscription.parallelism + UNSETTLED

    async def _fetch(self) -> None:
        """Read a window of what is due."""
        self._settled_meanwhile.clear()
        self._behind = False  # what comes from now on is offered
        try:
            load = await self._ledger.due(self.subscription.name, self._known())
        except Away:
            self._hub.lost_database()
            return
        except Exception:
            log.exception("the deliveries of %s cannot be read", self.subscription.name)
            self._wake_in(HICCUP)
            return
        finally:
            self._refill = None
        passed = self._settled_meanwhile.union(self._known())
        for due in load.due:
            if due.id not in passed:
                event = wire.Event(attributes=due.attributes, trace=due.trace, data=due.data)
                self._line_up(Parcel(due.id, event, due.attempt, due.losses, due.dead))
        self._behind = self._behind or load.more
        if load.next_in is not None:
            self._wake_in(load.next_in)
        self.pump()

    def _line_up(self, parcel: Parcel) -> None:
        self._ready.append(parcel)
        self._ready_bytes += len(parcel.event.data)

    def _known(self) -> list[int]:
        return [*self._arriving, *(parcel.id for parcel in self._ready), *self._flying]

    def _wake_in(self, seconds: float) -> None:
        """Look into the tables then, or earlier."""
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.0, seconds)
        if self._alarm is not None:
            if self._alarm.when() <= when:
                return
            self._alarm.cancel()
        self._alarm = loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.reload()

    async def _carry(self, parcel: Parcel) -> None:
        """One delivery, from the first byte sent to its outcome kept."""
        try:
            try:
                change = await self._delivered(parcel)
            finally:
                self.busy -= 1
                self.pump()
            await self._hub.settle(change)
            for postponed in change.postponed:
                self._wake_in(postponed.wait)
        except Exception:
            log.exception("an outcome of %s cannot be kept", self.subscription.name)
            self._wake_in(HICCUP)
        finally:
            self._flying.pop(parcel.id, None)
            self._settled_meanwhile.add(parcel.id)
            self.pump()

    async def _delivered(self, parcel: Parcel) -> Change:
        """Try, and say what follows."""
        destination = self.subscription.path
        result: wire.Event | Failure | Lost | None
        try:
            async with self._workers.loan(self.subscription.pool) as loan:
                destination = loan.url + self.subscription.path
                try:
                    async with asyncio.timeout(self.subscription.delivery.timeout):
                        answer = await self._client.request("POST", destination, self._headers(parcel), parcel.event.data)
                except TimeoutError:
                    loan.spoil()
                    raise
            result = verdict.judge(answer)
        except WorkerDied as error:
            result = Lost(str(error).encode())
        except ConnectionLost as error:
            result = Failure(wire.NO_ANSWER, str(error).encode())
        except TimeoutError:
            result = Failure(wire.NO_ANSWER, f"No answer within {self.subscription.delivery.timeout:g} seconds.".encode())
        except NoWorker as error:
            result = Failure(wire.NO_ANSWER, str(error).encode())
        except Exception as error:  # nobody foresaw it: a failed try, not a delivery that falls over for ever
            log.exception("a delivery to %s fell over", self.subscription.name)
            result = Failure(wire.NO_ANSWER, f"The broker itself failed: {error!r}".encode())
        return self._consequence(parcel, result, destination)

    def _headers(self, parcel: Parcel) -> list[tuple[str, str]]:
        return [*wire.headers_of(parcel.event), ("prefer", "reply"), ("kn-namespace", self._namespace)]

    def _consequence(self, parcel: Parcel, result: wire.Event | Failure | Lost | None, destination: str) -> Change:
        match result:
            case None:
                self.counts.delivered += 1
                return Change(done=(parcel.id,))
            case Lost():
                return self._after_loss(parcel, result, destination)
            case Failure():
                return self._after_failure(parcel, result, destination)
        return self._after_reply(parcel, result, destination)

    def _after_reply(self, parcel: Parcel, reply: wire.Event, destination: str) -> Change:
        hops = parcel.event.hops - 1
        if hops <= 0:
            why = b"The reply has passed the broker too often: events and replies go in a circle."
            return self._after_failure(parcel, Failure(400, why, final=True), destination)
        self.counts.delivered += 1
        trace = reply.trace or parcel.event.trace
        attributes = {**reply.attributes, wire.TTL: str(hops)}
        return self._hub.publication(wire.Event(attributes=attributes, data=reply.data, trace=trace), parcel.id)

    def _after_loss(self, parcel: Parcel, lost: Lost, destination: str) -> Change:
        if parcel.losses >= verdict.FREE_LOSSES:
            return self._after_failure(parcel, Failure(wire.NO_ANSWER, lost.detail), destination)
        wait = verdict.LOSS_WAIT * 2**parcel.losses
        return Change(postponed=(Postponed(id=parcel.id, attempt=parcel.attempt, losses=parcel.losses + 1, wait=wait),))

    def _after_failure(self, parcel: Parcel, failure: Failure, destination: str) -> Change:
        self.counts.failed += 1
        delivery = self.subscription.delivery
        if parcel.dead:
            return self._postponed(parcel, verdict.dead_letter_wait(delivery, parcel.attempt), failure)
        if not failure.final and parcel.attempt < delivery.retry:
            return self._postponed(parcel, verdict.backoff(delivery, parcel.attempt), failure)
        self.counts.dead_lettered += 1
        log.warning(
            "%s gave up on event %s of type %s after %d tries (%d): %s",
            self.subscription.name,
            parcel.event.attributes["id"],
            parcel.event.attributes["type"],
            parcel.attempt + 1,
            failure.code,
            failure.detail[:200].decode(errors="replace"),
        )
        if delivery.dead_letter is None:
            return Change(done=(parcel.id,))
        letter = wire.dead(parcel.event, destination, failure.code, failure.detail)
        return self._hub.burial(letter, delivery.dead_letter, parcel.id)

    def _postponed(self, parcel: Parcel, wait: float, failure: Failure) -> Change:
        log.info("%s is tried again in %.2f s: %d", self.subscription.name, wait, failure.code)
        return Change(postponed=(Postponed(id=parcel.id, attempt=parcel.attempt + 1, losses=parcel.losses, wait=wait),))

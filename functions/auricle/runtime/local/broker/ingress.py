"""What the broker answers over HTTP: events come in, and the host asks how it stands."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import msgspec

from auricle.runtime.local.broker import wire
from auricle.runtime.local.broker.changes import Depth
from auricle.runtime.local.broker.clock import Clock
from auricle.runtime.local.broker.hub import Hub
from auricle.runtime.local.broker.ledger import Ledger
from auricle.runtime.local.broker.lines import Away
from auricle.runtime.local.broker.server import Request, Response, said
from auricle.runtime.local.broker.status import Status, SubscriptionStatus, TimerStatus
from auricle.runtime.local.plan import Plan
from auricle.runtime.local.workers import NoWorker, Workers

ACCEPTED = Response(202)
ACTIVATE = "/activate/"


class Ingress:
    """The one handler of the broker's port."""

    def __init__(self, plan: Plan, hub: Hub, ledger: Ledger, workers: Workers, clock: Clock) -> None:
        """Shows and takes what belongs to `plan`."""
        self._plan = plan
        self._hub = hub
        self._ledger = ledger
        self._workers = workers
        self._clock = clock
        self._started_at = datetime.now(UTC)

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        match request.method, request.path:
            case "GET", "/healthz":
                return said(200, "ok")
            case "GET", "/status":
                return _json(200, await self._status())
            case "POST", path if path.startswith(ACTIVATE):
                return await self._activate(path.removeprefix(ACTIVATE))
            case "POST", path if path == self._plan.broker_path:
                return await self._publish(request)
            case "POST", path:
                return said(404, f"There is no broker at {path}. The one here is {self._plan.broker_path}.")
        return said(405, "Events are sent with POST.", ("allow", "POST"))

    async def _publish(self, request: Request) -> Response:
        try:
            event = wire.read(request.headers, request.body)
        except wire.UnknownMode as error:
            return said(415, str(error))
        except wire.NotAnEvent as error:
            return said(400, str(error))
        if event.hops <= 0:
            return said(400, "The event has passed this broker too often: events and replies go in a circle.")
        try:
            await self._hub.accept(event.with_attributes({wire.TTL: str(event.hops)}))
        except Away:
            return said(503, "The broker's database is away. Send the event again in a moment.", ("retry-after", "1"))
        return ACCEPTED

    async def _activate(self, function: str) -> Response:
        try:
            url = await self._workers.activate(function)
        except KeyError:
            return said(404, f"No pool serves a function called {function!r}.")
        except NoWorker as error:
            return said(503, str(error), ("retry-after", "5"))
        return _json(200, {"url": url})

    async def _status(self) -> Status:
        depths: dict[str, Depth] | None = None
        timers: tuple[TimerStatus, ...] = ()
        try:
            if self._hub.online:
                depths = {depth.subscription: depth for depth in await self._ledger.depths()}
                timers = await self._clock.status()
        except Away:
            self._hub.lost_database()
        named = {subscription.name for subscription in self._plan.subscriptions}
        return Status(
            pid=os.getpid(),
            path=self._plan.broker_path,
            started_at=self._started_at,
            database="away" if depths is None else "ok",
            accepted=self._hub.accepted,
            orphaned=sum(d.waiting + d.later for name, d in (depths or {}).items() if name not in named),
            subscriptions=tuple(self._subscription(name, depths) for name in sorted(named)),
            timers=timers,
            pools=tuple(self._workers.status()),
        )

    def _subscription(self, name: str, depths: dict[str, Depth] | None) -> SubscriptionStatus:
        lane = self._hub.lanes[name]
        empty = Depth(subscription=name, waiting=0, later=0, dead=0, oldest_seconds=0.0)
        depth = None if depths is None else depths.get(name, empty)
        return SubscriptionStatus(
            name=name,
            waiting=depth.waiting if depth else None,
            retrying=depth.later if depth else None,
            dead_letters=depth.dead if depth else None,
            oldest_seconds=depth.oldest_seconds if depth else None,
            in_flight=lane.busy,
            delivered=lane.counts.delivered,
            failed=lane.counts.failed,
            dead_lettered=lane.counts.dead_lettered,
        )


def _json(status: int, value: object) -> Response:
    return Response(status, msgspec.json.encode(value), kind="application/json")

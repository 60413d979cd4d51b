"""Timers: what PingSources are on Knative. When each fired last is kept, so a daily one works on a laptop that sleeps."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from auricle.runtime.local.broker import wire
from auricle.runtime.local.broker.hub import Hub
from auricle.runtime.local.broker.ledger import Ledger
from auricle.runtime.local.broker.lines import Away
from auricle.runtime.local.broker.status import TimerStatus
from auricle.runtime.local.plan import Timer

log = logging.getLogger(__name__)

PING = "dev.knative.sources.ping"
LONGEST_SLEEP = 60.0
"""Seconds. Computers sleep and clocks are set: look now and then."""
AWAY_SLEEP = 1.0


class Clock:
    """Publishes an event for each timer that is due."""

    def __init__(self, timers: Sequence[Timer], namespace: str, hub: Hub, ledger: Ledger) -> None:
        """Events come from `/apis/v1/namespaces/<namespace>/pingsources/<name>`, as Knative names them."""
        self._timers = timers
        self._namespace = namespace
        self._hub = hub
        self._ledger = ledger

    async def run(self) -> None:
        """For ever."""
        while self._timers:
            await asyncio.sleep(await self._round())

    async def status(self) -> tuple[TimerStatus, ...]:
        """When they fire next; raises `Away`."""
        waits = [await self._ledger.timer_wait(timer.name, timer.minutes) for timer in self._timers]
        return tuple(
            TimerStatus(name=timer.name, minutes=timer.minutes, due_in_seconds=max(0.0, wait))
            for timer, wait in zip(self._timers, waits, strict=True)
        )

    async def _round(self) -> float:
        """Fire what is due; seconds until the next look."""
        if not self._hub.online:
            return AWAY_SLEEP
        soonest = LONGEST_SLEEP
        try:
            for timer in self._timers:
                wait = await self._ledger.timer_wait(timer.name, timer.minutes)
                if wait <= 0:
                    await self._hub.fire(timer.name, timer.minutes, self._event(timer))
                    wait = timer.minutes * 60.0
                soonest = min(soonest, wait)
        except Away:
            self._hub.lost_database()
            return AWAY_SLEEP
        except Exception:
            log.exception("a timer could not be fired")
        return soonest

    def _event(self, timer: Timer) -> wire.Event:
        attributes = {
            "id": str(uuid.uuid4()),
            "source": f"/apis/v1/namespaces/{self._namespace}/pingsources/{timer.name}",
            "type": PING,
            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            wire.TTL: str(wire.FIRST_TTL),
        }
        return wire.Event(attributes=attributes, data=timer.data.encode())

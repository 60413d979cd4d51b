"""The one function that all timers reach: a PingSource's event names the timer, which runs in a unit of work of its own.

Such events cannot be signed (Knative makes them). They carry a ticket instead, which the overlay writes into the schedule,
so that nobody else in the cluster makes a timer act.
"""

from __future__ import annotations

import base64
import hmac
import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Request, Response
from sqlalchemy import Connection

from auricle.admin.audit.trail import SYSTEM, Facts, Trail
from auricle.contract.function import Timer
from auricle.errors import Rejected, Retryable
from auricle.runtime.cloudevent import envelope_of
from auricle.runtime.eventdoor import broken, done, later
from auricle.runtime.outbox import OutboxBus
from auricle.runtime.rooms import TIMER_FUNCTION
from auricle.runtime.telemetry import trace_id, traced
from auricle.runtime.wiring import Wiring, needs_unit

log = logging.getLogger(__name__)
PING = "dev.knative.sources.ping"


class Tick(msgspec.Struct, frozen=True):
    """The data of a schedule's event: which timers are due. One schedule may fire several."""

    timer: str = ""
    timers: tuple[str, ...] = ()


class TimerDoor:
    """Runs timers by name."""

    def __init__(self, timers: Mapping[str, Timer], wiring: Wiring) -> None:
        """`timers` are all that were declared."""
        self._timers = timers
        self._wiring = wiring

    def __call__(self, request: Request) -> Response:
        """Handle one tick."""
        with traced(request.headers.get("traceparent")):
            try:
                event = envelope_of({k.lower(): v for k, v in request.headers.items()}, request.get_data())
                if not self._believes(event.attribute("ticket") or ""):
                    log.warning("a tick without our ticket was refused; the schedule's ticket extension must be TIMER_TOKEN")
                    return broken()
                self._tick(msgspec.json.decode(event.data, type=Tick))
            except Retryable as error:
                log.info("a timer is tried again: %s", error)
                return later()
            except (Rejected, msgspec.DecodeError, KeyError):
                log.exception("a tick names no timer of ours")
                return broken()
            except Exception:
                log.exception("a timer failed")
                return broken()
            return done()

    def _believes(self, ticket: str) -> bool:
        """Whether the tick is ours. kustomize copies a Secret's value as it is stored: encoded."""
        token = self._wiring.settings.timer_token.encode()
        given = ticket.encode()
        return not token or hmac.compare_digest(given, token) or hmac.compare_digest(given, base64.b64encode(token))

    def _tick(self, tick: Tick) -> None:
        """Run what is due. One timer's failure keeps none of the others from running; the first is raised in the end."""
        failures: list[Exception] = []
        for name in (*((tick.timer,) if tick.timer else ()), *tick.timers):
            try:
                self.run(name)
            except Exception as error:
                log.exception("the timer %s failed", name)
                failures.append(error)
        if failures:
            raise failures[0]

    def run(self, name: str) -> None:
        """Run the timer `name` now; while the deployment is suspended, nothing."""
        timer = self._timers[name]
        if self._wiring.settings.suspended:
            return
        self._wiring.refresh(timer.signature)
        if not needs_unit(timer.signature):  # it takes units of its own, and would hold this one idle beside them
            timer.handler(**self._wiring.arguments(timer.signature.parameters, {}))
            return
        with self._wiring.database.work() as connection:
            bus = self._wiring.bus(connection)
            trail = Trail(Facts(function=TIMER_FUNCTION, trace_id=trace_id()), self._wiring.now, str, connection, SYSTEM)
            given: dict[Any, Any] = {Connection: connection, OutboxBus: bus, Trail: trail}
            timer.handler(**self._wiring.arguments(timer.signature.parameters, given))
        self._wiring.outbox.flush_all(bus.sent)

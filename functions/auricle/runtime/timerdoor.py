"""The one function that all timers reach: a PingSource's event names the timer, which runs in a unit of work of its own.

Such events cannot be signed (Knative makes them); timers are therefore idempotent and harmless when fired by anybody.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Request, Response
from sqlalchemy import Connection

from auricle.contract.function import Timer
from auricle.errors import Rejected, Retryable
from auricle.runtime.cloudevent import envelope_of
from auricle.runtime.eventdoor import broken, done, later
from auricle.runtime.outbox import OutboxBus
from auricle.runtime.telemetry import traced
from auricle.runtime.wiring import Wiring

log = logging.getLogger(__name__)
PING = "dev.knative.sources.ping"


class Tick(msgspec.Struct, frozen=True):
    """The data of a timer's event."""

    timer: str


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
                self.run(msgspec.json.decode(event.data, type=Tick).timer)
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

    def run(self, name: str) -> None:
        """Run the timer `name` now."""
        timer = self._timers[name]
        with self._wiring.database.work() as connection:
            bus = self._wiring.bus(connection)
            given: dict[Any, Any] = {Connection: connection, OutboxBus: bus}
            timer.handler(**self._wiring.arguments(timer.signature.parameters, given))
        self._wiring.outbox.flush(bus.sent)

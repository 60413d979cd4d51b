"""Telling the conductor how far slow work is: events straight to the broker, rarely, and never worth failing for."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from auricle.contract.event import Fact
from auricle.contract.ids import uuid7
from auricle.errors import Retryable
from auricle.runs.events import StepProgressed

if TYPE_CHECKING:
    from auricle.runtime.wiring import Wiring

log = logging.getLogger(__name__)
EVERY_SECONDS = 1.0


class BrokerProgress:
    """`ports.bus.Progress` for the released piece of work `event`."""

    def __init__(self, wiring: Wiring, event: Fact | None) -> None:
        """Without a released event (or a broker) nothing is told."""
        self._wiring = wiring
        self._event: Any = event if hasattr(event, "receipt") and wiring.settings.broker_url else None
        self._next = 0.0  # the first word is told at once: until then the run may be said to wait

    def __call__(self, fraction: float) -> None:
        """Tell, unless it was told just now."""
        event = self._event
        if event is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY_SECONDS  # before the sending: signs of life come from a thread of their own
        fact = StepProgressed(
            run_id=event.run_id,
            work=event.work,
            index=getattr(event, "index", 0),
            attempt=event.attempt,
            fraction=min(1.0, max(0.0, float(fraction))),
            receipt=event.receipt,
        )
        try:
            self._wiring.sink.post(self._wiring.reply_envelope(fact, str(uuid7())))
        except Retryable as error:
            log.debug("progress not told: %s", error)

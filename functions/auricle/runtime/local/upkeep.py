"""What a host that never sleeps does every few seconds, so that nobody waits for a timer: send and deliver what a
killed process left behind."""

from __future__ import annotations

import logging
import threading

import msgspec

from auricle.contract.function import registry
from auricle.errors import Retryable
from auricle.runtime import timers
from auricle.runtime.settings import Settings
from auricle.runtime.timerdoor import TimerDoor
from auricle.runtime.wiring import Wiring

log = logging.getLogger(__name__)
SECONDS = 2.0
"""How long an event may lie in the outbox of a process that died; two tiny queries each time."""


SWEPT = (timers.redeliver.__name__, "sweep_runs")
"""Timers that are cheap when there is nothing to do: one indexed query each."""


class Upkeep:
    """The outbox's relay and the inbox's sweep, over and over, in a thread."""

    def __init__(self, settings: Settings) -> None:
        """One connection of its own: it must not wait for people, nor people for it."""
        self._wiring = Wiring(msgspec.structs.replace(settings, database_pool=1))
        self._timers = TimerDoor({name: registry.timers[name] for name in SWEPT if name in registry.timers}, self._wiring)
        self._names = tuple(name for name in SWEPT if name in registry.timers)
        self._end = threading.Event()

    def start(self) -> None:
        """Begin; the thread ends with the process, or with `stop`."""
        threading.Thread(target=self._run, name="upkeep", daemon=True).start()

    def stop(self) -> None:
        """Finish after the current round."""
        self._end.set()

    def once(self) -> None:
        """One round."""
        while self._wiring.outbox.relay():
            pass
        for name in self._names:
            self._timers.run(name)

    def _run(self) -> None:
        while not self._end.wait(SECONDS):
            try:
                self.once()
            except Retryable as error:
                log.info("upkeep waits: %s", error)
            except Exception:
                log.exception("upkeep failed")

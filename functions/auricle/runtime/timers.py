"""The house's own sweeping: what killed processes left behind in the outbox and the inbox.

On Knative these ride on a timer; the embedded host, which is never at zero, does the same every few seconds
(`runtime.local.upkeep`).
"""

from __future__ import annotations

from sqlalchemy import text

from auricle.contract.function import timer
from auricle.contract.store import Store
from auricle.ports.bus import Bus
from auricle.runtime import inbox
from auricle.runtime.outbox import OutboxBus


class HouseStore(Store):
    """The inbox, for the sweep."""

    def forget_repeats(self) -> None:
        """Drop what writes under an `Idempotency-Key` were answered, a day after."""
        # By name: the table is described where the door is, which timers do not load.
        self.db.execute(text("delete from idempotency_keys where created_at < now() - interval '24 hours'"))


@timer(minutes=15)
def redeliver(house: HouseStore, bus: Bus) -> None:
    """Deliver again what a dead worker held."""
    assert isinstance(bus, OutboxBus)
    for event in inbox.expired(house.db):
        bus.publish_envelope(event)


@timer(minutes=24 * 60)
def forget(house: HouseStore) -> None:
    """Trim the inbox, and answers that no repetition of a write may have any more."""
    inbox.trim(house.db)
    house.forget_repeats()

"""The house's own sweeping: what killed processes left behind in the outbox and the inbox.

On Knative these ride on a timer; the embedded host, which is never at zero, does the same every few seconds
(`runtime.local.upkeep`).
"""

from __future__ import annotations

from auricle.contract.function import timer
from auricle.contract.store import Store
from auricle.ports.bus import Bus
from auricle.runtime import inbox
from auricle.runtime.outbox import OutboxBus


class HouseStore(Store):
    """The inbox, for the sweep."""


@timer(minutes=15)
def redeliver(house: HouseStore, bus: Bus) -> None:
    """Deliver again what a dead worker held."""
    assert isinstance(bus, OutboxBus)
    for event in inbox.expired(house.db):
        bus.publish_envelope(event)


@timer(minutes=24 * 60)
def forget(house: HouseStore) -> None:
    """Trim the inbox."""
    inbox.trim(house.db)

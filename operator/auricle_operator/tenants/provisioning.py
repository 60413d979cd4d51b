"""What lies outside of the cluster for a tenant, brought about when it has to be and not at each pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from auricle.errors import AuricleError, Retryable
from auricle_operator.api.conditions import Finding, Truth
from auricle_operator.world import World

Key = tuple[str, str]
"""(uid of a Tenant, condition). Not its name: the next one of that name has nothing yet."""


class Provisioning:
    """Of one process."""

    def __init__(self, world: World) -> None:
        """`world` has the time, and how long what is there is believed in (`resync`)."""
        self._world = world
        self._done: dict[Key, tuple[Any, datetime]] = {}

    async def provided(self, uid: str, type: str, said: Any, act: Callable[[], Awaitable[None]]) -> Finding:
        """`act`, unless it was done for exactly what is `said`, and lately; how it went, as the condition `type`."""
        now = self._world.now()
        before, at = self._done.get((uid, type), (None, now))
        if (uid, type) in self._done and before == said and (now - at).total_seconds() < self._world.settings.resync:
            return Finding(type, Truth.TRUE, "Provided")
        try:
            await act()
        except Retryable as error:
            return Finding(type, Truth.UNKNOWN, "Away", str(error))
        except AuricleError as error:
            return Finding(type, Truth.FALSE, "Refused", str(error))
        self._done[uid, type] = (said, now)
        return Finding(type, Truth.TRUE, "Provided")

    def forget(self, uid: str) -> None:
        """That tenant is gone."""
        for key in [key for key in self._done if key[0] == uid]:
            del self._done[key]

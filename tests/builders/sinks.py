"""A broker that only remembers: for doors whose publishing is looked at, not delivered."""

from __future__ import annotations

from dataclasses import dataclass, field

from auricle.contract.event import Envelope
from auricle.errors import Retryable


@dataclass
class RememberingSink:
    """Takes events while `up`; refuses them as a broker that is away does otherwise."""

    up: bool = True
    taken: list[Envelope] = field(default_factory=list)

    def post(self, event: Envelope) -> None:
        """Remember, or refuse."""
        if not self.up:
            raise Retryable("away")
        self.taken.append(event)

    def types(self) -> list[str]:
        """What was published, in order."""
        return [event.type for event in self.taken]

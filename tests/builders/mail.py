"""Letters in a list: `MemoryMail().sent`."""

from __future__ import annotations

from dataclasses import dataclass, field

from auricle.errors import AuricleError
from auricle.ports.mail import Message


@dataclass
class MemoryMail:
    """`Mail` in memory. Set `trouble` to an error to have the server refuse, or be away."""

    sent: list[Message] = field(default_factory=list)
    trouble: AuricleError | None = None

    def send(self, message: Message) -> None:
        """Keep the letter; the same key is the same letter."""
        if self.trouble is not None:
            raise self.trouble
        if message.key not in {letter.key for letter in self.sent}:
            self.sent.append(message)

    def to(self, address: str) -> list[Message]:
        """What this person got."""
        return [letter for letter in self.sent if letter.to == address]

"""Passwords that criminals have already, because they were stolen somewhere else."""

from __future__ import annotations

import hashlib
from typing import Protocol

from auricle.ports.hashing import normalised


class BreachList(Protocol):
    """What is known of stolen passwords. Fails open: nobody is kept from choosing a password because a list is away."""

    def count(self, password: str) -> int | None:
        """How often it was seen in breaches, 0 for never; None when that cannot be known now, of which a log line tells.

        Neither the password nor its whole digest leaves this process. `Invalid` for what `ports.hashing.normalised` refuses.
        """
        ...


def breach_digest(password: str) -> str:
    """What the lists are keyed by: SHA-1 of the password in 40 upper-case hex characters. It protects nothing, it is a name."""
    return hashlib.sha1(normalised(password), usedforsecurity=False).hexdigest().upper()

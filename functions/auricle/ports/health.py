"""How the things that Auricle leans on are doing."""

from __future__ import annotations

from typing import Protocol


class Components(Protocol):
    """The deployment's components."""

    def check(self) -> dict[str, str]:
        """By name: `ok`, or a sentence that says what is wrong. Never raises, takes a few seconds at most."""
        ...

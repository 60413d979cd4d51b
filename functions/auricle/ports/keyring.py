"""Keys that never leave the process that holds them."""

from __future__ import annotations

from typing import Protocol


class Receipts(Protocol):
    """Short proofs that an answer belongs to a question which this deployment asked."""

    def receipt(self, *parts: object) -> str:
        """The proof for these parts, in this order; the same parts give the same proof."""
        ...

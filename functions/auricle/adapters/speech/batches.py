"""How many pieces a model is given at once: the seam through which the GPU pool backs off when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Batches(Protocol):
    """Chooses batch sizes and decides what running out of memory means."""

    def attempt(self, work: Callable[[int], T]) -> T:
        """What `work(size)` returns. `work` may be called again with a smaller size, so it must start afresh each time."""
        ...


class FixedBatches:
    """Always the same size; running out of memory is the caller's error."""

    def __init__(self, size: int) -> None:
        """`size` in pieces (clips, windows), at least 1."""
        self.size = max(1, size)

    def attempt(self, work: Callable[[int], T]) -> T:
        return work(self.size)

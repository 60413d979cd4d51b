"""For tests: an operator that leaves without a word at a chosen await, as a killed process does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class Steps:
    """Counts how often what it follows gives way; at `at` it calls `die`, which does not return to what was going on."""

    def __init__(self, at: int, die: Callable[[], None]) -> None:
        """`at` 0: never."""
        self.count, self._at, self._die = 0, at, die

    async def follow(self, work: Awaitable[Answer]) -> Answer:
        """The answer of `work`, if it comes to it."""
        return await _Followed(work, self)

    def step(self) -> None:
        """`work` is about to wait."""
        self.count += 1
        if self.count == self._at:
            self._die()


class _Followed(Awaitable[Answer]):
    """Passes everything on, and tells of each suspension."""

    def __init__(self, work: Awaitable[Answer], steps: Steps) -> None:
        self._work, self._steps = work, steps

    def __await__(self) -> Generator[Any, Any, Answer]:
        inner = self._work.__await__()
        try:
            waits_for = next(inner)
            while True:
                self._steps.step()
                try:
                    sent = yield waits_for
                except BaseException as error:
                    waits_for = inner.throw(error)
                else:
                    waits_for = inner.send(sent)
        except StopIteration as done:
            answer: Answer = done.value
            return answer

"""Seeded trouble for tests: some deliveries come twice, some overtake others, as at-least-once allows."""

from __future__ import annotations

import random

from auricle.errors import Invalid

LONGEST_DETOUR = 0.5
"""Seconds by which a reordered or repeated delivery comes late."""


class Chaos:
    """Spreads deliveries out in time. The same seed and the same calls give the same spread."""

    def __init__(self, *, dup: float = 0.0, reorder: float = 0.0, seed: int = 0) -> None:
        """`dup` and `reorder` are probabilities."""
        self._dup = dup
        self._reorder = reorder
        self._random = random.Random(seed)  # noqa: S311  (tests repeat it; no secret depends on it)

    def waits(self) -> list[float]:
        """When one delivery is due: a wait in seconds for each of its copies, usually one of 0."""
        first = self._late() if self._random.random() < self._reorder else 0.0
        return [first, self._late()] if self._random.random() < self._dup else [first]

    def _late(self) -> float:
        return self._random.uniform(0.0, LONGEST_DETOUR)


def parse(text: str) -> Chaos:
    """From `dup=0.1,reorder=0.1,seed=7`; every part may be missing."""
    given: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        given[name.strip()] = value.strip()
    try:
        chances = {name: float(given.pop(name)) for name in ("dup", "reorder") if name in given}
        seed = int(given.pop("seed", "0"))
    except ValueError as error:
        raise Invalid(f"--chaos {text!r} cannot be read. Write it like dup=0.1,reorder=0.1,seed=7.") from error
    if given or not all(0 <= chance <= 1 for chance in chances.values()):
        raise Invalid(f"--chaos {text!r} cannot be read: dup and reorder are between 0 and 1, seed is a number, no more.")
    return Chaos(seed=seed, **chances)

"""Who stays when a storage has a budget: what is used or pinned first, then what was used last. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec


class Claimant(msgspec.Struct, frozen=True, kw_only=True):
    """A model that lies on a place, or wants to. `files`: sha256 to bytes (files that two models share lie there once);
    `safe`: pinned, or used by a tenant: what is safe and there is never taken away."""

    name: str
    files: Mapping[str, int]
    safe: bool
    present: bool
    last_used: datetime


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`kept` may be there; `leaving` is there and has to go; `waiting` finds no room. `taken`: bytes of what is kept."""

    kept: frozenset[str]
    leaving: frozenset[str]
    waiting: frozenset[str]
    taken: int


def divided(budget: int | None, claimants: Iterable[Claimant]) -> Outcome:
    """Who may be on a place of `budget` bytes (None: without a limit)."""
    wanted = sorted(claimants, key=_worth)
    kept: set[str] = set()
    held: dict[str, int] = {}
    for claimant in wanted:
        together = {**held, **claimant.files}
        if budget is None or sum(together.values()) <= budget or (claimant.safe and claimant.present):
            kept.add(claimant.name)
            held = together
    return Outcome(
        kept=frozenset(kept),
        leaving=frozenset(c.name for c in wanted if c.present and c.name not in kept),
        waiting=frozenset(c.name for c in wanted if not c.present and c.name not in kept),
        taken=sum(held.values()),
    )


def _worth(claimant: Claimant) -> tuple[bool, bool, float, str]:
    """Sorts what is there and safe first, then what is safe, then by the last use."""
    return (not (claimant.safe and claimant.present), not claimant.safe, -claimant.last_used.timestamp(), claimant.name)

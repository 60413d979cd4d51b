"""Database connections: whether everybody at full scale still gets one."""

from __future__ import annotations

from collections.abc import Iterator

from auricle.deploy import budget  # the module: it reads these packages too
from auricle.deploy.lint.places import Fault, Place
from auricle.deploy.lint.rules import rule, whole
from auricle.deploy.lint.world import World


@rule(over=whole)
def too_many_connections(_: None, world: World) -> Iterator[Fault]:
    """More connections at full scale than the database, or the pooler in front of it, takes."""
    for limit in budget.limits(world):
        if limit.wanted > limit.allowed:
            yield Place.top(limit.place.root).fault(
                f"takes {limit.allowed} connections ({limit.setting}), and at full scale {limit.wanted} are wanted",
                limit.remedy,
            )

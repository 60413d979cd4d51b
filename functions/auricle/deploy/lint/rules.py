"""The table of rules: a rule is a small function with a name and a docstring that is its documentation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from auricle.deploy.catalogue import FunctionEntry
from auricle.deploy.lint.places import Fault, Finding, Place
from auricle.deploy.lint.world import Container, Pod, World

T = TypeVar("T")
RULES: dict[str, Rule] = {}
"""Every rule by name, in the order of declaration."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing lint looks for."""

    name: str
    summary: str
    check: Callable[[World], Iterator[Fault]]

    def findings(self, world: World) -> list[Finding]:
        """What this rule finds in `world`."""
        return [fault.finding(self.name) for fault in self.check(world)]


Check = Callable[[T, World], Iterator[Fault]]


def rule(over: Callable[[World], Iterable[T]]) -> Callable[[Check[T]], Check[T]]:
    """Make a rule of a generator of faults; it is asked once for each item of `over`. `some_name` is called `some-name`."""

    def declare(check: Check[T]) -> Check[T]:
        name = check.__name__.replace("_", "-")
        if name in RULES:
            raise TypeError(f"the rule {name} is declared twice")
        summary = re.sub(r"\s+", " ", check.__doc__ or "").strip()

        def everywhere(world: World) -> Iterator[Fault]:
            for item in over(world):
                yield from check(item, world)

        RULES[name] = Rule(name, summary, everywhere)
        return check

    return declare


def objects(kind: str, group: str = "") -> Callable[[World], Iterable[Place]]:
    """All objects of a kind, for `over`."""
    return lambda world: world.of(kind, group)


def whole(world: World) -> Iterable[None]:
    """Once, for rules that look at everything together."""
    return (None,)


def services(world: World) -> Iterable[Pod]:
    """Every Knative Service."""
    return world.services


def pods(world: World) -> Iterable[Pod]:
    """Every pod template."""
    return world.pods


def containers(world: World) -> Iterable[Container]:
    """Every container of every pod template."""
    return world.containers


def hosts(world: World) -> Iterable[tuple[Container, list[FunctionEntry]]]:
    """Every container that runs functions."""
    return world.hosts


def triggers(world: World) -> Iterable[Place]:
    """Every Trigger."""
    return world.triggers

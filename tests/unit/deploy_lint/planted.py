"""What a row of the tables of faults is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from unit.deploy_lint.an_overlay import Change, Overlay, clean


@dataclass(frozen=True, init=False)
class Planted:
    """One fault: the rule that finds it, at which object, what its sentence advises, how it is planted.

    `also` names rules that rightly find something else in it, `also_at` objects that are rightly found too.
    """

    rule: str
    object: str
    remedy: str
    changes: tuple[Change, ...]
    also: frozenset[str]
    also_at: frozenset[str]

    def __init__(
        self,
        rule: str,
        object: str,
        remedy: str,
        *changes: Change,
        also: Iterable[str] = (),
        also_at: Iterable[str] = (),
    ) -> None:
        """Changes are made in order, on a clean overlay."""
        given = {"rule": rule, "object": object, "remedy": remedy, "changes": changes}
        for name, value in {**given, "also": frozenset(also), "also_at": frozenset(also_at)}.items():
            super().__setattr__(name, value)

    def overlay(self) -> Overlay:
        """The clean overlay with this fault in it."""
        overlay = clean()
        for change in self.changes:
            change(overlay)
        return overlay

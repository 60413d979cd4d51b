"""How benches say what they saw: one line per figure, with its goal beside it."""

from __future__ import annotations


def figure(name: str, value: float, unit: str, goal: str = "", note: str = "") -> None:
    """Print a figure, e.g. `pipeline over raw | 1.04 × | goal ≤ 1.10 | note`."""
    print(f"{name} | {value:.3g} {unit} | {'goal ' + goal if goal else ''} | {note}", flush=True)

"""A run's cold starts as lines and bars: where the time went while nobody was awake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

PHASES = {
    "queued": ("queued", "white"),
    "scheduled": ("scheduled", "blue"),
    "image": ("image", "magenta"),
    "process": ("process", "cyan"),
    "model": ("model", "yellow"),
    "first_byte": ("first byte", "green"),
}
"""Phase → its name for readers, and its colour in the bar."""
WIDTH = 30


def cold_starts_table(run: dict[str, Any]) -> Table | None:
    """One line for each cold start of a run, the conductor's first; None when everything was awake."""
    table = Table("woken", "seconds", "where they went", box=None)
    for name, told in _all(run):
        table.add_row(name, f"{sum(seconds(told).values()):.2f}", bar(told))
        table.add_row("", "", Text(words(told), style="dim"))
    return table if table.row_count else None


def seconds(told: dict[str, Any]) -> dict[str, float]:
    """The phases that are known, in order."""
    return {name: told[name] for name in PHASES if told.get(name) is not None}


def words(told: dict[str, Any]) -> str:
    """The phases as text: `queued 0.91 s · scheduled 0.05 · …`."""
    parts = [f"{PHASES[name][0]} {value:.2f}" for name, value in seconds(told).items()]
    return " · ".join([f"{parts[0]} s", *parts[1:]]) if parts else ""


def bar(told: dict[str, Any]) -> Text:
    """A bar of fixed width; what took any time at all is to be seen."""
    known = seconds(told)
    total = sum(known.values()) or 1.0
    text = Text()
    for name, value in known.items():
        text.append("█" * max(1 if value > 0 else 0, round(WIDTH * value / total)), style=PHASES[name][1])
    return text


def _all(run: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for told in run.get("cold_starts", ()):
        yield told["function"], told
    for step in run["steps"]:
        many = len(step.get("cold_starts", ())) > 1
        for told in step.get("cold_starts", ()):
            yield f"{told['function']} {told['index'] + 1}" if many else told["function"], told

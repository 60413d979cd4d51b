"""Watching a run on a terminal: a live bar per step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from auricle.cli.client import AWAY, Server, ServerError

POLL_SECONDS = 0.3
OVER = ("succeeded", "failed", "cancelled")
TITLES = {
    "upload": "Upload",
    "prepare": "Prepare",
    "transcribe": "Transcribe",
    "diarize": "Hear voices",
    "cluster": "Tell speakers apart",
    "assemble": "Assemble",
    "export": "Export",
}


class Bars:
    """One bar per step."""

    def __init__(self, progress: Progress) -> None:
        """`progress` is live."""
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, step: str, fraction: float, note: str = "") -> None:
        """Set a step's bar."""
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(TITLES.get(step, step), total=1.0, note="")
        self._progress.update(self._tasks[step], completed=fraction, note=note)

    def show_run(self, run: dict[str, Any]) -> None:
        """Set the bars of all steps of `run`."""
        for step in run["steps"]:
            note = {"succeeded": "done", "failed": "failed", "skipped": "nothing to do", "waiting": ""}.get(step["state"], "")
            if step.get("waiting_for"):
                note = f"waits for a free {step['waiting_for'].replace('gpu', 'GPU')}"
            full = step["state"] in ("succeeded", "skipped")
            self.show(step["name"], 1.0 if full else step["progress"], note)


@contextmanager
def bars(console: Console) -> Iterator[Bars]:
    """Live bars while the block runs."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<20}"),
        BarColumn(bar_width=32),
        TextColumn("{task.percentage:>4.0f} %"),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)


def run_of_file(server: Server, file_id: str, seconds: float = 60) -> dict[str, Any]:
    """The newest run of a file; it appears a moment after the upload is complete."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        items = server.call("GET", "/api/runs", file_id=file_id, limit=1)["items"]
        if items:
            return dict(items[0])
        time.sleep(0.1)
    raise ServerError(0, "The file is there and no run has begun. `auricle status` and `auricle doctor` may say why.")


def follow(server: Server, run_id: str, shown: Bars) -> dict[str, Any]:
    """Show a run until it is over; returns it."""
    while True:
        try:
            run = dict(server.call("GET", f"/api/runs/{run_id}"))
        except ServerError as error:
            if error.status not in (0, *AWAY) or error.suspended:
                raise
            time.sleep(1)  # a restarting server: the run goes on where it was
            continue
        shown.show_run(run)
        if run["state"] in OVER:
            return run
        time.sleep(POLL_SECONDS)

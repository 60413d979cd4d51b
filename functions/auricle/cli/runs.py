"""`auricle runs`: what is being worked on, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from auricle.cli.client import Server
from auricle.cli.coldness import cold_starts_table
from auricle.cli.following import bars, follow
from auricle.cli.servers import running_server, server_options

COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}
WAITED = {"gpu": "GPU"}


@click.group()
def runs() -> None:
    """List, show, watch, cancel and retry runs."""


@runs.command("list")
@click.option("--file", "file_id", help="Only runs of this file.")
@click.option("--state", type=click.Choice(["queued", "running", "succeeded", "failed", "cancelled"]))
@click.option("-n", "limit", default=20, show_default=True)
@server_options
def list_runs(server: Server | None, file_id: str | None, state: str | None, limit: int) -> None:
    """The newest runs."""
    items = running_server(server).call("GET", "/api/runs", file_id=file_id, state=state, limit=limit)["items"]
    table = Table("run", "file", "state", "steps", "began", box=None)
    for run in items:
        colour = COLOURS.get(run["state"], "white")
        done = sum(s["state"] in ("succeeded", "skipped") for s in run["steps"])
        table.add_row(
            *(run["id"], run["file_id"], f"[{colour}]{waits(run) if run.get('waiting_for') == 'turn' else run['state']}"),
            *(f"{done}/{len(run['steps'])}", run["created_at"][:19]),
        )
    Console().print(table)


@runs.command()
@click.argument("run_id")
@server_options
def show(server: Server | None, run_id: str) -> None:
    """One run, step by step, with the time that each took, and what it waited for because functions were asleep."""
    run = running_server(server).call("GET", f"/api/runs/{run_id}")
    console = Console()
    console.print(f"[bold]{run['id']}[/] {run['state']}  (file {run['file_id']})")
    console.print(steps_table(run))
    woken = cold_starts_table(run)
    if woken is not None:
        console.print()
        console.print(woken)
    if run.get("waiting_for"):
        console.print(f"[yellow]It {waits(run)}.")
    for warning in run["warnings"]:
        console.print(f"[yellow]{warning}")
    if run.get("error"):
        console.print(f"[red]{run['error']}")


@runs.command()
@click.argument("run_id")
@server_options
def watch(server: Server | None, run_id: str) -> None:
    """Live bars until the run is over."""
    with bars(Console(stderr=True)) as shown:
        run = follow(running_server(server), run_id, shown)
    raise SystemExit(0 if run["state"] == "succeeded" else 1)


@runs.command()
@click.argument("run_id")
@server_options
def cancel(server: Server | None, run_id: str) -> None:
    """Stop a run; what is under way may finish, nothing more is begun."""
    running_server(server).call("POST", f"/api/runs/{run_id}/cancel")
    click.echo("It stops.")


@runs.command()
@click.argument("run_id")
@server_options
def retry(server: Server | None, run_id: str) -> None:
    """Try again what failed; what succeeded is kept."""
    running_server(server).call("POST", f"/api/runs/{run_id}/retry")
    click.echo("It is tried again.")


@runs.command()
@click.argument("file_id")
@click.option("--step", "steps", multiple=True, help="Only these steps, such as diarize. Default: all.")
@click.option("--speakers", type=int, help="How many people speak.")
@server_options
def start(server: Server | None, file_id: str, steps: tuple[str, ...], speakers: int | None) -> None:
    """Start a run on a file that is in the vault already."""
    body: dict[str, Any] = {"steps": list(steps)} if steps else {}
    if speakers:
        body["options"] = {"num_speakers": speakers}
    run = running_server(server).call("POST", f"/api/files/{file_id}/runs", body)
    click.echo(run["id"])


def waits(run: dict[str, Any]) -> str:
    """What a run waits for, in words."""
    if run["waiting_for"] == "turn":
        others = run.get("waits_for_others") or 0
        return f"waits for {others} other{'' if others == 1 else 's'}"
    return f"waits for a free {WAITED.get(run['waiting_for'], run['waiting_for'])}"


def steps_table(run: dict[str, Any]) -> Table:
    """A run's steps: state, tries, seconds, error."""
    table = Table("step", "state", "progress", "tries", "seconds", "error", box=None)
    for step in run["steps"]:
        colour = COLOURS.get(step["state"], "white")
        row = (f"{step['progress']:.0%}", str(step["attempts"]), _seconds(step), step.get("error") or "")
        table.add_row(step["name"], f"[{colour}]{step['state']}", *row)
    return table


def _seconds(step: dict[str, Any]) -> str:
    if not step.get("started_at") or not step.get("finished_at"):
        return ""
    began, ended = (datetime.fromisoformat(step[name]) for name in ("started_at", "finished_at"))
    return f"{(ended - began).total_seconds():.1f}"

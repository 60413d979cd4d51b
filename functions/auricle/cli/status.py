"""`auricle status`: what runs here, how much memory it takes, what waits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auricle.cli.place import data_option

if TYPE_CHECKING:
    from rich.table import Table

    from auricle.cli.overview import Overview


@click.command()
@data_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(data: Path, as_json: bool) -> None:
    """Show processes, memory, workers and queues of the Auricle that runs on --data. Exit status 1 when none does."""
    import msgspec

    from auricle.cli.overview import look
    from auricle.runtime.local.hostfile import holder

    found = look(data)
    if found is None:
        starting = holder(data) is not None
        if as_json:
            click.echo(msgspec.json.encode({"running": False, "starting": starting, "data": str(data)}))
        elif starting:
            click.echo(f"Auricle on {data} has only just begun to start.")
        else:
            click.echo(f"No Auricle runs on {data}. Start it with `auricle up`.")
        raise SystemExit(1)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    _show(found)


def _show(found: Overview) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    state = "[green]up[/]" if found.ready else "[yellow]starting[/]"
    mode = ", every function isolated" if found.isolated else ""
    console.print(
        f"Auricle is {state} at [bold]{found.url}[/] since {_ago(found.since)}, data in {found.data}{mode}", highlight=False
    )
    processes = Table("process", "pid", "up", "restarts", "memory", box=None, pad_edge=False)
    for process in found.processes:
        row = (str(process.pid), _ago(process.since), str(process.restarts), _megabytes(process.memory_bytes))
        processes.add_row(process.name, *row)
    processes.add_row("[bold]together", "", "", "", f"[bold]{_megabytes(found.memory_bytes)}")
    console.print(processes)
    console.print()
    if found.broker == "away":
        console.print("[yellow]The broker does not answer: workers and queues are unknown.")
        return
    console.print(_workers_table(found))
    waiting = f"{found.queued} deliveries wait or are under way" if found.queued is not None else "how many wait is unknown"
    console.print(f"\n{waiting}; {found.dead_letters or 0} are dead letters on their way.", highlight=False)
    for pool in found.pools:
        if pool.trouble:
            console.print(f"[red]{pool.trouble}")


def _workers_table(found: Overview) -> Table:
    from rich.table import Table

    table = Table("workers", "alive", "busy", "wait", "memory", "functions", box=None, pad_edge=False)
    for pool in found.pools:
        alive = "always" if pool.resident else f"{len(pool.workers)} of {pool.max_workers}"
        memory = "" if pool.resident else _megabytes(sum(w.memory_bytes for w in pool.workers))
        style = None if pool.resident or pool.workers else "dim"
        table.add_row(pool.name, alive, str(pool.busy), str(pool.queued), memory, ", ".join(pool.functions), style=style)
    return table


def _ago(since: float) -> str:
    """How long, in the largest unit that says enough."""
    seconds = int(max(0.0, time.time() - since))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _megabytes(count: int) -> str:
    return f"{count / 2**20:.0f} MB" if count else "–"

"""`auricle doctor`: what stands in the way on this machine, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import click

from auricle.cli.place import data_option


@click.command()
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Port that `auricle up` is to use."
)
@data_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(port: int, data: Path, as_json: bool) -> None:
    """Check Python, data folder, disk, memory, port, database, models and clock. Exit status 1 when something is broken."""
    import msgspec

    from auricle.cli.checks import Grade, Place, findings
    from auricle.runtime.settings import settings

    found = findings(Place(data=data, port=port, settings=settings()))
    if as_json:
        listed = list(found)
        click.echo(msgspec.json.format(msgspec.json.encode(listed), indent=2))
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        listed = []
        console = Console()
        marks = {Grade.OK: "[green]✓[/]", Grade.NOTE: "[yellow]![/]", Grade.PROBLEM: "[red]✗[/]"}
        for finding in found:
            listed.append(finding)
            line = Table.grid(padding=(0, 1))
            line.add_column(width=1)
            line.add_column(width=9)
            line.add_row(marks[finding.grade], finding.name, escape(finding.text))
            console.print(line)
    if any(finding.grade is Grade.PROBLEM for finding in listed):
        raise SystemExit(1)

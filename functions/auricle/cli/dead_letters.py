"""`auricle dead-letters`: events that could not be worked on."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console
from rich.table import Table

from auricle.cli.client import Server
from auricle.cli.servers import running_server, server_options


@click.group("dead-letters")
def dead_letters() -> None:
    """List, show and replay events that could not be worked on."""


@dead_letters.command("list")
@click.option("--state", type=click.Choice(["open", "replayed"]), default="open", show_default=True)
@server_options
def list_letters(server: Server | None, state: str) -> None:
    """Those that wait for a person."""
    table = Table("id", "function", "type", "since", "reason", box=None)
    for letter in running_server(server).pages("/api/dead-letters", state=state):
        table.add_row(letter["id"], letter["function"], letter["type"], letter["created_at"][:19], letter["reason"])
    Console().print(table if table.row_count else "None.")


@dead_letters.command()
@click.argument("letter_id")
@server_options
def show(server: Server | None, letter_id: str) -> None:
    """One of them, with its event."""
    letter = running_server(server).call("GET", f"/api/dead-letters/{letter_id}")
    click.echo(msgspec.json.format(msgspec.json.encode(letter), indent=2).decode())


@dead_letters.command()
@click.argument("letter_id")
@server_options
def replay(server: Server | None, letter_id: str) -> None:
    """Try again what it was about."""
    running_server(server).call("POST", f"/api/dead-letters/{letter_id}/replay")
    click.echo("It is tried again.")

"""`auricle events`: what happens, as it happens."""

from __future__ import annotations

import click
import msgspec

from auricle.cli.client import Server
from auricle.cli.servers import running_server, server_options


@click.command()
@click.option("--after", help="Resume after this event id.")
@server_options
def events(server: Server | None, after: str | None) -> None:
    """Follow the event stream; one JSON line each. Ctrl-C ends it."""
    for position, kind, data in running_server(server).events(after):
        click.echo(msgspec.json.encode({"id": position, "type": kind, "data": data}).decode())

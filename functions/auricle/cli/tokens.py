"""`auricle tokens`: personal API tokens."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from auricle.cli.client import Server
from auricle.cli.servers import running_server, server_options
from auricle.contract.choices import SCOPES


@click.group()
def tokens() -> None:
    """List, make and revoke API tokens."""


@tokens.command("list")
@server_options
def list_tokens(server: Server | None) -> None:
    """Your tokens; their secrets are told only once, when they are made."""
    table = Table("id", "name", "ends in", "scopes", "last use", "expires", box=None)
    for token in running_server(server).pages("/api/tokens"):
        scopes = ", ".join(token["scopes"]) or "all"
        used, ends = token["last_used_at"] or "never", token["expires_at"] or "never"
        table.add_row(token["id"], token["name"], token["hint"], scopes, used, ends)
    Console().print(table)


@tokens.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="What it may do. Default: all you may.")
@click.option("--days", type=float, help="Days until it expires. Default: never.")
@server_options
def create(server: Server | None, name: str, scopes: tuple[str, ...], days: float | None) -> None:
    """Make a token and print its secret, this once."""
    body = {"name": name, "scopes": list(scopes), "expires_in_days": days}
    click.echo(running_server(server).call("POST", "/api/tokens", body)["token"])


@tokens.command()
@click.argument("token_id")
@server_options
def revoke(server: Server | None, token_id: str) -> None:
    """End a token at once."""
    running_server(server).call("DELETE", f"/api/tokens/{token_id}")
    click.echo("It is revoked.")

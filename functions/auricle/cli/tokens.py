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
        scopes = ", ".join(token["scopes"])
        used, ends = token["last_used_at"] or "never", token["expires_at"] or "never"
        table.add_row(token["id"], token["name"], token["hint"], scopes, used, ends)
    Console().print(table)


@tokens.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="What it may do. Default: all you may.")
@click.option("--days", type=float, help="Days until it expires. Default: never.")
@click.option("--email", prompt=True, help="Whose it shall be: no token makes another, a person does.")
@click.password_option(confirmation_prompt=False, envvar="AURICLE_PASSWORD", help="Asked for when it is not given.")
@server_options
def create(server: Server | None, name: str, scopes: tuple[str, ...], days: float | None, email: str, password: str) -> None:
    """Sign in, make a token and print its secret, this once."""
    body = {"name": name, "scopes": list(scopes), "expires_in_days": days}
    person = running_server(server).signed_in(email, password, asked_code)
    click.echo(person.call("POST", "/api/tokens", body)["token"])


def asked_code() -> str:
    """The second factor's code, asked for at the terminal."""
    code: str = click.prompt("Code of the authenticator app, or a backup code", hide_input=True, err=True)
    return code


@tokens.command()
@click.argument("token_id")
@server_options
def revoke(server: Server | None, token_id: str) -> None:
    """End a token at once."""
    running_server(server).call("DELETE", f"/api/tokens/{token_id}")
    click.echo("It is revoked.")

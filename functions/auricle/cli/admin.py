"""`auricle admin`: accounts, over the HTTP interface as an administrator, or with `--here` in the data folder itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table

from auricle.cli.client import Server
from auricle.cli.place import data_option
from auricle.cli.servers import running_server, server_options
from auricle.cli.tokens import asked_code

ROLES = ("owner", "admin", "auditor", "member", "guest")


@click.group()
def admin() -> None:
    """Make, inspect and help accounts.

    Who administers signs in (--by), since no token may. An owner who cannot sign in any more uses --here on the machine
    that holds the data: `auricle admin reset-password --here ada@example.org`.
    """


def administering(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--by EMAIL`, whose password is asked for; the command gets `server`, signed in as them."""

    @click.option("--by", "by", metavar="EMAIL", help="The administrator that signs in. Asked for when it is not given.")
    @click.option("--password", envvar="AURICLE_PASSWORD", help="Theirs. Asked for when it is not given.")
    @server_options
    @functools.wraps(command)
    def wrapped(*arguments: Any, server: Server | None, by: str | None, password: str | None, **more: Any) -> Any:
        here = more.get("here", False)
        return command(*arguments, server=None if here else _signed_in(server, by, password), **more)

    return wrapped


def reachable(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `administering`, or with `--here` and `--data` in the folder of a vault on this machine, without any sign-in."""
    here = click.option("--here", is_flag=True, help="Work on the data folder itself, whether the host runs or not.")
    return here(data_option(administering(command)))


@admin.command("create-user")
@click.argument("email")
@click.option("--name", required=True, help="What they are called.")
@click.option("--role", type=click.Choice(ROLES), default="member", show_default=True)
@click.option("--letter/--no-letter", default=True, help="Mail a link to set a password by, or print a password to tell them.")
@administering
def create_user(server: Server, email: str, name: str, role: str, letter: bool) -> None:
    """Make an account for somebody."""
    made = server.call("POST", "/api/users", {"email": email, "display_name": name, "role": role, "letter": letter})
    click.echo(f"The account {made['user']['id']} is made.", err=True)
    _told(made["password"])


@admin.command()
@click.argument("email", required=False)
@reachable
def inspect(server: Server | None, data: Path, here: bool, email: str | None) -> None:
    """Everybody's account and its state; of one person also factors and sessions."""
    if email is None:
        _list(_people_here(data) if here else _pages(server, "/api/users"))
    elif here:
        with _vault(data) as vault:
            user, factors, sessions = vault.details(email)
        _list([_row(user)])
        click.echo(f"Second factors: {', '.join(factors) or 'none'}")
        _list_sessions((s.client.device, s.client.place, s.began, s.seen) for s in sessions)
    else:
        user = _found(server, email)
        _list([user])
        sessions = _pages(server, f"/api/users/{user['id']}/sessions")
        _list_sessions((s["device"], s["place"], s["began_at"], s["seen_at"]) for s in sessions)


@admin.command("reset-password")
@click.argument("email")
@click.option("--letter", is_flag=True, help="Mail a link instead of printing a password. Not with --here.")
@reachable
def reset_password(server: Server | None, data: Path, here: bool, email: str, letter: bool) -> None:
    """Give somebody another password, which they must change; their sessions end."""
    if here and letter:
        raise click.UsageError("With --here the password is printed: leave --letter out.")
    if here:
        with _vault(data) as vault:
            password = vault.new_password(email)
    else:
        user = _found(server, email)
        password = _api(server, "POST", f"/api/users/{user['id']}/password-reset", {"letter": letter})["password"]
    _told(password)


@admin.command("reset-mfa")
@click.argument("email")
@reachable
def reset_mfa(server: Server | None, data: Path, here: bool, email: str) -> None:
    """Take the second factors of somebody who has lost them."""
    if here:
        with _vault(data) as vault:
            vault.reset_factors(email)
    else:
        _api(server, "DELETE", f"/api/users/{_found(server, email)['id']}/mfa")
    click.echo("Their second factors are gone, and their sessions have ended.")


@admin.command()
@click.argument("email")
@reachable
def unlock(server: Server | None, data: Path, here: bool, email: str) -> None:
    """Let somebody sign in who was locked out for guessing."""
    if here:
        with _vault(data) as vault:
            vault.unlock(email)
    else:
        _api(server, "POST", f"/api/users/{_found(server, email)['id']}/unlock")
    click.echo("They can sign in again.")


def _signed_in(server: Server | None, by: str | None, password: str | None) -> Server:
    found = running_server(server)
    email = by or click.prompt("Your e-mail address", err=True)
    return found.signed_in(email, password or click.prompt("Password", hide_input=True, err=True), asked_code)


def _api(server: Server | None, method: str, path: str, body: Any = None) -> Any:
    assert server is not None  # there is one unless --here was said
    return server.call(method, path, body)


def _pages(server: Server | None, path: str, **query: Any) -> Iterator[dict[str, Any]]:
    assert server is not None  # there is one unless --here was said
    return server.pages(path, **query)


def _found(server: Server | None, email: str) -> dict[str, Any]:
    wanted = email.strip().casefold()
    for user in _pages(server, "/api/users", search=email.strip()):
        if (user["email"] or "").casefold() == wanted:
            return user
    raise click.ClickException(f"Nobody here has the address {email}. `auricle admin inspect` lists everybody.")


def _vault(data: Path) -> Any:
    from auricle.runtime.local.administering import opened
    from auricle.runtime.settings import settings

    return opened(data, settings())


def _people_here(data: Path) -> list[dict[str, Any]]:
    with _vault(data) as vault:
        return [_row(user) for user in vault.everybody()]


def _row(user: Any) -> dict[str, Any]:
    import msgspec

    row: dict[str, Any] = msgspec.to_builtins(user)
    return row


def _list(users: Any) -> None:
    """Addresses whole, since that is what the other commands take."""
    table = Table(Column("address", no_wrap=True), "name", "role", "state", "password", "last use", "expires", box=None)
    for user in users:
        password = "must change" if user["must_change_password"] else "yes" if user["has_password"] else "none"
        last, ends = (str(user["seen_at"] or "never")[:10], str(user["expires_at"] or "never")[:10])
        table.add_row(user["email"] or "none", user["display_name"], user["role"], user["state"], password, last, ends)
    Console().print(table)


def _list_sessions(sessions: Any) -> None:
    table = Table("device", "from", "since", "last use", box=None)
    for device, place, since, seen in sessions:
        table.add_row(device, place, str(since)[:19], str(seen)[:19])
    Console().print(table if table.row_count else "Signed in nowhere.")


def _told(password: str | None) -> None:
    """A password goes alone to standard output, so that it can be piped; the rest beside it."""
    if password is None:
        click.echo("A letter with a link to set a password is on its way.", err=True)
        return
    click.echo("Tell them this password; it opens nothing but the choice of another one:", err=True)
    click.echo(password)

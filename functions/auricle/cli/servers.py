"""Which server a command talks to: `--server` and a token, or the one that runs here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from auricle.cli.client import Server
from auricle.runtime.local import hostfile
from auricle.runtime.settings import default_data_dir


def default_data() -> Path:
    """Where `auricle up` keeps its data when nobody says otherwise."""
    return default_data_dir()


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--server URL --token TOKEN`; the command gets `server`, or None when neither is given."""

    @click.option("--server", "server_url", envvar="AURICLE_SERVER", help="Address of a server, such as https://vault.example.")
    @click.option("--token", envvar="AURICLE_TOKEN", help="Token for it. Default: the owner's, when it runs here.")
    @functools.wraps(command)
    def wrapped(*arguments: Any, server_url: str | None, token: str | None, **more: Any) -> Any:
        server = None
        if server_url:
            server = Server(server_url, token or _owner_token(default_data()))
        return command(*arguments, server=server, **more)

    return wrapped


def running_server(server: Server | None, data: Path | None = None) -> Server:
    """The named server, else the one that `auricle up` runs here."""
    if server is not None:
        return server
    folder = data or default_data()
    try:
        host = hostfile.read(folder)
    except OSError:
        host = None
    if host is None:
        raise click.ClickException("No Auricle runs here. Start one with `auricle up`, or name one with --server.")
    return Server(host.url, _owner_token(folder))


def _owner_token(folder: Path) -> str:
    try:
        return (folder / "owner-token").read_text().strip()
    except OSError:
        raise click.ClickException("Give a token: --token aur_… or AURICLE_TOKEN. `POST /api/tokens` makes one.") from None

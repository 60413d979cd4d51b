"""`auricle down`: stop the embedded host from another terminal."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import click

from auricle.cli.place import data_option
from auricle.runtime.local.hostfile import holder

SECONDS = 15.0
"""The host takes 5 s at most; a swapping machine a little longer."""


@click.command()
@data_option
def down(data: Path) -> None:
    """Stop the Auricle that runs on this data. What is being worked on goes on at the next start."""
    pid = holder(data)
    if not pid:
        click.echo(f"No Auricle runs on {data}.")
        return
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise click.ClickException(f"Process {pid} belongs to somebody else. Stop it as that user.") from None
    except ProcessLookupError:
        pass  # it has just gone
    until = time.monotonic() + SECONDS
    while holder(data) == pid:
        if time.monotonic() > until:
            raise click.ClickException(
                f"Process {pid} did not stop within {SECONDS:.0f} s. Its log: {data / 'logs' / 'host.log'}"
            )
        time.sleep(0.05)
    click.echo("Auricle has stopped.")

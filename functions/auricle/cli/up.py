"""`auricle up`: run the embedded host in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import msgspec

from auricle.cli.place import data_option
from auricle.runtime.local.up import Options


@click.command()
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Port of the web address.")
@data_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 lets others in.")
@click.option("--isolate", is_flag=True, help="Run each function in a functions-framework process of its own, as on Knative.")
@click.option("--chaos", default="", hidden=True, help="Repeat and reorder deliveries, for tests: dup=0.1,reorder=0.1,seed=7")
def up(port: int, data: Path, host: str, isolate: bool, chaos: str) -> None:
    """Run Auricle here until Ctrl-C: database, broker, functions, all in one folder.

    The first start makes the database, the owner and a token. Set DATABASE_URL to use a PostgreSQL of your own, S3_ENDPOINT
    and its companions to keep files in an object store.
    """
    options = Options(data=str(data), port=port, host=host, isolate=isolate, chaos=chaos)
    command = [sys.executable, "-m", "auricle.runtime.local.up", msgspec.json.encode(options).decode()]
    os.execv(command[0], command)  # noqa: S606 - becomes the supervisor, which is smaller without a command line

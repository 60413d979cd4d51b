"""`auricle functions`: every function there is."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The whole catalogue.")
def functions(as_json: bool) -> None:
    """List the functions: what each hears or serves, where it runs, which secrets it gets."""
    from auricle.deploy.catalogue import catalogue

    entries = catalogue()
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(entries), indent=2).decode())
        return
    table = Table("function", "kind", "image", "scale", "hears or serves", "secrets", box=None)
    for entry in entries:
        heard = ", ".join(f"{k}={v}" for k, v in (entry.filter or {}).items()) or f"{len(entry.paths)} paths"
        table.add_row(entry.name, entry.kind, entry.image, entry.scale, heard, ", ".join(entry.secrets) or "none")
    Console().print(table)

"""`auricle migrate`: bring the database to the newest schema, without serving anything."""

from __future__ import annotations

from pathlib import Path

import click

from auricle.cli.place import data_option


@click.command()
@data_option
def migrate(data: Path) -> None:
    """Migrate the database of DATABASE_URL, else the one in --data. `auricle up` does this by itself at every start."""
    from auricle.runtime.local.migrating import migrate_embedded, migrate_given
    from auricle.runtime.settings import settings

    url = settings().database_url
    revision = migrate_given(url) if url else migrate_embedded(data)
    click.echo(f"The database is at revision {revision}.")

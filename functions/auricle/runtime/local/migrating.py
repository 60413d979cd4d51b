"""Migrating without serving: somebody's own database, or the embedded one while the host is stopped."""

from __future__ import annotations

import time
from pathlib import Path

from auricle.runtime.database import migrate
from auricle.runtime.local import mounts
from auricle.runtime.local.addresses import driver_named
from auricle.runtime.local.errors import CannotStart
from auricle.runtime.local.hostfile import Lock
from auricle.runtime.local.postgres import Postgres
from auricle.runtime.local.roles import ensure_database
from auricle.runtime.local.stepwords import DATABASE, LOGINS, OWNER

START_SECONDS = 600.0
"""Recovery after a crash may take minutes on a slow disk."""


def migrate_given(url: str) -> str:
    """Bring the database at `url` to the newest schema; returns the revision."""
    return migrate(driver_named(url))


def migrate_embedded(data: Path) -> str:
    """The same for the database in `data`, which runs only for that. A running host has migrated already: it is refused."""
    mounts.refuse_unfit(data)
    mounts.make_private(data)
    with Lock(data):
        postgres = Postgres(data)
        postgres.prepare()
        with (data / "logs" / "database.log").open("ab") as log:
            process = postgres.spawn(log)
        try:
            until = time.monotonic() + START_SECONDS
            while not postgres.ready(process):
                if process.poll() is not None or time.monotonic() > until:
                    raise CannotStart(f"The database does not start. Its log says why: {data / 'logs' / 'database.log'}")
                time.sleep(0.02)
            ensure_database(postgres.superuser_url, DATABASE, {role: postgres.keys[role] for role in (OWNER, *LOGINS)})
            return migrate(postgres.url(OWNER, DATABASE))
        finally:
            postgres.stop(process)
            postgres.forget_sockets()

"""What a new installation's jobs do in the database besides migrating: rights, turns, and words for what is not made yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, exc, text

from auricle.errors import Retryable
from auricle.runtime.database import Database, engine_for, sqlstate, translated

MIGRATING = 7001
"""The lock of migrations (`schema/env.py`): no two change rights or tables at once."""
OWNING = 7002
APP = "coalesce(nullif(current_setting('auricle.functions', true), ''), 'auricle_app')"
"""The functions' role. On a server that many tenants share it is each tenant's own, and the database says which."""
GRANTS = (
    "grant usage on schema public to {app}",
    "grant select, insert, update, delete on all tables in schema public to {app}",
    "grant usage, select on all sequences in schema public to {app}",
    "revoke insert, update, delete on alembic_version from {app}",
)
"""What functions may: rows, and to look which schema they meet. `{app}`: their role."""
AUDIT_GRANTS = (
    "revoke all on audit_events, audit_links, audit_head, audit_anchors from {app}",
    "grant select, insert on audit_events to {app}",
    "grant select on audit_links, audit_head, audit_anchors to {app}",
    "grant execute on function audit_anchor(date, text, text, boolean), audit_prune(date) to {app}",
)
"""Of the audit trail less: it grows, and only its own functions shorten it."""
CONTRACTED = ("revoke insert, update, delete on alembic_contractions from {app}",)
NOT_YET = {
    "28P01": "The database refuses the name or the password: compare the Secret with the server's roles.",
    "28000": "The database does not let this role in from here: look at pg_hba.conf and the server's roles.",
    "3D000": "The server has no database of this name yet: make it, or correct the URL.",
}
"""SQLSTATE → what is said while somebody may still make it."""


def grant_rows(owner_url: str) -> None:
    """Rows to the functions' role. Migrations grant too; this is for a role that was made after them."""
    database = Database(engine_for(owner_url, 1))
    try:
        with database.work() as connection:
            take_turns(connection, MIGRATING)
            app = connection.execute(text(f"select quote_ident(rolname) from pg_roles where rolname = {APP}")).scalar()  # noqa: S608
            if not app:
                raise Retryable("The database has no role auricle_app yet: make it (manifests/components/postgres/roles.sql).")
            audited = connection.execute(text("select to_regclass('audit_events') is not null")).scalar_one()
            contracted = connection.execute(text("select to_regclass('alembic_contractions') is not null")).scalar_one()
            more = (*(AUDIT_GRANTS if audited else ()), *(CONTRACTED if contracted else ()))
            for statement in (*GRANTS, *more):
                connection.execute(text(statement.format(app=app)))
    finally:
        database.close()


def take_turns(connection: Connection, lock: int = OWNING) -> None:
    """Wait until nobody else holds `lock`; it is held until the transaction ends, which is fine behind pgbouncer."""
    connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": lock})


@contextmanager
def waited_for() -> Iterator[None]:
    """Errors that go away once somebody has made a role, a password or the database are `Retryable`, and say so."""
    try:
        with translated():
            yield
    except (exc.DBAPIError, Retryable) as error:
        cause = error.__cause__ if isinstance(error, Retryable) else error
        what = NOT_YET.get(sqlstate(cause)) if cause else None
        if what is None:
            raise
        raise Retryable(what) from error

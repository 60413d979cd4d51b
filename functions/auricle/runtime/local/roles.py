"""What a fresh database server needs before the first migration: a database, the roles, the vector extension."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, unquote, urlsplit

from pg8000.native import Connection, identifier, literal

from auricle.runtime.local.stepwords import GROUP, LOGINS, OWNER


def ensure_database(superuser_url: str, name: str, passwords: Mapping[str, str]) -> None:
    """Bring the server to the state that migrations expect; whatever is there already stays.

    `auricle_migrate` owns the database `name` and alters; `auricle_app` is the group that reads and writes rows, with two
    logins; `passwords` has one for each of the three that log in. Raises pg8000's errors.
    """
    with _connect(superuser_url, None) as server:
        _ensure_roles(server, passwords)
        if not server.run("select 1 from pg_database where datname = :name", name=name):
            server.run(f"create database {identifier(name)} owner {OWNER}")
        server.run(f"revoke all on database {identifier(name)} from public")
        server.run(f"grant connect on database {identifier(name)} to {GROUP}")
    with _connect(superuser_url, name) as database:
        database.run("create extension if not exists vector")


def _ensure_roles(server: Connection, passwords: Mapping[str, str]) -> None:
    known = {row[0] for row in server.run("select rolname from pg_roles")}
    if GROUP not in known:
        server.run(f"create role {GROUP} nologin")
    for role in (OWNER, *LOGINS):
        if role not in known:
            server.run(f"create role {identifier(role)} login")
        server.run(f"alter role {identifier(role)} login password {literal(passwords[role])}")
    for role in LOGINS:
        server.run(f"grant {GROUP} to {identifier(role)}")


def _connect(url: str, database: str | None) -> Connection:
    parts = urlsplit(url)
    socket = parse_qs(parts.query).get("unix_sock")
    return Connection(
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=database or unquote(parts.path.lstrip("/")),
        host=parts.hostname or "localhost",
        port=parts.port or 5432,
        unix_sock=socket[0] if socket else None,
        ssl_context=False,
    )

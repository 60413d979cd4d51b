"""Tenants on one real PostgreSQL: what they may, what they see, what they cannot do to each other, and being killed."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pg8000.exceptions import DatabaseError
from pg8000.native import Connection

from auricle.errors import Permanent, Retryable
from auricle.runtime.database import migrate
from auricle.runtime.grants import grant_rows
from auricle.runtime.local.account import programs_for
from auricle_operator.adapters.postgres import PostgresDatabases
from auricle_operator.adapters.postgres.names import POOLER, names_of
from auricle_operator.adapters.postgres.sessions import sqlstate
from auricle_operator.outside import Login
from auricle_operator.settings import Settings
from builders.postgres_server import Server
from builders.tenant_databases import POOLER_PASSWORD, PostgresSite, run

PASSWORD = "a password of the tests"


@pytest.fixture
def opened(postgres: PostgresSite, tenant: str) -> str:
    """A tenant with all its logins."""
    run(postgres.databases.ensure(tenant))
    for login in Login:
        run(postgres.databases.admit(tenant, login, PASSWORD))
    return tenant


@pytest.fixture
def migrated(postgres: PostgresSite, opened: str) -> str:
    """The same with a schema, as the job makes it."""
    migrate(postgres.owner_url(opened, PASSWORD))
    grant_rows(postgres.owner_url(opened, PASSWORD))
    return opened


def refused(session: Connection, *statements: str) -> list[str]:
    """Those that the server refuses for want of a right."""
    found = []
    for statement in statements:
        try:
            session.run(statement)
        except DatabaseError as error:
            if sqlstate(error) in ("42501", "2BP01"):
                found.append(statement)
    return found


# What they may.


def test_functions_use_rows_and_jobs_alter_tables(postgres: PostgresSite, migrated: str) -> None:
    with postgres.session(migrated, Login.B, PASSWORD) as functions:
        functions.run("insert into principals (id, kind, name) values (:id, 'person', 'somebody')", id=str(uuid4()))
        assert functions.run("select name from principals where name = 'somebody'") == [["somebody"]]
        bad = ["create table t ()", "drop table principals", "alter table principals add x int", "delete from audit_events",
               "update alembic_version set version_num = '0'", "create temp table t ()", "create schema mine"]  # fmt: skip
        assert refused(functions, *bad) == bad
    with postgres.session(migrated, Login.OWNER, PASSWORD) as jobs:
        jobs.run("alter table principals add column x int")
        jobs.run("select '[1,2]'::public.vector")


@pytest.mark.parametrize("login", list(Login))
def test_nobody_has_a_right_over_the_server_or_the_database_itself(postgres: PostgresSite, opened: str, login: Login) -> None:
    names = names_of(opened, "tenant_")
    with postgres.session(opened, login, PASSWORD) as session:
        bad = [
            "create database mine",
            "create role mine",
            f"drop database {names.database}",
            f"alter database {names.database} rename to theirs",
            f"alter database {names.database} connection limit -1",
            f"alter role {names.meter} superuser",
            f"alter role {names.login(login)} createrole",
            f"alter role {names.login(login)} reset temp_file_limit",
            "drop schema public cascade",
            "drop extension vector",
            "select rolpassword from pg_authid",
            "select pg_read_file('postgresql.conf')",
            "copy (select 1) to program 'true'",
            "select * from pooler.login('x')",
            f"set role {POOLER}",
            "set role postgres",
        ]
        assert refused(session, *bad) == bad
        session.run(f"grant connect on database {names.database} to public")  # a warning, and nothing else
    with postgres.superuser() as server:
        assert server.run("select has_database_privilege('public', :name, 'CONNECT')", name=names.database) == [[False]]


@pytest.mark.parametrize("login", list(Login))
def test_the_servers_own_databases_are_closed(postgres: PostgresSite, opened: str, login: Login) -> None:
    for name in ("postgres", "template1", "template0"):
        with pytest.raises(DatabaseError), postgres.session(opened, login, PASSWORD, raw=name):
            pass


def test_a_house_on_the_same_server_stays_closed_to_tenants(postgres: PostgresSite, server: Server, opened: str) -> None:
    house = server.new_database()  # whose group auricle_app may connect
    for login in Login:
        with pytest.raises(DatabaseError), postgres.session(opened, login, PASSWORD, raw=house):
            pass


def test_sessions_of_functions_are_bounded(postgres: PostgresSite, opened: str) -> None:
    with postgres.session(opened, Login.A, PASSWORD) as session:
        shown = {row[0]: row[1] for row in session.run("select name, setting from pg_settings")}
    assert (shown["statement_timeout"], shown["idle_in_transaction_session_timeout"]) == ("300000", "15000")
    assert shown["temp_file_limit"] == "2097152"
    with postgres.superuser() as server:
        assert server.run("select datconnlimit from pg_database where datname = :name",
                          name=names_of(opened, "tenant_").database) == [[40]]  # fmt: skip


# Passwords.


def test_open_sessions_of_a_shut_login_end_and_others_stay(postgres: PostgresSite, opened: str) -> None:
    with postgres.session(opened, Login.A, PASSWORD) as old, postgres.session(opened, Login.B, PASSWORD) as new:
        run(postgres.databases.shut(opened, Login.A))
        with pytest.raises(Exception, match=r"57P01|network error"):
            old.run("select 1")
        assert new.run("select 1") == [[1]]


def test_no_password_reaches_the_servers_log(postgres: PostgresSite, server: Server, opened: str) -> None:
    with postgres.superuser() as session:
        session.run("alter system set log_statement = 'all'")
        session.run("select pg_reload_conf()")
        session.run("select pg_sleep(0.3)")
        run(postgres.databases.admit(opened, Login.A, "a most secret word"))
        session.run("alter system reset log_statement")
        session.run("select pg_reload_conf()")
    said = (server.postgres.directory / "postgres.log").read_text()
    assert "login password 'SCRAM-SHA-256$4096:" in said
    assert "a most secret word" not in said


def test_a_password_that_holds_is_not_written_again(postgres: PostgresSite, opened: str) -> None:
    """A pooler keeps keys made with its salt."""
    query = "select rolpassword from pg_authid where rolname = :role"
    role = names_of(opened, "tenant_").login(Login.A)
    with postgres.superuser() as session:
        before = session.run(query, role=role)
        run(postgres.databases.admit(opened, Login.A, PASSWORD))
        assert session.run(query, role=role) == before
        run(postgres.databases.admit(opened, Login.A, PASSWORD + "!"))
        assert session.run(query, role=role) != before


def test_the_pooler_is_told_this_tenants_functions_and_nobody_else(postgres: PostgresSite, opened: str, other: str) -> None:
    run(postgres.databases.ensure(other))
    run(postgres.databases.admit(other, Login.A, PASSWORD))
    names, others = names_of(opened, "tenant_"), names_of(other, "tenant_")
    with postgres.as_role(POOLER, POOLER_PASSWORD, names.database) as session:

        def told(role: str) -> int:
            return len(session.run("select * from pooler.login(:role)", role=role))

        assert [told(role) for role in names.pooled] == [1, 1]
        assert [told(role) for role in (names.owner, names.meter, *others.roles, "postgres", POOLER)] == [0] * 9
        assert refused(session, "select rolpassword from pg_authid", "create table public.t ()") != []
    run(postgres.databases.shut(opened, Login.A))
    with postgres.as_role(POOLER, POOLER_PASSWORD, names.database) as session:
        assert told(names.login(Login.A)) == 0


# Dumps.


def test_an_owners_dump_is_put_back_by_the_owner(postgres: PostgresSite, migrated: str, tmp_path: Path) -> None:
    """What the operator made itself (`pooler`, the extension) is there already, and nobody else's to make."""
    names = names_of(migrated, "tenant_")
    programs = programs_for(None)

    def with_dump(program: str, *words: str) -> None:
        place = ["-h", str(postgres.server.postgres.sockets), "-U", names.owner]
        done = subprocess.run(
            [programs / program, *place, *words], env={"PGPASSWORD": PASSWORD}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    with postgres.session(migrated, Login.A, PASSWORD) as functions:
        functions.run("insert into principals (id, kind, name) values (:id, 'person', 'kept')", id=str(uuid4()))
    with_dump("pg_dump", "--format=custom", "--no-owner", f"--file={tmp_path}/dump", names.database)
    run(postgres.databases.drop(migrated))
    run(postgres.databases.ensure(migrated))
    for login in Login:
        run(postgres.databases.admit(migrated, login, PASSWORD))
    with_dump("pg_restore", "--schema=public", "--no-owner", "--no-comments", "-d", names.database, f"{tmp_path}/dump")
    with postgres.session(migrated, Login.B, PASSWORD) as functions:
        assert functions.run("select name from principals where name = 'kept'") == [["kept"]]


# Measures.


def a_transcription(session: Connection, seconds: float, began: datetime) -> None:
    session.run("insert into transcriptions (run_id, seconds, began_at) values (:run, :seconds, :began)",
                run=str(uuid4()), seconds=seconds, began=began)  # fmt: skip


def test_minutes_of_this_month_are_counted(postgres: PostgresSite, migrated: str) -> None:
    assert run(postgres.databases.minutes_this_month(migrated)) == 0
    now = datetime.now(UTC)
    with postgres.session(migrated, Login.A, PASSWORD) as session:
        a_transcription(session, 600.0, now)
        a_transcription(session, 1.0, now.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
        a_transcription(session, 6000.0, now.replace(year=now.year - 1))
    assert run(postgres.databases.minutes_this_month(migrated)) == 11
    assert (run(postgres.databases.bytes_used(migrated)) or 0) > 8_000_000


def test_a_table_that_is_a_trap_does_not_catch_the_operator(postgres: PostgresSite, migrated: str) -> None:
    names = names_of(migrated, "tenant_")
    with postgres.session(migrated, Login.OWNER, PASSWORD) as owner:
        owner.run("alter table transcriptions rename to true_transcriptions")
        owner.run(
            "create function spring() returns float language plpgsql as $$ begin reset role; "
            "raise exception 'caught % (%)', session_user, current_setting('is_superuser'); end $$"
        )
        owner.run("create view transcriptions as select public.spring() as seconds, now() as began_at")
        owner.run(f"grant select on transcriptions to {names.group}")
    with pytest.raises(Permanent, match=rf"caught {names.meter} \(off\)"):
        run(postgres.databases.minutes_this_month(migrated))


# Being killed, being many, being mended.


class Killed(BaseException):
    """What a kill looks like to whoever waits."""


def one_step(act: Callable[[], None]) -> bool:
    """`act` is killed once it has changed one thing; False when there was nothing left to change."""
    changes, real = count(), Connection.run

    def dying(self: Connection, sql: str, *args: object, **values: object) -> object:
        if sql.split()[0] not in ("select", "set") and next(changes):
            raise Killed
        return real(self, sql, *args, **values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "run", dying)
        with contextlib.suppress(Killed):
            act()
    return next(changes) > 0


def shape(site: PostgresSite, tenant: str) -> list[list[object]]:
    """Roles, memberships, rights and function of a tenant, as they are."""
    names = names_of(tenant, "tenant_")
    with site.superuser() as server:
        seen = server.run("select rolname, rolcanlogin, array(select unnest(rolconfig) order by 1), rolsuper from pg_roles where rolname = any(:r) order by 1",
                          r=list(names.roles))  # fmt: skip
        seen += server.run(
            "select datallowconn, datconnlimit, datacl::text from pg_database where datname = :n", n=names.database
        )
        seen += server.run("select g.rolname, m.rolname from pg_auth_members a join pg_roles g on g.oid = roleid join pg_roles m "
                           "on m.oid = member where m.rolname = any(:r) order by 1, 2", r=list(names.roles))  # fmt: skip
    if not any(len(row) == 3 for row in seen):
        return seen
    with site.superuser(names.database) as inside:
        seen += inside.run("select extname from pg_extension order by 1")
        seen += inside.run("select nspname, nspacl::text from pg_namespace where nspname in ('public', 'pooler') order by 1")
        seen += inside.run("select proname, proacl::text, prosrc from pg_proc where proname = 'login'")
    return [[str(cell) if cell is not None else None for cell in row] for row in seen]


def test_an_ensure_that_is_killed_after_each_change_gets_there(postgres: PostgresSite, tenant: str, other: str) -> None:
    """And nobody enters what is not finished."""
    run(postgres.databases.ensure(other))
    names, others = names_of(tenant, "tenant_"), names_of(other, "tenant_")
    query = "select datallowconn and has_database_privilege('public', oid, 'CONNECT') from pg_database where datname = :n"
    open_to_all: list[list[object]] = []
    steps = 0
    while one_step(lambda: run(postgres.databases.ensure(tenant))):
        with postgres.superuser() as server:
            open_to_all += server.run(query, n=names.database)
        steps += 1
        assert steps < 60
    assert steps > 20
    assert open_to_all
    assert not any(row[0] for row in open_to_all)
    wanted, found = ([[str(cell).replace(n.database, "T") for cell in row] for row in shape(postgres, t)]
                     for n, t in ((others, other), (names, tenant)))  # fmt: skip
    assert found == wanted


def test_a_drop_that_is_killed_after_each_change_gets_there(postgres: PostgresSite, opened: str) -> None:
    steps = 0
    while one_step(lambda: run(postgres.databases.drop(opened))):
        steps += 1
        assert steps < 60
    assert steps > 5
    assert shape(postgres, opened) == []


def test_what_somebody_spoiled_is_mended(postgres: PostgresSite, opened: str) -> None:
    names, before = names_of(opened, "tenant_"), shape(postgres, opened)
    with postgres.superuser(names.database) as server:
        for statement in (
            f"grant connect, temporary on database {names.database} to public",
            f"alter role {names.login(Login.A)} superuser",
            f"alter role {names.login(Login.A)} set statement_timeout = 0",
            f"grant pg_read_all_data to {names.login(Login.B)}",
            f"alter database {names.database} connection limit -1",
            "drop schema pooler cascade",
            "grant create on schema public to public",
            "drop extension vector",
        ):
            server.run(statement)
    assert shape(postgres, opened) != before
    run(postgres.databases.ensure(opened))
    assert shape(postgres, opened) == before


def test_to_ensure_what_is_there_writes_nothing(postgres: PostgresSite, opened: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    real = Connection.run
    monkeypatch.setattr(Connection, "run", lambda self, sql, *a, **v: said.append(sql) or real(self, sql, *a, **v))
    run(postgres.databases.ensure(opened))
    assert all(sql.split()[0] in ("select", "set") for sql in said)
    assert len(said) <= 10


def test_many_tenants_are_made_at_once(postgres: PostgresSite, tenant: str) -> None:
    names = [f"{tenant}-{number}" for number in range(6)]

    async def all_at_once() -> None:
        await asyncio.gather(*(postgres.databases.ensure(name) for name in names for _ in range(2)))
        await asyncio.gather(*(postgres.databases.admit(name, Login.A, PASSWORD) for name in names))

    run(all_at_once())
    assert all(postgres.enters(name, Login.A, PASSWORD) for name in names)
    assert not postgres.enters(names[0], Login.A, PASSWORD, names[1])

    async def none() -> None:
        await asyncio.gather(*(postgres.databases.drop(name) for name in names for _ in range(2)))

    run(none())


# Errors.


def test_a_server_that_is_away_is_waited_for() -> None:
    gone = PostgresDatabases(Settings(database_url="postgresql+pg8000://postgres:x@127.0.0.1:1/postgres"))
    with pytest.raises(Retryable, match="cannot be reached"):
        run(gone.ensure("acme"))
    gone.close()


def test_a_wrong_password_of_the_operator_is_said_without_saying_it(postgres: PostgresSite) -> None:
    address = postgres.settings.database_url.replace(postgres.server.postgres.keys["postgres"], "not-the-password")
    wrong = PostgresDatabases(Settings(database_url=address))
    with pytest.raises(Permanent, match="AURICLE_OPERATOR_DATABASE_URL") as caught:
        run(wrong.ensure("acme"))
    assert "not-the-password" not in str(caught.value)
    wrong.close()


TENANT = st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?\Z")


@settings(max_examples=50)
@given(TENANT, TENANT)
def test_no_two_tenants_share_a_name(one: str, two: str) -> None:
    first, second = names_of(one, "tenant_"), names_of(two, "tenant_")
    if one != two:
        assert not {first.database} & {second.database}
        assert not set(first.roles) & set(second.roles)
    assert all(len(role) <= 63 for role in first.roles)


@pytest.mark.parametrize("one", ["x", "x-a", "x-b", "x-owner", "x-app", "x-meter"])
@pytest.mark.parametrize("two", ["x-a-a", "x-a-b", "x-a-app", "x-app-a", "x-owner-a", "x-a-owner", "x-meter-app"])
def test_names_that_look_like_others_roles_are_nobody_elses(one: str, two: str) -> None:
    assert not set(names_of(one, "tenant_").roles) & set(names_of(two, "tenant_").roles)


def test_a_name_that_cannot_be_a_databases_is_refused() -> None:
    for tenant, prefix in (("a_b", "tenant_"), ("x" * 40, "a_rather_long_prefix_")):
        with pytest.raises(Permanent, match="No database"):
            names_of(tenant, prefix)


def test_what_a_restore_left_beside_a_database_goes_with_its_tenant(postgres: PostgresSite, migrated: str) -> None:
    names = names_of(migrated, "tenant_")
    copy = f"before_{uuid4().hex[:12]}"
    with postgres.superuser() as server:
        server.run(f"alter database {names.database} rename to {copy}")
    run(postgres.databases.ensure(migrated))
    run(postgres.databases.drop(migrated))
    with postgres.superuser() as server:
        left = server.run("select datname from pg_database where datname in (:copy, :name)", copy=copy, name=names.database)
        assert left == []
        assert server.run("select rolname from pg_roles where rolname like :like", like=f"{names.database}%") == []

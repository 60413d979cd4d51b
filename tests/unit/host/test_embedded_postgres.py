"""The embedded PostgreSQL survives what happens to servers on laptops."""

from __future__ import annotations

import fcntl
import os
import pwd
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from auricle.runtime.local import account
from auricle.runtime.local.errors import CannotStart
from auricle.runtime.local.keys import Keys
from auricle.runtime.local.postgres import MAX_SOCKET_PATH, SOCKET_NAME, Postgres
from builders.postgres_server import Server, running, wait_ready


def answer(url: str, sql: str) -> object:
    """The one value that `sql` gives; None when it gives no rows."""
    engine = create_engine(url, connect_args={"ssl_context": False})
    try:
        with engine.begin() as connection:
            result = connection.execute(text(sql))
            return result.scalar() if result.returns_rows else None
    finally:
        engine.dispose()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server of this test's own, to be mistreated; durable in what matters here (its files outlive its process)."""
    with running(tmp_path) as server:
        yield server


def test_owner_of_a_fresh_database_creates_tables_and_uses_vectors(database_url: str) -> None:
    answer(database_url, "create table place (id int, at vector(2))")
    answer(database_url, "insert into place values (1, '[1,2]')")
    assert answer(database_url, "select at <-> '[1,4]'::vector from place") == 2.0


def test_an_app_login_sees_nothing_that_migrations_did_not_grant(database_url: str, app_database_url: str) -> None:
    answer(database_url, "create table closed (id int)")
    with pytest.raises(DBAPIError, match="permission denied"):
        answer(app_database_url, "select * from closed")
    answer(database_url, "grant select on closed to auricle_app")
    assert answer(app_database_url, "select count(*) from closed") == 0


def test_text_is_compared_in_utf8_whatever_the_machine_speaks(database_url: str) -> None:
    assert answer(database_url, "select upper('žluťoučký')") == "ŽLUŤOUČKÝ"
    assert answer(database_url, "show timezone") == "UTC"


def test_a_wrong_password_and_tcp_are_refused(postgres_server: Server, database_url: str) -> None:
    password = postgres_server.postgres.keys["auricle_migrate"]
    with pytest.raises(DBAPIError):  # the server says why, and may have closed the line before that is read
        answer(database_url.replace(password, "0" * 64), "select 1")
    assert psutil.Process(postgres_server.process.pid).net_connections("tcp") == []


def test_making_the_database_again_changes_nothing(postgres_server: Server, database_name: str, database_url: str) -> None:
    from auricle.runtime.local.roles import ensure_database

    answer(database_url, "create table kept (id int)")
    ensure_database(postgres_server.postgres.superuser_url, database_name, postgres_server.passwords)
    assert answer(database_url, "select count(*) from kept") == 0


def test_the_server_does_not_run_as_root_and_its_folder_is_private(postgres_server: Server) -> None:
    assert psutil.Process(postgres_server.process.pid).uids().effective != 0
    assert stat.S_IMODE(postgres_server.postgres.cluster.stat().st_mode) == 0o700
    assert stat.S_IMODE(postgres_server.postgres.sockets.stat().st_mode) == 0o700
    assert stat.S_IMODE(postgres_server.postgres.keys.path.stat().st_mode) == 0o600


def test_folders_above_the_data_keep_their_mode_and_owner(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    data = closed / "data"
    data.mkdir(parents=True, mode=0o700)
    closed.chmod(0o700)
    before = [(p.stat().st_mode, p.stat().st_uid) for p in (tmp_path, closed, data)]
    with running(data) as server:
        assert answer(server.postgres.superuser_url, "select 1") == 1
        assert [(p.stat().st_mode, p.stat().st_uid) for p in (tmp_path, closed, data)] == before


def test_a_killed_server_comes_back_with_what_was_committed(own: Server) -> None:
    answer(own.postgres.superuser_url, "create table kept as select generate_series(1, 1000) as n")
    own.process.kill()
    own.process.wait(10)
    with (own.postgres.directory / "again.log").open("ab") as log:
        own.postgres.prepare()
        process = own.postgres.spawn(log)
    try:
        wait_ready(own.postgres, process)
        assert answer(own.postgres.superuser_url, "select count(*) from kept") == 1000
    finally:
        own.postgres.stop(process)


def test_a_server_left_by_a_killed_host_is_ended_before_the_next_start(own: Server) -> None:
    answer(own.postgres.superuser_url, "create table kept (id int)")
    next_host = Postgres(own.postgres.directory, durable=False)
    next_host.prepare()
    process = next_host.spawn(subprocess.DEVNULL)
    try:
        assert own.process.wait(10) == 0
        wait_ready(next_host, process)
        assert answer(next_host.superuser_url, "select count(*) from kept") == 0
    finally:
        next_host.stop(process)


def test_a_process_id_that_is_somebody_elses_now_is_left_alone(own: Server) -> None:
    own.postgres.stop(own.process)
    stale = own.postgres.cluster / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{own.postgres.cluster}\n1\n5432\n\n\n\nready\n")
    process = own.postgres.spawn(subprocess.DEVNULL)
    try:
        wait_ready(own.postgres, process)
    finally:
        own.postgres.stop(process)


def test_stopping_a_server_that_hangs_takes_seconds_not_minutes(own: Server) -> None:
    os.kill(own.process.pid, signal.SIGSTOP)
    own.postgres.stop(own.process)
    assert own.process.poll() is not None


def test_a_database_of_another_major_version_is_refused_untouched(tmp_path: Path) -> None:
    cluster = tmp_path / "postgres"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("16\n")
    with pytest.raises(CannotStart, match="written by PostgreSQL 16"):
        Postgres(tmp_path).prepare()
    assert [p.name for p in cluster.iterdir()] == ["PG_VERSION"]


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(CannotStart, match="holds no database"):
        Postgres(tmp_path).prepare()


def test_an_interrupted_first_start_is_begun_anew(tmp_path: Path) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with running(tmp_path) as server:
        assert answer(server.postgres.superuser_url, "select 1") == 1
    assert not half.exists()


def test_a_folder_with_an_awkward_name_works(tmp_path: Path) -> None:
    data = tmp_path / 'a, b "c" %41'
    data.mkdir()
    with running(data) as server:
        assert answer(server.postgres.superuser_url, "select 1") == 1


def test_the_sockets_address_fits_however_deep_the_data_lies(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    assert len(os.fsencode(Postgres(deep).sockets / SOCKET_NAME)) <= MAX_SOCKET_PATH
    assert Postgres(deep).sockets != Postgres(tmp_path).sockets


def test_passwords_stay_the_same_and_a_damaged_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first = Keys(path)["postgres"]
    assert Keys(path)["postgres"] == first
    assert Keys(path)["other"] != first
    path.write_text("{")
    with pytest.raises(CannotStart, match="damaged"):
        Keys(path)["postgres"]
    assert path.read_text() == "{"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs programs under another account")
def test_programs_out_of_the_accounts_reach_are_copied_to_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_server: Server
) -> None:
    monkeypatch.setattr(account, "PROGRAM_CACHE", Path("/var/tmp") / f"auricle-test-{os.getpid()}")
    package = tmp_path / account.WHEEL
    wheel = postgres_server.postgres.programs.parent.parent
    package.symlink_to(wheel)
    package.with_name(f"{account.WHEEL}.libs").symlink_to(wheel.with_name(f"{account.WHEEL}.libs"))
    runner = account.account_for(postgres_server.postgres.cluster)
    assert runner is not None
    try:
        assert not account._runs(package / account.INSTALL / "bin", runner)
        programs = account._copied(package, runner)
        assert programs.is_relative_to(account.PROGRAM_CACHE)
        assert account._copied(package, runner) == programs
    finally:
        import shutil

        shutil.rmtree(account.PROGRAM_CACHE, ignore_errors=True)


FIRST_NEED = """
import sys
from pathlib import Path
from auricle.runtime.local import account
account.SYSTEM_USER = sys.argv[1]
sys.stdin.read()
print(account.account_for(Path(sys.argv[2])))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes accounts")
def test_two_first_starts_at_once_get_the_same_account(tmp_path: Path) -> None:
    name = f"auricle-{os.getpid()}"
    command = [sys.executable, "-c", FIRST_NEED, name, str(tmp_path / "none")]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for process in both:
            assert process.stdin
            process.stdin.close()
        told = {process.stdout.read() for process in both if process.stdout}
        assert [process.wait(60) for process in both] == [0, 0]
        entry = pwd.getpwnam(name)
        assert told == {f"{account.Account(entry.pw_uid, entry.pw_gid)}\n"}
    finally:
        with account.MAKING_ACCOUNT.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            subprocess.run(["userdel", name], check=False)

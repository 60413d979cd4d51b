"""The whole embedded host: it starts, survives, stops, and goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from auricle.runtime.local import hostfile
from auricle.runtime.local.addresses import claimed
from auricle.runtime.settings import child_environment
from builders.postgres_server import Server

pytestmark = pytest.mark.timeout(240)


class Host:
    """An `auricle up` in a process of its own."""

    def __init__(self, data: Path, *options: str, database_url: str = "") -> None:
        """Start it on a free port; it logs beside its data."""
        with claimed("127.0.0.1", 0) as free:
            self.port = free.getsockname()[1]
        self.data = data
        self.said = data.parent / f"{data.name}.said"
        command = [sys.executable, "-m", "auricle.cli", "up", "--port", str(self.port), "--data", str(data), *options]
        with self.said.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=child_environment({"DATABASE_URL": database_url})
            )

    def file(self) -> hostfile.HostFile:
        """What it says of itself; fails when it is not ready."""
        found = hostfile.read(self.data)
        assert found is not None
        assert found.ready
        return found

    def ready(self) -> bool:
        """Whether it is up; an assertion fails when it has ended instead."""
        assert self.process.poll() is None, self.said.read_text()
        found = hostfile.read(self.data)
        return found is not None and found.ready

    def pids(self) -> dict[str, int]:
        """Its processes by name."""
        return {p.name: p.pid for p in self.file().processes}

    def everybody(self) -> list[psutil.Process]:
        """All its processes, the smallest too."""
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]

    def health(self) -> dict[str, Any]:
        """`GET /health`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=30) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def healthy(self) -> bool:
        """Whether all is well; not while something is away."""
        try:
            return self.health()["status"] == "ok"
        except OSError:
            return False

    def token(self) -> str:
        """The owner's token."""
        return (self.data / "owner-token").read_text().strip()

    def posted(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        """The answer to `body`."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def got(self, path: str) -> dict[str, Any]:
        """What is there for everybody."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def knows(self, token: str, path: str = "/api/tokens") -> bool:
        """Whether it lets `token` in."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bool(answer.status == 200)


def eventually(true: Callable[[], bool], seconds: float = 90.0) -> None:
    """Wait until `true` is."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"not true within {seconds} s"
        time.sleep(0.05)


def gone(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs any more."""
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


@contextmanager
def up(data: Path, *options: str, database_url: str = "") -> Iterator[Host]:
    """A host that is ready, and gone afterwards."""
    host = Host(data, *options, database_url=database_url)
    try:
        eventually(host.ready)
        yield host
    finally:
        if host.process.poll() is None:
            host.process.send_signal(signal.SIGTERM)
        host.process.wait(30)


def auricle(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One command."""
    return subprocess.run(
        [sys.executable, "-m", "auricle.cli", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One host for the tests that leave it alive."""
    with up(tmp_path_factory.mktemp("host") / "data") as running:
        yield running


def test_the_first_start_says_where_everything_is_and_is_healthy(host: Host) -> None:
    said = host.said.read_text()
    assert f"http://127.0.0.1:{host.port}" in said
    assert f"{host.data / 'owner-token'} (made just now)" in said
    assert (host.data / "owner-token").stat().st_mode & 0o777 == 0o600
    assert host.token().startswith("aur_")
    assert host.knows(host.token())
    eventually(host.healthy)


def test_no_worker_lives_while_there_is_nothing_to_do(host: Host) -> None:
    names = [" ".join(p.cmdline()) for p in host.everybody()]
    assert not any("auricle.runtime.local.worker" in name for name in names)
    assert set(host.pids()) == {"database", "broker", "gateway"}


@pytest.mark.parametrize("name", ["gateway", "broker", "database"])
def test_a_killed_process_comes_back(host: Host, name: str) -> None:
    before = host.pids()[name]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: host.pids().get(name, before) != before)
    eventually(host.healthy)
    assert f"the {name} was ended by SIGKILL; started again" in host.said.read_text()


def test_status_shows_it_to_people_and_programs(host: Host) -> None:
    people = auricle("status", "--data", str(host.data))
    assert people.returncode == 0, people.stderr
    assert all(word in people.stdout for word in ("database", "broker", "gateway", str(host.port)))
    programs = json.loads(auricle("status", "--data", str(host.data), "--json").stdout)
    assert programs["url"] == f"http://127.0.0.1:{host.port}"
    assert {p["name"] for p in programs["processes"]} == {"supervisor", "database", "broker", "gateway"}
    assert all(p["memory_bytes"] > 2**20 for p in programs["processes"])
    assert {pool["name"] for pool in programs["pools"]} == {"api", "media", "transcribe", "diarize", "cluster"}
    assert programs["queued"] == 0


def test_the_doctor_finds_it_well(host: Host) -> None:
    done = auricle("doctor", "--data", str(host.data), "--port", str(host.port), "--json")
    found = {f["name"]: f for f in json.loads(done.stdout)}
    assert done.returncode == 0, found
    assert "schema" in found["database"]["text"]
    assert str(host.port) in found["port"]["text"]


def test_a_second_host_on_the_same_data_or_port_is_refused(host: Host, tmp_path: Path) -> None:
    same = auricle("up", "--data", str(host.data))
    assert same.returncode == 1
    assert "already running" in same.stderr
    taken = auricle("up", "--data", str(tmp_path / "other"), "--port", str(host.port))
    assert taken.returncode == 1
    assert f"Port {host.port} " in taken.stderr
    assert not (tmp_path / "other" / "postgres").exists()


def test_ctrl_c_leaves_nothing_running_and_the_next_start_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with up(data) as first:
        token, everybody = first.token(), first.everybody()
        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(20) == 0
        assert gone(everybody)
        assert hostfile.read(data) is None
    assert auricle("status", "--data", str(data)).returncode == 1
    with up(data) as second:
        assert second.token() == token
        assert second.knows(token)
        everybody = second.everybody()
        second.process.kill()  # now the hard way
        eventually(lambda: gone(everybody))
    with up(data) as third:
        assert third.knows(token)
        everybody = third.everybody()
        down = auricle("down", "--data", str(data))
        assert down.returncode == 0, down.stderr
        assert third.process.wait(20) == 0
        assert gone(everybody)
    assert "No Auricle runs" in auricle("down", "--data", str(data)).stdout


def test_isolated_the_first_owner_signs_in_by_the_code_that_the_host_says_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with up(data, "--isolate") as host:
        code = (data / "setup-code").read_text()
        eventually(lambda: code in host.said.read_text())
        owner = {"email": "ada@vault.example", "password": "Brass lantern over 4 quiet waters"}
        made = host.posted("/api/setup", {**owner, "code": code, "display_name": "Ada"})
        # Another process, which has public keys only, believes what identity signed.
        assert host.knows(made["access_token"], "/api/files")
        signing = {name for name, env in environments(host).items() if "SIGNING_KEYS_FILE" in env}
        verifying = {name for name, env in environments(host).items() if "JWKS_FILE" in env}
        assert signing == {"identity"}
        assert {"identity", "files"} <= verifying
        (key,) = host.got("/.well-known/jwks.json")["keys"]
        host.process.send_signal(signal.SIGINT)
        assert host.process.wait(20) == 0
    host.said.unlink()
    with up(data) as again:
        assert again.knows(again.posted("/api/session", owner)["access_token"], "/api/files")
        assert again.got("/.well-known/jwks.json")["keys"] == [key]
        assert code not in again.said.read_text()


def environments(host: Host) -> dict[str, dict[str, str]]:
    """What each function's own processes were started with."""
    found = {}
    for process in host.everybody():
        if "auricle.runtime.local.isolated" in " ".join(process.cmdline()):
            found[process.environ()["AURICLE_FUNCTION"]] = process.environ()
    return found


def test_isolated_functions_are_woken_by_the_first_request(tmp_path: Path) -> None:
    with up(tmp_path / "data", "--isolate") as host:
        assert not any("auricle.runtime.local.isolated" in " ".join(p.cmdline()) for p in host.everybody())
        assert host.knows(host.token())
        eventually(host.healthy)
        everybody = host.everybody()
        assert any("auricle.runtime.local.isolated" in " ".join(p.cmdline()) for p in everybody)
        host.process.send_signal(signal.SIGINT)
        assert host.process.wait(20) == 0
        assert gone(everybody)


def test_with_a_database_of_ones_own_none_is_embedded(tmp_path: Path, postgres_server: Server) -> None:
    url = postgres_server.owner_url(postgres_server.new_database()).replace("postgresql+pg8000", "postgresql")
    with up(tmp_path / "data", database_url=url) as host:
        assert set(host.pids()) == {"broker", "gateway"}
        assert host.file().database == "yours"
        assert host.knows(host.token())
        eventually(host.healthy)
        assert not (tmp_path / "data" / "postgres").exists()


def test_a_database_that_does_not_answer_is_said(tmp_path: Path) -> None:
    host = Host(tmp_path / "data", database_url=f"postgresql://me:hidden@/x?unix_sock={tmp_path}/none")
    assert host.process.wait(60) == 1
    assert "Check DATABASE_URL" in host.said.read_text()
    assert "hidden" not in host.said.read_text()


def test_migrating_makes_and_updates_the_database_but_not_under_a_running_host(tmp_path: Path, host: Host) -> None:
    first, second = (auricle("migrate", "--data", str(tmp_path / "data")) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert "is at revision" in first.stdout
    assert second.stdout == first.stdout
    busy = auricle("migrate", "--data", str(host.data))
    assert busy.returncode == 1
    assert "already running" in busy.stderr

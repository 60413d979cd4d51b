"""Full disks, databases that go away, and quiet hours: degrade, say so, recover; and let go of what nobody needs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import urllib3

import auricle_gpu
from auricle.cli.client import Server, ServerError
from auricle.cli.embedded import embedded_host
from auricle.cli.following import run_of_file

DEMO = Path(auricle_gpu.__file__).parent / "demo"
DISK_MB = 1600
"""More than what counts as a disk with room (1 GiB)."""


def finished(server: Server, file_id: str, seconds: float = 180) -> dict[str, Any]:
    end = time.monotonic() + seconds
    run = run_of_file(server, file_id)
    while run["state"] in ("queued", "running"):
        assert time.monotonic() < end, run
        time.sleep(0.5)
        run = server.call("GET", f"/api/runs/{run['id']}")
    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own that can be filled."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_what_was_sent_goes_on_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with embedded_host(small_disk / "data") as server:
        data = (DEMO / "meeting.flac").read_bytes()
        new = server.call("POST", "/api/uploads", {"name": "meeting.flac", "size": len(data)})
        free = shutil.disk_usage(small_disk).free
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - 257 * 2**20)  # a little above what uploads must leave free
        answer = urllib3.request("PUT", new["parts"][0]["url"], body=data, timeout=30, retries=False)
        assert answer.status == 503
        assert b"full" in answer.data or b"space" in answer.data
        health = server.call("GET", "/health")
        assert (health["status"], "free" in health["components"]["disk"]) == ("degraded", True)
        assert server.call("GET", f"/api/uploads/{new['id']}")["parts"] == []  # nothing half is there
        ballast.unlink()
        assert urllib3.request("PUT", new["parts"][0]["url"], body=data, timeout=30, retries=False).status < 300
        server.call("POST", f"/api/uploads/{new['id']}/complete")
        assert finished(server, new["file_id"])["state"] == "succeeded"


def test_while_the_database_is_away_the_host_says_so_and_then_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with embedded_host(data) as server:
        file = server.upload(DEMO / "meeting.flac", {"chunk_seconds": 15}, None, lambda done, size: None)
        run_of_file(server, file["id"])
        postmaster = _process(data, "postgres")
        postmaster.send_signal(signal.SIGQUIT)  # an immediate shutdown, as in an accident
        pool = urllib3.PoolManager(retries=False, timeout=20)
        said: list[str] = []
        end = time.monotonic() + 60
        while time.monotonic() < end and not ("degraded" in said and said[-1] == "ok"):
            answer = pool.request("GET", f"{server.url}health")
            assert answer.status == 200
            said.append(msgspec.json.decode(answer.data)["status"])
            time.sleep(0.02)
        assert "degraded" in said
        assert said[-1] == "ok"
        assert _patiently(lambda: finished(server, file["id"]))["state"] == "succeeded"


def test_a_minute_after_the_last_job_no_worker_lives_and_the_next_upload_wakes_them(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with embedded_host(data) as server:
        file = server.upload(DEMO / "meeting.flac", {"chunk_seconds": 60}, None, lambda done, size: None)
        assert finished(server, file["id"])["state"] == "succeeded"
        assert _workers(data)
        end = time.monotonic() + 75
        while _workers(data) and time.monotonic() < end:
            time.sleep(1)
        assert _workers(data) == []
        shown = subprocess.run(
            ["auricle", "status", "--data", str(data), "--json"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        pools = {p["name"]: p["workers"] for p in msgspec.json.decode(shown.stdout)["pools"]}
        assert pools["transcribe"] == pools["media"] == []
        again = server.upload(DEMO / "meeting.mp4", {"chunk_seconds": 60}, None, lambda done, size: None)
        assert finished(server, again["id"])["state"] == "succeeded"
        assert _workers(data)


def _supervisor(data: Path) -> psutil.Process:
    return psutil.Process(msgspec.json.decode((data / "run" / "host.json").read_bytes())["supervisor"])


def _process(data: Path, word: str) -> psutil.Process:
    return next(p for p in _supervisor(data).children() if word in " ".join(p.cmdline()))


def _workers(data: Path) -> list[int]:
    """Speech and media workers that are alive."""
    found = []
    for process in _supervisor(data).children(recursive=True):
        try:
            if "auricle.runtime.local.worker" in " ".join(process.cmdline()):
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def _patiently(act: Any) -> Any:
    end = time.monotonic() + 60
    while True:
        try:
            return act()
        except ServerError as error:
            if error.status not in (0, 503) or time.monotonic() > end:
                raise
            time.sleep(0.3)

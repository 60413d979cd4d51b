"""SIGKILL of any process at random moments, duplicated and reordered deliveries: the transcript is the same, byte for byte.

A pipeline of at least twelve chunks runs again and again on one host while its processes (workers, broker, gateway,
PostgreSQL and its backends) are killed at random moments, until there were a hundred kills. Each run must end as the
undisturbed one did, with no step done twice or lost.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from auricle.cli.client import Server, ServerError
from auricle.cli.embedded import embedded_host
from auricle.cli.following import run_of_file
from builders.recordings import looped_meeting

KILLS = 100
CHUNKS = 12
SEED = 20261121
PAUSE = (0.2, 3.0)
"""Seconds between two kills."""
PATIENCE = 420.0


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three minutes that are cut into at least twelve chunks."""
    return looped_meeting(tmp_path_factory.mktemp("chaos") / "long.flac", 180.0)


def uploaded(server: Server, path: Path) -> str:
    file = patiently(lambda: server.upload(path, {"chunk_seconds": 13}, None, lambda done, size: None))
    return str(file["id"])


def patiently(act: Any, seconds: float = 120.0) -> Any:
    """Do it again while the server is away: its processes are being killed."""
    end = time.monotonic() + seconds
    while True:
        try:
            return act()
        except ServerError as error:
            if error.status not in (0, 500, 502, 503) or time.monotonic() > end:
                raise
            time.sleep(0.3)


def state_of(server: Server, run_id: str) -> dict[str, Any]:
    return dict(patiently(lambda: server.call("GET", f"/api/runs/{run_id}")))


def finished(server: Server, run_id: str) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE
    while (run := state_of(server, run_id))["state"] in ("queued", "running"):
        assert time.monotonic() < end, run
        time.sleep(0.5)
    return run


def transcript_of(server: Server, file_id: str) -> bytes:
    return bytes(patiently(lambda: server.text(f"/api/files/{file_id}/transcript")))


def victims(data: Path) -> list[psutil.Process]:
    """Every process of the host but the one that holds it together."""
    host = msgspec.json.decode((data / "run" / "host.json").read_bytes())
    try:
        return psutil.Process(host["supervisor"]).children(recursive=True)
    except psutil.NoSuchProcess:
        raise AssertionError("the supervisor died, and nobody had killed it") from None


def kind_of(process: psutil.Process) -> str:
    """A word for the log: postgres, broker, gateway or a worker."""
    line = " ".join(process.cmdline())
    return next((word for word in ("postgres", "broker", "gateway", "worker") if word in line), line[-40:])


def kill_one(data: Path, chance: random.Random) -> str:
    """Kill somebody; says whom."""
    while True:
        try:
            by_kind: dict[str, list[psutil.Process]] = {}
            for process in sorted(victims(data), key=lambda p: p.pid):
                by_kind.setdefault(kind_of(process), []).append(process)
            kind = chance.choice(sorted(by_kind))  # the kind first: PostgreSQL has more processes than all others
            process = chance.choice(by_kind[kind])
            os.kill(process.pid, signal.SIGKILL)
        except (psutil.NoSuchProcess, ProcessLookupError, IndexError):
            time.sleep(0.05)
            continue
        return kind


def test_a_hundred_kills_change_nothing(recording: Path, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    killed: dict[str, int] = {}
    data = tmp_path / "data"
    with embedded_host(data, None, "--chaos", f"dup=0.1,reorder=0.1,seed={SEED}") as server:
        calm_file = uploaded(server, recording)
        calm = finished(server, run_of_file(server, calm_file)["id"])
        assert calm["state"] == "succeeded", calm
        expected = transcript_of(server, calm_file)
        runs = 0
        while sum(killed.values()) < KILLS:
            file_id = uploaded(server, recording)
            run_id = patiently(lambda file_id=file_id: run_of_file(server, file_id))["id"]
            while sum(killed.values()) < KILLS and state_of(server, run_id)["state"] in ("queued", "running"):
                kind = kill_one(data, chance)
                killed[kind] = killed.get(kind, 0) + 1
                time.sleep(chance.uniform(*PAUSE))
            run = finished(server, run_id)
            runs += 1
            assert run["state"] == "succeeded", run
            assert [(s["name"], s["state"], s["progress"]) for s in run["steps"]] == [
                (s["name"], s["state"], s["progress"]) for s in calm["steps"]
            ]
            assert transcript_of(server, file_id) == expected
            assert run["warnings"] == calm["warnings"]
            versions = patiently(lambda file_id=file_id: server.call("GET", f"/api/files/{file_id}/transcript"))["version"]
            assert versions == 1  # assembled once
            letters = patiently(lambda: server.call("GET", "/api/dead-letters", state="open"))["items"]
            assert letters == []
    print(f"\n{sum(killed.values())} kills over {runs} runs: {dict(sorted(killed.items()))}")
    assert killed.keys() >= {"postgres", "broker", "gateway", "worker"}


def test_the_chunks_are_many_enough(recording: Path) -> None:
    from auricle.adapters.media.pyav import PyAvReader

    chunks: list[int] = []
    with recording.open("rb") as source:
        PyAvReader().read(
            source, chunk_seconds=13, audio_track=None, deliver=lambda c: chunks.append(c.index), progress=lambda _: None
        )
    assert len(chunks) >= CHUNKS


def test_stopping_in_the_middle_and_starting_again_goes_on(recording: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with embedded_host(data) as server:
        file_id = uploaded(server, recording)
        run_id = run_of_file(server, file_id)["id"]
        end = time.monotonic() + 120
        while state_of(server, run_id)["steps"][1]["progress"] < 0.2:
            assert time.monotonic() < end
            time.sleep(0.2)
    with embedded_host(data) as server:
        run = finished(server, run_id)
        assert run["state"] == "succeeded", run

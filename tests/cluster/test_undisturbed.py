"""Pods killed, functions rolled, the broker and the database restarted: the transcript is the undisturbed one."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import urllib3

from auricle.cli.client import Server
from builders.recordings import looped_meeting
from cluster.deployment import Deployment, kubectl, until
from cluster.vault import finished, patiently, run_of, transcript, uploaded

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]
SEED = 20261121
CHUNK_SECONDS = 13
KILLS = 15


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three minutes: at least twelve chunks (tests/chaos counts them)."""
    return looped_meeting(tmp_path_factory.mktemp("lane") / "long.flac", 180.0)


@pytest.fixture(scope="module")
def calm(server: Server, recording: Path) -> tuple[bytes, dict[str, Any]]:
    """The transcript and the run when nobody disturbs."""
    file_id = uploaded(server, recording, chunk_seconds=CHUNK_SECONDS)
    run = finished(server, run_of(server, file_id))
    assert run["state"] == "succeeded", run
    return transcript(server, file_id), run


def outcome(run: dict[str, Any]) -> list[tuple[str, str, float]]:
    """What must be the same."""
    return [(s["name"], s["state"], s["progress"]) for s in run["steps"]]


def letters(server: Server) -> list[dict[str, Any]]:
    """Open dead letters; other tests leave some that they forged."""
    return list(patiently(lambda: server.call("GET", "/api/dead-letters", state="open"))["items"])


def same(server: Server, file_id: str, calm: tuple[bytes, dict[str, Any]]) -> None:
    """Assert that the file came out as undisturbed."""
    run = finished(server, run_of(server, file_id), 600)
    assert run["state"] == "succeeded", run
    assert outcome(run) == outcome(calm[1])
    assert transcript(server, file_id) == calm[0]
    assert [letter for letter in letters(server) if letter["run_id"] == run["id"]] == []


def test_pods_of_every_function_killed_at_random_change_nothing(
    auricle: Deployment, server: Server, recording: Path, calm: tuple[bytes, dict[str, Any]]
) -> None:
    chance, killed = random.Random(SEED), Counter[str]()
    file_id = uploaded(server, recording, chunk_seconds=CHUNK_SECONDS)
    run_id = run_of(server, file_id)
    while sum(killed.values()) < KILLS:
        if state_of(server, run_id) != "running":
            same(server, file_id, calm)
            file_id = uploaded(server, recording, chunk_seconds=CHUNK_SECONDS)
            run_id = run_of(server, file_id)
        alive = [p for p in auricle.pods() if "deletionTimestamp" not in p["metadata"]]
        if not alive:
            continue
        by_function: dict[str, list[str]] = {}
        for pod in alive:
            by_function.setdefault(pod["metadata"]["labels"]["serving.knative.dev/service"], []).append(pod["metadata"]["name"])
        function = chance.choice(sorted(by_function))
        auricle.kubectl(
            "delete", "pod", chance.choice(sorted(by_function[function])), "--force", "--grace-period=0", "--wait=false"
        )
        killed[function] += 1
        time.sleep(chance.uniform(0.5, 3))
    same(server, file_id, calm)
    print(f"\nkilled: {dict(sorted(killed.items()))}")
    assert len(killed) >= 4


def test_a_rolling_update_of_every_function_fails_no_request(auricle: Deployment, server: Server) -> None:
    """Steady requests while every function gets a new revision."""
    paths = ("/api/files", "/api/runs", "/api/openapi.json", "/health")  # not those that the gateway limits
    pool = urllib3.PoolManager(retries=False, timeout=60, ca_certs=str(auricle.authority))
    headers = {"Authorization": f"Bearer {auricle.token}"}
    stop, answers = threading.Event(), Counter[tuple[str, int]]()

    def ask(path: str) -> None:
        while not stop.is_set():
            try:
                status = pool.request("GET", auricle.url + path, headers=headers).status
            except urllib3.exceptions.HTTPError:
                status = 0
            answers[path, status] += 1
            time.sleep(0.1)

    threads = [threading.Thread(target=ask, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    try:
        mark = f"{time.time():.0f}"
        for name in auricle.services():
            patch = f'{{"spec":{{"template":{{"metadata":{{"annotations":{{"auricle.dev/rolled":"{mark}"}}}}}}}}}}'
            auricle.kubectl("patch", "ksvc", name, "--type=merge", "-p", patch)
        until("every function has its new revision", lambda: rolled(auricle, mark), 300, 1)
        time.sleep(5)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    print(f"\n{sum(answers.values())} requests: {dict(sorted(answers.items()))}")
    assert {status for _, status in answers} == {200}


def rolled(auricle: Deployment, mark: str) -> bool:
    """Whether the newest revision of every Service serves."""
    for service in auricle.get("services.serving.knative.dev"):
        status = service["status"]
        current = service["metadata"]["generation"] == status.get("observedGeneration")
        if not current or status.get("latestReadyRevisionName") != status.get("latestCreatedRevisionName"):
            return False
        assert service["spec"]["template"]["metadata"]["annotations"]["auricle.dev/rolled"] == mark
    return not auricle.unready()


def state_of(server: Server, run_id: str) -> str:
    """The run's state, as soon as somebody answers."""
    return str(patiently(lambda: server.call("GET", f"/api/runs/{run_id}"))["state"])


def transcribing(server: Server, run_id: str) -> bool:
    """Whether chunks are released."""
    steps = patiently(lambda: server.call("GET", f"/api/runs/{run_id}"))["steps"]
    return any(s["name"] == "transcribe" and s["state"] == "running" for s in steps)


def test_the_broker_killed_with_messages_queued_loses_none(
    auricle: Deployment, server: Server, recording: Path, calm: tuple[bytes, dict[str, Any]]
) -> None:
    file_id = uploaded(server, recording, chunk_seconds=CHUNK_SECONDS)
    run_id = run_of(server, file_id)
    until("chunks are queued", lambda: transcribing(server, run_id), 120, 0.2)
    kubectl("-n", "rabbitmq", "delete", "pod", "rabbit-server-0", "--force", "--grace-period=0", "--wait=false")
    same(server, file_id, calm)


def test_the_database_restarted_in_the_middle_changes_nothing(
    auricle: Deployment, server: Server, recording: Path, calm: tuple[bytes, dict[str, Any]]
) -> None:
    file_id = uploaded(server, recording, chunk_seconds=CHUNK_SECONDS)
    run_id = run_of(server, file_id)
    until("chunks are under way", lambda: transcribing(server, run_id), 120, 0.2)
    auricle.kubectl("delete", "pod", "postgres-0", "--force", "--grace-period=0", "--wait=false")
    same(server, file_id, calm)

"""Other tenants in the same cluster: whatever a pod elsewhere sends, no function acts.

Knative's data plane is shared, so anybody's pod reaches any function; the functions themselves have to refuse.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from auricle.cli.client import Server
from cluster import elsewhere
from cluster.deployment import Deployment, apply, kubectl
from cluster.elsewhere import Stranger
from cluster.vault import MEETING, finished, run_of, uploaded

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def neighbour() -> Iterator[Stranger]:
    """A pod of somebody else's, in a namespace of its own."""
    with elsewhere.neighbour("auricle-neighbour") as found:
        yield found


def send(who: Stranger, url: str, headers: dict[str, str], body: Any, method: str = "POST") -> int:
    """From the neighbour's pod; returns the status."""
    program = f"""
    import json, urllib3
    a = urllib3.request({method!r}, {url!r}, headers={headers!r}, body={json.dumps(body)!r}, timeout=60, retries=False)
    print(a.status)
    """
    return int(who.run(program, 90))


def event(kind: str, **extensions: str) -> dict[str, str]:
    """Headers of a CloudEvent that nobody signed."""
    found = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/auricle", "type": kind, **extensions}
    return {**{f"ce-{k}": v for k, v in found.items()}, "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def mine(auricle: Deployment, server: Server) -> dict[str, Any]:
    """A finished recording."""
    file_id = uploaded(server, MEETING)
    run = finished(server, run_of(server, file_id))
    assert run["state"] == "succeeded", run
    return {"file_id": file_id, "run_id": run["id"]}


@contextmanager
def opened(namespace: str, to: str) -> Iterator[None]:
    """The network's walls are down for that neighbour: what holds now holds without them."""
    whole = {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": to}}}]}
    apply(elsewhere.policy(namespace, "opened", policyTypes=["Ingress"], ingress=[whole]))
    try:
        yield
    finally:
        kubectl("-n", namespace, "delete", "networkpolicy", "opened")


def state(server: Server, mine: dict[str, Any]) -> tuple[Any, ...]:
    """Everything that a forged event might have changed."""
    file = server.call("GET", f"/api/files/{mine['file_id']}")
    runs = server.call("GET", "/api/runs", file_id=mine["file_id"])["items"]
    return file, [(r["id"], r["state"], r["steps"]) for r in runs]


def test_an_event_that_nobody_signed_changes_nothing(
    auricle: Deployment, server: Server, neighbour: Stranger, mine: dict[str, Any]
) -> None:
    before = state(server, mine)
    ids = {"run_id": mine["run_id"], "file_id": mine["file_id"]}
    forged: list[tuple[str, dict[str, str], dict[str, Any]]] = [
        ("advance", event("auricle.runs.run-requested.v1", concerns="run"), ids),
        ("advance", event("auricle.runs.cancel-requested.v1", concerns="run", sig="0" * 64), ids),
        ("erase", event("auricle.files.purged.v1"), {"file_id": mine["file_id"]}),
        ("erase", event("auricle.files.purged.v1", sig="f" * 64), {"file_id": mine["file_id"]}),
        ("export", event("auricle.runs.step-released.v1", work="export"), {**ids, "work": "export", "attempt": 9}),
        ("timers", event("dev.knative.sources.ping"), {"timers": ["forget", "sweep_runs"]}),
        ("timers", event("dev.knative.sources.ping", ticket="guess"), {"timers": ["forget"]}),
    ]
    for function, headers, body in forged:
        url = f"http://{function}.{auricle.namespace}.svc.cluster.local/events/{function}"
        assert send(neighbour, url, headers, body) in (204, 500, 503), function  # never an answer that says more
    assert state(server, mine) == before


def test_a_forged_event_in_the_broker_changes_nothing_either(
    auricle: Deployment, server: Server, neighbour: Stranger, mine: dict[str, Any]
) -> None:
    before = state(server, mine)
    url = f"http://default-broker-ingress.{auricle.namespace}.svc.cluster.local"
    with opened(auricle.namespace, neighbour.namespace):
        assert send(neighbour, url, event("auricle.files.purged.v1"), {"file_id": mine["file_id"]}) == 202
    auricle.empty()
    assert state(server, mine) == before


def test_a_speech_function_fetches_from_our_object_store_only(auricle: Deployment, server: Server, neighbour: Stranger) -> None:
    """It holds no key to know us by: it asks nobody else's address, and nobody believes its answer without our receipt."""
    data = {
        **{"run_id": str(uuid.uuid4()), "file_id": str(uuid.uuid4()), "work": "transcribe", "index": 0, "attempt": 1},
        **{"model": "whisper-demo", "start": 0.0, "end": 1.0, "audio_end": 1.0, "clips": [[0.0, 1.0]], "receipt": "none"},
        **dict.fromkeys(("audio_url", "result_get_url", "result_put_url"), "http://kubernetes.default.svc.cluster.local/"),
    }
    headers = event("auricle.speech.chunk-released.v1", work="transcribe", model="whisper-demo")
    url = f"http://transcribe.{auricle.namespace}.svc.cluster.local/events/transcribe"
    program = f"""
    import urllib3
    a = urllib3.request("POST", {url!r}, headers={headers!r}, body={json.dumps(data)!r}, timeout=90, retries=False)
    print(a.status, a.headers.get("ce-type"), a.data.decode())
    """
    status, kind, said = neighbour.run(program).split(" ", 2)
    assert (status, kind) == ("200", "auricle.speech.work-failed.v1")
    assert "OBJECT_ORIGINS" in said or "may not" in said, said


@pytest.mark.parametrize("way", ["ingress", "pod"])
def test_forged_headers_of_the_gateway_open_nothing(auricle: Deployment, server: Server, neighbour: Stranger, way: str) -> None:
    headers = {
        "X-Auricle-Client-Address": "127.0.0.1",
        "X-Auricle-Client-Certificate": "CN=owner",
        "X-Auricle-Client-Signature": "0" * 64,
        "X-Forwarded-For": "127.0.0.1",
    }
    name = f"files.{auricle.namespace}.svc.cluster.local"
    host = name
    if way == "pod":
        server.call("GET", "/api/files")  # so that there is a pod
        (pod, *_) = auricle.pods("serving.knative.dev/service=files")
        host = f"{pod['status']['podIP']}:8080"
    with opened(auricle.namespace, neighbour.namespace):
        assert send(neighbour, f"http://{host}/api/files", {**headers, "Host": name}, None, "GET") == 401


def test_a_notification_without_the_store_s_token_is_refused(auricle: Deployment, neighbour: Stranger) -> None:
    url = f"http://bucket-events.{auricle.namespace}.svc.cluster.local/api/bucket-events"
    assert send(neighbour, url, {"Content-Type": "application/json"}, {"Records": []}) in (401, 403)
    assert send(neighbour, url, {"Authorization": "Bearer guess", "Content-Type": "application/json"}, {"Records": []}) in (
        401,
        403,
    )


def pod_of(auricle: Deployment, selector: str) -> str:
    """The address of one of the vault's pods."""
    return str(auricle.pods(selector)[0]["status"]["podIP"])


def test_nobody_else_goes_round_the_ingress(auricle: Deployment, server: Server, neighbour: Stranger, walls_hold: None) -> None:
    """To the process behind queue-proxy, to the database, the object store, the broker."""
    server.call("GET", "/api/files")  # so that there is a pod
    files = pod_of(auricle, "serving.knative.dev/service=files")
    ends = {
        "function": (files, 8080),
        "queue-proxy": (files, 8012),
        "database": (pod_of(auricle, "app.kubernetes.io/name=postgres"), 5432),
        "object store": (pod_of(auricle, "app.kubernetes.io/name=object-store"), 9000),
        "broker": (f"default-broker-ingress.{auricle.namespace}.svc.cluster.local", 80),
        "ingress": (f"files.{auricle.namespace}.svc.cluster.local", 80),
    }
    assert neighbour.reaches(ends) == {"ingress"}
    with opened(auricle.namespace, neighbour.namespace):
        assert neighbour.reaches(ends) == set(ends)  # they were there all the time


def test_a_function_that_somebody_took_over_gets_nowhere(
    auricle: Deployment, server: Server, neighbour: Stranger, walls_hold: None
) -> None:
    """It reaches what it lives by: the database, the object store, the broker. No other pod."""
    labels = {"auricle.dev/function": "files", "auricle.dev/image": "api"}
    taken = elsewhere.begun(elsewhere.python_pod(auricle.namespace, "taken", labels))
    try:
        server.call("GET", "/api/files")
        allowed = {
            "database": ("postgres", 5432),
            "object store": ("object-store", 9000),
            "broker": ("default-broker-ingress", 80),
        }
        ends = {
            **allowed,
            "another function": (pod_of(auricle, "serving.knative.dev/service=files"), 8080),
            "its queue-proxy": (pod_of(auricle, "serving.knative.dev/service=files"), 8012),
            "the gateway": (pod_of(auricle, "app.kubernetes.io/name=gateway"), 8443),
            "somebody else": (neighbour.address, 8000),
            "the ingress": ("kourier-internal.kourier-system.svc.cluster.local", 80),
            "rabbitmq": ("rabbit.rabbitmq.svc.cluster.local", 5672),
        }
        assert taken.reaches(ends) == set(allowed)
    finally:
        kubectl("-n", auricle.namespace, "delete", "pod", "taken", "--wait=false")

"""Seeing it: a run tells what it waited for while everybody slept, and Prometheus sees functions without waking them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from auricle.cli.client import Server
from auricle.cli.coldness import seconds, words
from cluster.deployment import Deployment, Refused, fresh_folder, kubectl, objects, until
from cluster.elsewhere import Stranger, policy, python_pod, space
from cluster.vault import MEETING, finished, run_of, uploaded

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
SEEN = os.environ.get("AURICLE_SEEN_NAMESPACE", "auricle-mon")
"""A namespace of its own: METRICS_PORT is a setting, and a setting rolls every function of a deployment."""
PROMETHEUS, NEIGHBOUR = f"{SEEN}-prometheus", f"{SEEN}-neighbour"
PORT = 9095


@pytest.fixture(scope="module")
def woken(auricle: Deployment, server: Server) -> tuple[dict[str, Any], float, float]:
    """A run from zero; when its upload began and when it was seen to be over (seconds since the epoch)."""
    auricle.empty()
    began = time.time()
    run = finished(server, run_of(server, uploaded(server, MEETING)))
    assert run["state"] == "succeeded", run
    return run, began, time.time()


def told(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Every cold start that the run knows of."""
    return [*run["cold_starts"], *(one for step in run["steps"] for one in step["cold_starts"])]


def test_a_run_from_zero_tells_which_functions_it_woke(woken: tuple[dict[str, Any], float, float]) -> None:
    run, *_ = woken
    assert len({one["function"] for one in told(run)}) >= 3, told(run)
    assert {one["function"] for one in run["cold_starts"]} == {"advance"}  # the conductor's own
    for step in run["steps"]:
        assert {one["function"] for one in step["cold_starts"]} <= {step["name"]}, step


def test_phases_are_lengths_of_time_within_the_time_that_passed(woken: tuple[dict[str, Any], float, float]) -> None:
    run, began, over = woken
    for one in told(run):
        at = datetime.fromisoformat(one["at"]).timestamp()
        phases = seconds(one)
        assert all(value >= 0 for value in phases.values()), one
        assert {"scheduled", "image"} <= phases.keys(), f"a pod knows when it was bound and when its image was there: {one}"
        assert phases["process"] > 0, one
        assert phases["queued"] + phases["scheduled"] + phases["image"] + phases["process"] > 0.1, one
        # One node, so one clock; an event's time and the phases are rounded to milliseconds.
        assert at >= began - 0.1, one
        assert at + sum(phases.values()) <= over + 0.1, one


def test_runs_show_prints_them(auricle: Deployment, woken: tuple[dict[str, Any], float, float]) -> None:
    run, *_ = woken
    done = subprocess.run(
        [Path(sys.executable).parent / "auricle", "runs", "show", run["id"], "--server", auricle.url],
        env={**os.environ, "SSL_CERT_FILE": str(auricle.authority), "AURICLE_TOKEN": auricle.token, "COLUMNS": "250"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for one in told(run):
        assert one["function"] in done.stdout
        assert words(one) in done.stdout


@pytest.fixture(scope="module")
def seen(cluster: None) -> Iterator[Deployment]:
    """Of overlay `dev` with the monitoring component: the function `docs`, `figures`, and the network policies."""
    deployment = Deployment(namespace=SEEN, folder=fresh_folder(SEEN), components=("monitoring",))
    deployment._folder()
    every = [o for o in yaml.safe_load_all(kubectl("kustomize", str(deployment.folder))) if o]
    chosen = [o for o in every if o["kind"] in ("Namespace", "Secret", "ConfigMap", "NetworkPolicy")]
    chosen += [o for o in every if o["metadata"]["name"] in ("docs", "figures") and o["kind"] != "NetworkPolicy"]
    for pod_of in (PROMETHEUS, NEIGHBOUR):
        chosen += neighbour(pod_of, {"auricle.dev/monitoring": "true"} if pod_of == PROMETHEUS else {})
    spaces = [o for o in chosen if o["kind"] == "Namespace"]
    try:
        kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump_all(spaces))
        until("their accounts are made", lambda: all(_account(o["metadata"]["name"]) for o in spaces), 60)
        given = yaml.safe_dump_all([o for o in chosen if o["kind"] != "Namespace"])
        until("all is accepted", lambda: kubectl("apply", "--server-side", "-f", "-", given=given), 60, 3)
        kubectl("-n", SEEN, "wait", "ksvc/docs", "--for=condition=Ready", "--timeout=120s", timeout=130)
        kubectl("-n", SEEN, "rollout", "status", "deployment/figures", "--timeout=120s", timeout=130)
        for pod_of in (PROMETHEUS, NEIGHBOUR):
            kubectl("-n", pod_of, "wait", "pod/python", "--for=condition=Ready", "--timeout=60s", timeout=70)
        yield deployment
    finally:
        kubectl("-n", SEEN, "delete", "ksvc", "--all", "--ignore-not-found")
        kubectl("delete", "namespace", SEEN, PROMETHEUS, NEIGHBOUR, "--wait=false", "--ignore-not-found")


def _account(namespace: str) -> bool:
    return bool(objects("-n", namespace, "serviceaccount", "default"))


def neighbour(namespace: str, labels: dict[str, str]) -> list[dict[str, Any]]:
    """Another namespace, and a pod in it that has Python and that nobody may reach."""
    return [
        space(namespace, labels),
        python_pod(namespace, "python"),
        policy(namespace, "deny-all", policyTypes=["Ingress"]),
    ]


def fetched(namespace: str, url: str, patience: float = 60) -> str:
    """What a pod there gets from `url`; empty when nobody answers within `patience` seconds."""
    return Stranger(namespace, "python").fetched(url, patience)


def wake() -> str:
    """Ask `docs` as everybody may; gives its pod's address."""
    assert "openapi" in fetched(NEIGHBOUR, f"http://docs.{SEEN}.svc.cluster.local/api/openapi.json")
    return str(objects("-n", SEEN, "pods", "-l", "auricle.dev/function=docs")[0]["status"]["podIP"])


def test_prometheus_reads_what_a_function_counts(seen: Deployment) -> None:
    address = wake()
    counts = until("it is scraped", lambda: fetched(PROMETHEUS, f"http://{address}:{PORT}/metrics", 5), 30)
    assert 'auricle_http_requests_total{function="docs",method="GET",route="/api/openapi.json",status="200"} 1.0' in counts
    assert 'auricle_cold_starts_total{function="docs"} 1.0' in counts
    assert 'auricle_cold_start_seconds_count{function="docs",phase="image"} 1.0' in counts


def test_nobody_else_reads_them_and_prometheus_reaches_nothing_else(seen: Deployment, walls_hold: None) -> None:
    address = wake()
    assert fetched(NEIGHBOUR, f"http://{address}:{PORT}/metrics", 5) == ""
    assert fetched(PROMETHEUS, f"http://{address}:8080/healthz", 5) == ""
    assert fetched(NEIGHBOUR, f"http://figures.{SEEN}.svc.cluster.local:{PORT}/metrics", 5) == ""


def test_being_scraped_keeps_nobody_awake(seen: Deployment) -> None:
    address = wake()
    scrapes = 0

    def asleep() -> bool:
        nonlocal scrapes
        try:
            scrapes += bool(fetched(PROMETHEUS, f"http://{address}:{PORT}/metrics", 3))
        except Refused:
            return False
        return not seen.pods()

    until("docs is at zero pods while it is being scraped", asleep, 240, 1)
    assert scrapes > 3


def test_figures_says_that_its_database_is_away(seen: Deployment) -> None:
    url = f"http://figures.{SEEN}.svc.cluster.local:{PORT}/metrics"
    told = until("it is scraped", lambda: fetched(PROMETHEUS, url, 30), 60)
    assert "auricle_database_up 0.0" in told  # nobody has started one here

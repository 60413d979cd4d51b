"""One Auricle for the whole lane, in a namespace of its own; every test leaves it as it found it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from auricle.cli.client import Server
from cluster.deployment import CLUSTER_HOME, KUBECONFIG, Deployment, Refused, fresh_folder, kubectl, objects
from cluster.elsewhere import keeps_policies

NAMESPACE = os.environ.get("AURICLE_LANE_NAMESPACE", "auricle")
FIRST = (
    "recordings",
    "walls",
    "undisturbed",
    "admission",
    "platform",
    "tenants",
    "exchanges",
    "model_caches",
    "neighbours",
    "rights",
    "gpu",
    "many_tenants",
    "overlays",
)
"""Suites in the order of what they are worth, should time run out; the others follow. While `admission` writes what no operator
shall see, there is none. `platform` has the operator's namespace to itself, so it comes before those whose operator stays."""
OURS = KUBECONFIG.parent == CLUSTER_HOME
"""Whether the cluster is the one that make.sh makes."""
LAST = "broker_conformance"
"""It plays every rule on real brokers for a quarter of an hour, and what it found is kept: `make test` compares with that."""
UNTIL = float(os.environ.get("CLUSTER_UNTIL", "inf"))
"""Seconds since the epoch after which no test begins any more: a lane that says what it left out is better than one cut off."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What matters most first."""
    order = {f"test_{name}": place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order) + (item.path.stem == f"test_{LAST}")))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Stop in time."""
    if time.time() > UNTIL:
        pytest.skip("DID NOT RUN: the time that CLUSTER_UNTIL gives is over")


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say at once what failed, and when: a lane that is cut off has no summary."""
    if report.failed:
        now = time.strftime("%H:%M:%S", time.gmtime())
        print(
            f"\n{now} {report.nodeid} {report.when} failed after {report.duration:.0f} s\n{report.longreprtext[-4000:]}",
            flush=True,
        )


@pytest.fixture(scope="session", autouse=True)
def cluster() -> None:
    """The cluster answers, or there is nothing to test."""
    if not KUBECONFIG.exists():
        pytest.fail(f"There is no cluster ({KUBECONFIG} is missing). `make cluster` makes one.")
    kubectl("get", "--raw", "/readyz")


@pytest.fixture(scope="session")
def walls_hold(cluster: None) -> None:
    """The network keeps policies. The lane's own does; on another cluster what needs it is skipped."""
    if not keeps_policies():
        if OURS:
            pytest.fail(f"Nobody keeps network policies here: see {CLUSTER_HOME}/logs/walls.log.")
        pytest.skip("This cluster's network keeps no policies; `make test` evaluates ours instead.")


@pytest.fixture(scope="session")
def auricle(cluster: None) -> Iterator[Deployment]:
    """Overlay `dev`, Ready. KEEP=1 leaves it there, to look around or to measure, and takes up what it left."""
    deployment = Deployment(namespace=NAMESPACE, folder=fresh_folder(NAMESPACE))
    keep = os.environ.get("KEEP") == "1"
    there = _exists(NAMESPACE)
    if not (keep and there and deployment.find()):
        if there:
            deployment.down()
        deployment.up()
    yield deployment
    if not keep:
        deployment.retire()  # the next run waits for the end of it, nobody else does


def _exists(namespace: str) -> bool:
    try:
        return bool(objects("namespace", namespace))
    except Refused:
        return False


@pytest.fixture(scope="session")
def server(auricle: Deployment) -> Server:
    """The vault as its owner reaches it: by the gateway, over TLS, trusting the lane's authority."""
    os.environ["SSL_CERT_FILE"] = str(auricle.authority)
    return Server(auricle.url, auricle.token)

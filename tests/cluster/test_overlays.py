"""Our own overlays: they build, lint finds nothing in them, and the API server with Knative's webhooks accepts them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from auricle.cli.manifests import objects_of
from auricle.deploy.generated import MANIFESTS
from auricle.deploy.lint import facts_for, findings
from auricle.deploy.secretfiles import fill
from cluster.deployment import CLUSTER_HOME, Refused, kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
OVERLAYS = ("dev", "single-node", "cluster", "tenants")
FIRST = ("Namespace", "ServiceAccount", "ConfigMap", "Secret", "PriorityClass", "PersistentVolumeClaim")
"""What others refer to: a dry run makes nothing, and Knative's webhook looks for the accounts."""
REALLY = ("ServiceAccount", "PriorityClass")
NOT_HERE = ("cert-manager.io/v1", "monitoring.coreos.com/v1")
"""Kinds that this node does not have."""


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An overlay with secrets of its own."""
    monkeypatch.setenv("PATH", str(CLUSTER_HOME / "bin"), prepend=":")
    folder = MANIFESTS / "overlays" / str(request.param)
    fill(folder / "secrets")
    return folder


def test_lint_finds_nothing(overlay: Path) -> None:
    beneath = [*objects_of(MANIFESTS / "knative"), *objects_of(MANIFESTS / "components" / "rabbitmq" / "server")]
    assert [f.sentence for f in findings(objects_of(overlay), facts_for(overlay.name, beneath))] == []


@pytest.fixture
def namespace(overlay: Path) -> Iterator[str]:
    """Empty, with the accounts of the overlay."""
    name = f"auricle-dry-{overlay.name}"
    kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")
        kubectl("delete", "priorityclass", "-l", "app.kubernetes.io/part-of=auricle")


def test_everything_is_accepted_by_the_api_server_and_knative_s_webhooks(overlay: Path, namespace: str) -> None:
    found = [{**o, "metadata": {**o["metadata"], "namespace": namespace}} for o in objects_of(overlay)]
    made = [o for o in found if o["kind"] in REALLY]
    kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump_all(made))
    refused = [
        problem
        for item in found
        if item["apiVersion"] not in NOT_HERE and item["kind"] not in FIRST
        for problem in [dry_run(item)]
        if problem
    ]
    assert refused == []


def dry_run(item: dict[str, Any]) -> str:
    """What the API server says against an object, or nothing."""
    try:
        kubectl("apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-", given=yaml.safe_dump(item))
    except Refused as error:
        return f"{item['kind']}/{item['metadata']['name']}: {error}"
    return ""

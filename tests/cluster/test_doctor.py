"""`auricle doctor --cluster` on a real deployment: nothing to say while it is well; each thing that is really broken, named."""

from __future__ import annotations

import base64
import copy
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.deployment import KUBECONFIG, ROOT, Deployment, certificate_for, kubectl, objects, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
Found = list[dict[str, str]]
GIVEN_BY_THE_CLUSTER = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "ownerReferences")


def doctor(auricle: Deployment, kubeconfig: Path = KUBECONFIG) -> tuple[int, Found]:
    """Exit status and findings."""
    words = [ROOT / ".venv/bin/auricle", "doctor", "--cluster", "--namespace", auricle.namespace, "--json"]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def problems(auricle: Deployment) -> Found:
    """What it calls broken."""
    return [finding for finding in doctor(auricle)[1] if finding["grade"] == "problem"]


def said(auricle: Deployment, check: str, words: str) -> dict[str, str]:
    """Wait until a check says so; controllers take a moment to see what was done."""

    def found() -> dict[str, str]:
        return next((f for f in problems(auricle) if f["name"] == check and words in f["text"]), {})

    return dict(until(f"{check} says {words!r}", found, 90, 2))


@contextmanager
def without(auricle: Deployment, kind: str, name: str) -> Iterator[None]:
    """An object is deleted, and comes back as it was."""
    (kept,) = auricle.get(kind, name)
    kept.pop("status", None)
    for field in GIVEN_BY_THE_CLUSTER:
        kept["metadata"].pop(field, None)
    auricle.kubectl("delete", kind, name)
    try:
        yield
    finally:
        auricle.kubectl("create", "-f", "-", given=json.dumps(kept))


@contextmanager
def beside(auricle: Deployment, item: dict[str, Any]) -> Iterator[None]:
    """One object more."""
    given = copy.deepcopy(item)
    auricle.kubectl("apply", "-f", "-", given=yaml.safe_dump(given))
    try:
        yield
    finally:
        auricle.kubectl("delete", "--wait=true", "-f", "-", given=yaml.safe_dump(given))


@contextmanager
def secret_data(auricle: Deployment, name: str, **changes: str | None) -> Iterator[None]:
    """Other keys in a Secret; None takes one out."""
    (kept,) = auricle.get("secret", name)
    data = {key: value if value is None else base64.b64encode(value.encode()).decode() for key, value in changes.items()}
    auricle.kubectl("patch", "secret", name, "--type=merge", "-p", json.dumps({"data": data}))
    try:
        yield
    finally:
        auricle.kubectl("patch", "secret", name, "--type=merge", "-p", json.dumps({"data": kept["data"]}))


@pytest.fixture(scope="module", autouse=True)
def well(auricle: Deployment) -> Iterator[None]:
    """Well before, and well again when everything has been put back."""
    _until_well(auricle, "nothing is broken", 120)
    yield
    _until_well(auricle, "everything is put back", 180)


def _until_well(auricle: Deployment, what: str, seconds: float) -> None:
    """Wait until nothing is broken; what still is, is said."""
    found: Found = []

    def well() -> bool:
        found[:] = problems(auricle)
        return not found

    try:
        until(what, well, seconds, 2)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{json.dumps(found, indent=1)}") from None


def test_a_deployment_that_is_well_passes_every_check(auricle: Deployment) -> None:
    status, found = doctor(auricle)
    good = {f["name"] for f in found if f["grade"] == "ok"}

    assert status == 0, [f for f in found if f["grade"] == "problem"]
    assert {"functions", "services", "broker", "triggers", "schedules", "secrets", "certificate", "network", "clock"} <= good


def test_a_trigger_that_is_gone_is_named(auricle: Deployment) -> None:
    with without(auricle, "triggers.eventing.knative.dev", "export"):
        finding = said(auricle, "triggers", "No Trigger for export")

        assert "kubectl apply" in finding["remedy"]


def test_a_secret_that_lacks_a_key_is_named_and_no_value_is_shown(auricle: Deployment) -> None:
    value = auricle.secret("auricle-events", "EVENT_KEY")
    with secret_data(auricle, "auricle-events", EVENT_KEY=None):
        finding = said(auricle, "secrets", "auricle-events has no EVENT_KEY")
        everything = json.dumps(doctor(auricle)[1])

    assert "auricle manifests secrets" in finding["remedy"]
    assert value not in everything


def test_a_quota_that_is_used_up_is_named(auricle: Deployment) -> None:
    tiny = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tiny"}, "spec": {"hard": {"pods": "1"}}}
    with beside(auricle, tiny):
        finding = said(auricle, "quotas", "tiny is used up: pods")

        assert "describe quota tiny" in finding["remedy"]


def test_a_service_whose_image_is_not_there_is_named_and_so_is_a_function_that_nobody_knows(auricle: Deployment) -> None:
    (docs,) = auricle.get("services.serving.knative.dev", "docs")
    template = docs["spec"]["template"]
    container = template["spec"]["containers"][0]
    container["image"] = "dev.local/auricle-nothing:1"
    container["env"] = [{"name": "AURICLE_FUNCTION", "value": "summarise"}]
    template["metadata"]["annotations"]["autoscaling.knative.dev/initial-scale"] = "1"
    template["metadata"].pop("name", None)
    left = {
        "apiVersion": docs["apiVersion"],
        "kind": docs["kind"],
        "metadata": {"name": "left-over", "labels": docs["metadata"]["labels"]},
        "spec": {"template": template},
    }
    with beside(auricle, left):
        said(auricle, "functions", "Service left-over runs 'summarise'")
        finding = said(auricle, "services", "left-over is not Ready: the image dev.local/auricle-nothing:1 cannot be pulled")

        assert "images:" in finding["remedy"]


def test_a_volume_that_no_class_makes_is_named(auricle: Deployment) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "lost"},
        "spec": {
            "storageClassName": "nowhere",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }
    with beside(auricle, claim):
        said(auricle, "storage-class", "PersistentVolumeClaim/lost asks for the StorageClass nowhere")
        said(auricle, "volumes", "PersistentVolumeClaim/lost has no volume yet")


def test_a_certificate_for_somebody_else_is_named(auricle: Deployment) -> None:
    other = certificate_for("other.example")
    with secret_data(auricle, "gateway-tls", **{"tls.crt": other.certificate, "tls.key": other.key}):
        finding = said(auricle, "certificate", "is for other.example, and its address is")

        assert "create secret tls gateway-tls" in finding["remedy"]


def test_an_open_network_is_named(auricle: Deployment) -> None:
    with without(auricle, "networkpolicies.networking.k8s.io", "deny-all"):
        said(auricle, "network", "No network policy denies Ingress and Egress by default")


def test_a_viewer_is_told_which_verbs_are_missing_and_nothing_else_is_wrong(auricle: Deployment, tmp_path: Path) -> None:
    """Somebody who may look at the namespace and not at its secrets, as the role `view` lets most people."""
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "viewer"},
        "automountServiceAccountToken": False,
    }
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    subject = {"kind": "ServiceAccount", "name": "viewer", "namespace": auricle.namespace}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "viewer"},
        "roleRef": reference,
        "subjects": [subject],
    }
    with beside(auricle, account), beside(auricle, binding):
        config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
        token = auricle.kubectl("create", "token", "viewer").strip()
        config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        status, found = doctor(auricle, tmp_path / "kubeconfig")

    permissions = [f["text"] for f in found if f["name"] == "permission"]
    assert any("may not list secrets in" in text and "not checked: secrets, certificate" in text for text in permissions)
    assert any("may not list nodes" in text for text in permissions)
    assert status == 0, [f for f in found if f["grade"] == "problem"]
    assert objects("-n", auricle.namespace, "secrets"), "the administrator may"

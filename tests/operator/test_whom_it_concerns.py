"""Which of our resources are looked at again because of a change, and which are left in peace."""

from __future__ import annotations

from typing import Any

import pytest

from auricle_operator.api.rules import API_VERSION
from auricle_operator.cluster import MODELS, SECRETS, TENANTS, Manifest
from auricle_operator.concerns import concerned, offered
from builders.operator_tenants import SYSTEM, House

HOME = "auricle-acme"
ACME, BETA = (TENANTS, "", "acme"), (TENANTS, "", "beta")
LARGE, TINY = (MODELS, "", "large"), (MODELS, "", "tiny")
DATABASE, BUCKET, MAIL = ((SECRETS, HOME, name) for name in ("database", "bucket", "mail"))


def thing(kind: str, name: str, namespace: str = "", version: str = "v1", **labels: str) -> Manifest:
    placed = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels, **placed}}


@pytest.fixture
def house() -> House:
    made = House()
    made.tenant("acme", models=["large"])
    made.tenant("beta")
    for name, consumers in (("large", ["acme"]), ("tiny", [])):
        made.cluster.put({**thing("ModelCache", name, version=API_VERSION), "spec": {}, "status": {"consumers": consumers}})
    made.cluster.put(thing("Namespace", HOME))
    for name, family, state in (("database", "auricle-database", "Rolling"), ("bucket", "auricle-blobs", "Stable")):
        made.cluster.put(
            {**thing("ManagedSecret", name, HOME, API_VERSION), "spec": {"secret": family}, "status": {"state": state}}
        )
    external = {"secret": "auricle-mail", "source": {"external": {"name": "our-mail"}}}
    made.cluster.put({**thing("ManagedSecret", "mail", HOME, API_VERSION), "spec": external, "status": {"state": "Stable"}})
    made.look()
    return made


def tenant(name: str, *models: str) -> Manifest:
    return {**thing("Tenant", name, version=API_VERSION), "spec": {"models": list(models)}}


OF_ACME = {"auricle.dev/tenant": "acme"}
SERVING = "serving.knative.dev/v1"


@pytest.mark.parametrize(
    ("manifest", "woken"),
    [
        (tenant("acme", "large"), {ACME}),  # goes on using it: its status alone has changed
        (tenant("beta", "tiny"), {BETA, TINY}),
        (tenant("acme"), {ACME, LARGE}),  # needs it no more
        (tenant("gone", "tiny"), {(TENANTS, "", "gone")}),  # not there any more, and nobody's consumer
        (thing("ModelCache", "large", version=API_VERSION), {LARGE, ACME}),
        (thing("ModelCache", "tiny", version=API_VERSION), {TINY}),
        (thing("Node", "node1"), {ACME, BETA, LARGE, TINY}),
        (thing("ConfigMap", "plan-large", SYSTEM), {ACME, BETA}),
        (thing("ConfigMap", "auricle-settings-1", HOME, **OF_ACME), {ACME}),
        (thing("Service", "files", HOME, SERVING, **OF_ACME), {ACME, DATABASE}),  # what is exchanged waits for Services
        (thing("Secret", "auricle-blobs-v1", HOME, **OF_ACME, **{"auricle.dev/secret": "auricle-blobs"}), {ACME, BUCKET}),
        (thing("Secret", "our-mail", SYSTEM), {MAIL}),
        (thing("ManagedSecret", "bucket", HOME, API_VERSION), {BUCKET}),
        (thing("Job", "fetch", SYSTEM, "batch/v1", **{"auricle.dev/owner": "modelcache.large"}), {LARGE}),
    ],
)
def test_those_look_again_whom_it_concerns_and_nobody_else(house: House, manifest: Manifest, woken: set[Any]) -> None:
    assert set(concerned(manifest, house.mirror, house.world)) == woken


def test_a_tenant_that_is_gone_frees_its_models(house: House) -> None:
    house.mirror.lost(house.cluster.at(TENANTS, "acme"))
    assert LARGE in concerned(tenant("acme", "large"), house.mirror, house.world)


@pytest.mark.parametrize(
    ("change", "another"),
    [
        ({"status": {"allocatable": {"nvidia.com/gpu": "2"}}}, True),
        ({"status": {"conditions": [{"type": "Ready", "status": "False", "lastHeartbeatTime": "1"}]}}, True),
        ({"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2"}]}}, False),
        ({"spec": {"taints": [{"key": "nvidia.com/gpu"}]}}, True),
    ],
)
def test_a_node_that_only_says_that_it_is_alive_says_nothing_new(change: dict[str, Any], another: bool) -> None:
    before = {**thing("Node", "n"), "status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "1"}]}}
    assert (offered({**before, **change}) != offered(before)) is another

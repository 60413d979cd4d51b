"""A kind gets a new version and loses the old one, as `operator/README.md` says, and its resources stay what they are."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import pytest

from auricle_operator.api import tenant
from auricle_operator.api.crds import definition
from auricle_operator.cluster import Manifest
from builders.operator_rules import example, resource_of
from cluster.deployment import Refused, kubectl, objects, until

pytestmark = pytest.mark.cluster

GROUP = "versions-lane.auricle.dev"
"""A group of this lane's: the real kinds belong to everybody."""
KINDS = f"{tenant.PLURAL}.{GROUP}"


@pytest.fixture
def kind() -> Iterator[Manifest]:
    """The definition of tenants, in another group and without its short names."""
    made = definition(resource_of(tenant.KIND))
    made["metadata"] = {"name": KINDS}
    made["spec"]["group"] = GROUP
    made["spec"]["names"] |= {"shortNames": [], "categories": []}
    yield made
    kubectl("delete", "crd", KINDS, "--ignore-not-found")


def test_a_version_comes_and_another_goes(kind: Manifest) -> None:
    (alpha,) = kind["spec"]["versions"]
    beta = {**copy.deepcopy(alpha), "name": "v1beta1"}
    put(kind, alpha)
    kubectl("create", "-f", "-", given=json.dumps(resource("v1alpha1", "old")))
    before = stored("old", "v1alpha1")

    put(kind, {**alpha, "deprecated": True}, {**beta, "storage": False})  # N
    assert until("v1beta1 is served", lambda: stored("old", "v1beta1"))["spec"] == before["spec"]

    put(kind, {**alpha, "deprecated": True, "storage": False}, beta)  # N+1
    kubectl("create", "-f", "-", given=json.dumps(resource("v1alpha1", "new")))
    assert stored("new", "v1beta1")["spec"] == before["spec"]
    with pytest.raises(Refused, match="storedVersions"):
        put(kind, beta)

    everything = kubectl("get", KINDS, "-A", "-o", "json")
    kubectl("replace", "-f", "-", given=everything)
    said = '{"status": {"storedVersions": ["v1beta1"]}}'
    kubectl("patch", "crd", KINDS, "--subresource=status", "--type=merge", "-p", said)

    put(kind, beta)  # N+2
    until("v1alpha1 is gone", lambda: not served("v1alpha1"))
    for name in ("old", "new"):
        after = stored(name, "v1beta1")
        assert after["spec"] == before["spec"]
        kubectl("patch", KINDS, name, "--type=merge", "-p", '{"spec": {"displayName": "Still here"}}')
    assert stored("old", "v1beta1")["metadata"]["uid"] == before["metadata"]["uid"]


def put(kind: Manifest, *versions: Manifest) -> None:
    made = {**kind, "spec": {**kind["spec"], "versions": list(versions)}}
    kubectl("apply", "--server-side", "--field-manager=auricle-lane", "-f", "-", given=json.dumps(made))
    kubectl("wait", "--for=condition=Established", f"crd/{KINDS}")
    until("it is served", lambda: served(versions[-1]["name"]))


def served(version: str) -> bool:
    found = json.loads(kubectl("get", "--raw", f"/apis/{GROUP}"))
    return version in {each["version"] for each in found["versions"]}


def stored(name: str, version: str) -> Manifest:
    (found,) = objects(f"{tenant.PLURAL}.{version}.{GROUP}", name)
    assert found["apiVersion"] == f"{GROUP}/{version}"
    return found


def resource(version: str, name: str) -> Manifest:
    return {**example(tenant.KIND, name), "apiVersion": f"{GROUP}/{version}"}

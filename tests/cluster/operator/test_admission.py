"""What the real API server refuses of the operator's kinds, and what its policies let the operator and people do.

Nearly everything is a server-side dry run, which passes through defaults, rules and admission like the real thing. The policies
are those of `manifests/base/operator` under other names; those that speak of people are bound to this lane's objects, so that
nobody else on this cluster meets them. No operator is at work meanwhile: it would do what these objects say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from auricle.deploy.generated import MANIFESTS
from auricle_operator.api import managedsecret, modelcache, tenant
from auricle_operator.cluster import MANAGER, TENANT, Manifest
from builders.operator_rules import NAMESPACE, ROWS, SPECS, Row, example
from cluster.deployment import Refused, kubectl, objects, until
from cluster.operator.admission_lane import (
    HOME,
    LANE,
    MARK,
    OPERATOR,
    SOMEBODY,
    STRANGE,
    TENANTS_PLACE,
    namespace,
    of_this_lane,
    somebody,
    thing,
    volume,
)

pytestmark = pytest.mark.cluster

DRY = "--dry-run=server"
CONFIRM = "auricle.dev/confirm-deletion"


@pytest.fixture(scope="module", autouse=True)
def shipped(cluster: None) -> Iterator[list[Manifest]]:
    """The kinds (they stay: they belong to everybody), and the lane's own role, policies and namespaces."""
    written = list(yaml.safe_load_all(kubectl("kustomize", str(MANIFESTS / "base" / "operator"))))
    kinds = [made for made in written if made["kind"] == "CustomResourceDefinition"]
    ours = [of_this_lane(made) for made in written if made not in kinds]
    policies = [made for made in written if made["kind"].startswith("ValidatingAdmissionPolicy")]
    kubectl("delete", "--ignore-not-found", "-f", "-", given=yaml.safe_dump_all(policies))  # those of an operator before
    kubectl("delete", "namespace", "--ignore-not-found", HOME, TENANTS_PLACE, STRANGE)  # of a run before; waits for its end
    _apply([namespace(HOME), namespace(TENANTS_PLACE, **{TENANT: LANE}), namespace(STRANGE), *kinds])
    kubectl("wait", "--for=condition=Established", *(f"crd/{made['metadata']['name']}" for made in kinds))
    _apply([*ours, *somebody()])
    yield ours
    kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", given=yaml.safe_dump_all(ours))
    kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", given=yaml.safe_dump_all(somebody()))
    kubectl("delete", "namespace", "--ignore-not-found", "--wait=false", HOME, TENANTS_PLACE, STRANGE)


# Rules of the kinds.


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_rule_rejects_with_its_message_and_accepts_the_neighbour(row: Row) -> None:
    rejected, accepted, before = (_here(made) for made in (row.rejected, row.accepted, row.before))
    if before is None:
        words = ("create", DRY, "-f", "-")
        name = rejected["metadata"]["name"]
    else:
        words = ("replace", DRY, "-f", "-")
        name = f"{LANE}-{row.holder.lower()}"
        for made in (before, rejected, accepted):
            made["metadata"] |= {"name": name, "labels": MARK}
        _apply([before])
    try:
        kubectl(*words, given=json.dumps(accepted))
        said = refusal(*words, given=json.dumps(rejected))
    finally:
        if before is not None:
            kubectl("delete", "--wait=false", "-f", "-", given=json.dumps(before))
    assert f'The {row.kind} "{name}" is invalid: ' in said
    assert said.endswith(f": {row.message}"), said
    assert "\n" not in said, "not this rule alone"


@pytest.mark.parametrize("kind", SPECS)
def test_defaults_are_there_before_anybody_looks(kind: str) -> None:
    made = json.loads(kubectl("create", DRY, "-o", "json", "-f", "-", given=json.dumps(_here(example(kind)))))
    shown = {
        tenant.KIND: ("deletionPolicy", "retain"),
        managedsecret.KIND: ("overlap", "24h"),
        modelcache.KIND: ("storage", {"kind": "node", "path": "/var/lib/auricle/models", "claim": ""}),
    }
    field, value = shown[kind]
    assert made["spec"][field] == value


def test_a_file_stands_once_in_a_model() -> None:
    twice = example(modelcache.KIND, files=SPECS[modelcache.KIND]["files"] * 2)
    assert "spec.files[1]: Duplicate value" in refusal("create", DRY, "-f", "-", given=json.dumps(twice))


def test_a_status_is_written_beside_the_spec_and_only_there() -> None:
    made = example(tenant.KIND, LANE)
    made["metadata"]["labels"] = MARK
    made["status"] = {"phase": "Ready"}
    _apply([made])
    try:
        (stored,) = objects("tenant", LANE)
        assert "status" not in stored
        kubectl("patch", "tenant", LANE, "--subresource=status", "--type=merge", "-p", '{"status": {"observedGeneration": 1}}')
        assert objects("tenants.auricle.dev", LANE)[0]["status"]["observedGeneration"] == 1
        assert "PHASE" in kubectl("get", "tn", LANE)
        assert LANE in kubectl("get", "auricle", "-o", "name")
    finally:
        kubectl("delete", "tenant", LANE, "--wait=false")


def test_the_operator_writes_statuses_with_the_role_it_has() -> None:
    name = f"{LANE}-status"
    made = example(tenant.KIND, name)
    made["metadata"]["labels"] = MARK
    _apply([made])
    said = {**made, "metadata": {"name": name}, "status": {"observedGeneration": 1, "phase": "Pending"}}
    del said["spec"]
    words = ("apply", "--server-side", "--force-conflicts", "--field-manager=auricle-operator", "-f", "-")
    try:
        as_operator(*words, "--subresource=status", given=json.dumps(said))
        assert objects("tenant", name)[0]["status"] == said["status"]
    finally:
        kubectl("delete", "tenant", name, "--wait=false")


# Policies.


def test_every_policy_is_understood_by_the_api_server(shipped: list[Manifest]) -> None:
    for made in shipped:
        if made["kind"] == "ValidatingAdmissionPolicy":
            name = made["metadata"]["name"]
            policy = until(name, lambda name=name: _checked(name))  # type: ignore[misc]
            assert not policy["status"].get("typeChecking", {}).get("expressionWarnings"), name


@pytest.mark.parametrize("kind", ["secret", "configmap", "job"])
def test_the_operator_writes_in_namespaces_of_tenants_and_in_its_own_alone(kind: str) -> None:
    for place in (HOME, TENANTS_PLACE):
        as_operator("create", DRY, "-f", "-", given=json.dumps(thing(kind, place)))
    for place in (STRANGE, "kube-system"):
        said = refused_as_operator("create", DRY, "-f", "-", given=json.dumps(thing(kind, place)))
        assert f"and in its own; {place} is neither." in said


def test_the_operator_changes_and_deletes_nothing_elsewhere() -> None:
    kubectl("create", "-f", "-", given=json.dumps(thing("secret", STRANGE)))
    patch = ("--type=merge", "-p", '{"metadata": {"labels": {"a": "b"}}}')
    assert "is neither" in refused_as_operator("-n", STRANGE, "patch", DRY, "secret", LANE, *patch)
    assert "is neither" in refused_as_operator("-n", STRANGE, "delete", DRY, "secret", LANE)
    kubectl("-n", STRANGE, "patch", DRY, "secret", LANE, *patch)  # others may


def test_the_operator_makes_namespaces_of_tenants_and_takes_no_others() -> None:
    new = f"{LANE}-new"
    as_operator("create", DRY, "-f", "-", given=json.dumps(namespace(new, **{TENANT: "new"})))
    assert "namespaces of tenants" in refused_as_operator("create", DRY, "-f", "-", given=json.dumps(namespace(new)))
    taking = ("--type=merge", "-p", json.dumps({"metadata": {"labels": {TENANT: "mine"}}}))
    for place in (STRANGE, "kube-system"):
        said = refused_as_operator("patch", DRY, "namespace", place, *taking)
        assert f"kubectl label namespace {place} auricle.dev/tenant=TENANT" in said
    assert "namespaces of tenants" in refused_as_operator("delete", DRY, "namespace", STRANGE)
    assert "namespaces of tenants" in refused_as_operator("patch", DRY, "namespace", TENANTS_PLACE, *taking)
    as_operator("patch", DRY, "namespace", TENANTS_PLACE, "--type=merge", "-p", '{"metadata": {"labels": {"a": "b"}}}')
    as_operator("delete", DRY, "namespace", TENANTS_PLACE)


def test_the_operator_says_on_nodes_which_models_they_have_and_nothing_else() -> None:
    node = objects("nodes")[0]["metadata"]["name"]
    patch = ("patch", DRY, "node", node, "--type=merge", "-p")
    as_operator(*patch, '{"metadata": {"labels": {"models.auricle.dev/0123456789ab": "ready"}}}')
    as_operator(*patch, '{"metadata": {"annotations": {"auricle.dev/used": "1"}}}')
    for change in (
        {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": "yes"}}},
        {"metadata": {"labels": {"notauricle.dev/models": "ready"}}},
        {"metadata": {"labels": {"kubernetes.io/hostname": None}}},
        {"metadata": {"annotations": {"elsewhere.example.org/a": "b"}}},
        {"spec": {"unschedulable": True}},
    ):
        assert "of auricle.dev on a node" in refused_as_operator(*patch, json.dumps(change))


def test_the_operator_makes_changes_and_deletes_volumes_of_its_own_alone() -> None:
    as_operator("create", DRY, "-f", "-", given=json.dumps(volume(MANAGER)))
    strange = json.dumps(volume("somebody"))
    assert "only volumes of its own" in refused_as_operator("create", DRY, "-f", "-", given=strange)
    kubectl("create", "-f", "-", given=strange)
    try:
        mine = json.dumps({"metadata": {"labels": {"app.kubernetes.io/managed-by": MANAGER}}})
        patched = refused_as_operator("patch", DRY, "pv", LANE, "--type=merge", "-p", mine)
        assert "only volumes of its own" in patched
        assert "only volumes of its own" in refused_as_operator("delete", DRY, "pv", LANE)
    finally:
        kubectl("delete", "pv", LANE)


def test_a_tenants_data_is_deleted_when_it_is_said_twice() -> None:
    name = f"{LANE}-deleted"
    made = example(tenant.KIND, name, deletionPolicy="delete")
    made["metadata"]["labels"] = MARK
    _apply([made])
    denied = ("delete", DRY, "tenant", name)
    assert f"kubectl annotate tenant {name} {CONFIRM}={name}" in until_refused(*denied)
    all_of_them = f"/apis/auricle.dev/v1alpha1/tenants?labelSelector=auricle.dev%2Flane%3D{MARK['auricle.dev/lane']}&dryRun=All"
    assert f"kubectl annotate tenant {name}" in refusal("delete", "--raw", all_of_them)
    kubectl("annotate", "tenant", name, f"{CONFIRM}=another")
    assert CONFIRM in refusal("delete", "tenant", name)
    for policy in ("retain", "snapshot"):
        kubectl("patch", "tenant", name, "--type=merge", "-p", json.dumps({"spec": {"deletionPolicy": policy}}))
        kubectl("delete", DRY, "tenant", name)
    kubectl("patch", "tenant", name, "--type=merge", "-p", '{"spec": {"deletionPolicy": "delete"}}')
    kubectl("annotate", "--overwrite", "tenant", name, f"{CONFIRM}={name}")
    kubectl("delete", "--raw", all_of_them)
    kubectl("delete", "tenant", name)
    assert not [found for found in objects("tenants", "-l", "auricle.dev/lane=admission") if found["metadata"]["name"] == name]


def test_a_tenant_that_is_going_does_not_come_to_lose_its_data_by_an_edit() -> None:
    name = f"{LANE}-going"
    made = example(tenant.KIND, name)
    made["metadata"] |= {"labels": MARK, "finalizers": ["auricle.dev/lane"]}
    _apply([made])
    worse = ("patch", "tenant", name, "--type=merge", "-p", '{"spec": {"deletionPolicy": "delete"}}')
    try:
        kubectl(*worse, DRY)  # as long as it lives that is only an intention
        kubectl("delete", "tenant", name, "--wait=false")
        assert f"{CONFIRM}={name}" in until_refused(*worse, DRY)
        kubectl("annotate", "tenant", name, f"{CONFIRM}={name}")
        kubectl(*worse, DRY)
    finally:
        kubectl("patch", "tenant", name, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def test_a_kind_is_deleted_when_it_is_said_twice() -> None:
    name = f"{tenant.PLURAL}.auricle.dev"
    kubectl("label", "--overwrite", "crd", name, "auricle.dev/lane=admission")
    try:
        assert f"kubectl annotate crd {name} {CONFIRM}={name}" in until_refused("delete", DRY, "crd", name)
    finally:
        kubectl("label", "crd", name, "auricle.dev/lane-")


def test_a_tenants_namespace_stays_a_tenants_and_restricted() -> None:
    patch = ("patch", DRY, "namespace", TENANTS_PLACE, "--type=merge", "-p")
    kubectl(*patch, '{"metadata": {"labels": {"team": "blue"}}}')
    changes: tuple[tuple[str, str | None, str], ...] = (
        (TENANT, "another", f"belongs to the tenant {LANE}"),
        (TENANT, None, f"belongs to the tenant {LANE}"),
        ("pod-security.kubernetes.io/enforce", "privileged", "stays restricted"),
        ("pod-security.kubernetes.io/enforce", None, "stays restricted"),
        ("pod-security.kubernetes.io/enforce-version", "v1.18", "enforce-version"),
    )
    for label, value, message in changes:
        change = json.dumps({"metadata": {"labels": {label: value}}})
        assert message in until_refused(*patch, change)
        if label != TENANT:
            as_operator(*patch, change)
    kubectl("label", DRY, "namespace", STRANGE, "pod-security.kubernetes.io/enforce=baseline", "--overwrite")


def test_who_names_a_secret_of_the_operators_may_read_it() -> None:
    made = _here(example(managedsecret.KIND, LANE, source={"external": {"name": "readable"}}))
    made["metadata"]["labels"] = MARK
    kubectl("create", DRY, "-f", "-", "--as", SOMEBODY, given=json.dumps(made))
    made["spec"]["source"]["external"]["name"] = "other.database.v1"
    assert "other.database.v1 of" in until_refused("create", DRY, "-f", "-", "--as", SOMEBODY, given=json.dumps(made))
    kubectl("create", "-f", "-", given=json.dumps(made))
    kubectl("-n", TENANTS_PLACE, "annotate", "managedsecret", LANE, "auricle.dev/rotate=now", "--as", SOMEBODY)
    kubectl("-n", TENANTS_PLACE, "delete", "managedsecret", LANE, "--wait=false")


def test_who_names_credentials_or_a_volume_for_a_model_may_use_them() -> None:
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"source": {**SPECS[modelcache.KIND]["source"], "credentials": "other.bucket.v1"}}, "other.bucket.v1 of"),
        ({"storage": {"kind": "claim", "claim": "data-postgres-0"}}, "data-postgres-0 of"),
    )
    for change, message in changes:
        made = example(modelcache.KIND, LANE, **change)
        made["metadata"]["labels"] = MARK
        assert message in until_refused("create", DRY, "-f", "-", "--as", SOMEBODY, given=json.dumps(made))
        kubectl("create", DRY, "-f", "-", given=json.dumps(made))
    made = example(modelcache.KIND, LANE, source={**SPECS[modelcache.KIND]["source"], "credentials": "readable"})
    made["metadata"]["labels"] = MARK
    kubectl("create", DRY, "-f", "-", "--as", SOMEBODY, given=json.dumps(made))


# What the tests are made of.


def as_operator(*words: str, given: str | None = None) -> str:
    return kubectl(*words, "--as", OPERATOR, given=given)


def refusal(*words: str, given: str | None = None) -> str:
    """What the API server says to what it must not do."""
    with pytest.raises(Refused) as refused:
        kubectl(*words, given=given)
    return str(refused.value).partition(": ")[2]


def until_refused(*words: str, given: str | None = None) -> str:
    """The same of a dry run, once the policy that refuses it is at work (a second after it was written)."""

    def tried() -> str:
        try:
            kubectl(*words, given=given)
        except Refused as refused:
            return str(refused).partition(": ")[2]
        return ""

    assert DRY in words
    return str(until(f"refused: {' '.join(words)}", tried, 30))


def refused_as_operator(*words: str, given: str | None = None) -> str:
    said = until_refused(*words, "--as", OPERATOR, given=given)
    assert "ValidatingAdmissionPolicy" in said, said  # not for want of a right
    return said


def _apply(made: list[Manifest]) -> None:
    words = ("apply", "--server-side", "--force-conflicts", "--field-manager=auricle-lane", "-f", "-")
    kubectl(*words, given=yaml.safe_dump_all(made))


def _here(made: Manifest | None) -> Any:
    """An example, in the lane's namespace if it has one."""
    if made is not None and made["metadata"].get("namespace") == NAMESPACE:
        made = {**made, "metadata": {**made["metadata"], "namespace": TENANTS_PLACE}}
    return made


def _checked(name: str) -> Manifest | None:
    (policy,) = objects("validatingadmissionpolicy", name)
    return policy if policy.get("status", {}).get("observedGeneration") == policy["metadata"]["generation"] else None

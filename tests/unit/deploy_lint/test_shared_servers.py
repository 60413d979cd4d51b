"""What tenants share can be reached by the operator and by tenants' functions, or lint says who is cut off."""

from __future__ import annotations

import pytest

from auricle.deploy.lint import facts_for, findings
from auricle.deploy.render import Manifest
from unit.deploy_lint.an_overlay import NAMESPACE, PLATFORM, account, named, policy, server, spaces

TENANTS: Manifest = {
    "namespaceSelector": {"matchExpressions": [{"key": "auricle.dev/tenant", "operator": "Exists"}]},
    "podSelector": {"matchExpressions": [{"key": "auricle.dev/function", "operator": "Exists"}]},
}
WALLS: dict[str, Manifest] = {
    "deny": policy("deny", {}, policyTypes=["Ingress", "Egress"]),
    "operator": policy(
        "operator",
        named("auricle-operator"),
        policyTypes=["Egress"],
        egress=[{"to": [{"podSelector": named("postgres", "object-store")}]}],
    ),
    "gateway": policy(
        "gateway",
        named("gateway"),
        policyTypes=["Egress"],
        egress=[{"to": [spaces("kourier-system"), {"podSelector": named("object-store")}]}],
    ),
    "relay": policy(
        "relay",
        named("gateway"),
        policyTypes=["Ingress"],
        ingress=[{"from": [{"podSelector": named("object-store")}], "ports": [{"port": 8090}]}],
    ),
    "telling": policy(
        "telling", named("object-store"), policyTypes=["Egress"], egress=[{"to": [{"podSelector": named("gateway")}]}]
    ),
    "servers": policy(
        "servers",
        named("postgres", "object-store"),
        policyTypes=["Ingress"],
        ingress=[{"from": [TENANTS]}, {"from": [{"podSelector": named("auricle-operator", "gateway")}]}],
    ),
}


def shared(*walls: str) -> list[str]:
    """What is found of the shared namespace with these policies."""
    gateway = server("Deployment", "gateway", replicas=2)
    gateway["spec"]["template"]["spec"]["containers"][0]["ports"].append({"name": "relay", "containerPort": 8090})
    objects = [
        server("Deployment", "auricle-operator"),
        gateway,
        server("StatefulSet", "postgres", port=5432, args=["-c", "max_connections=100"]),
        server("StatefulSet", "object-store", port=9000),
        *(account(name) for name in ("auricle-operator", "gateway", "postgres", "object-store")),
        *(WALLS[name] for name in walls),
    ]
    for item in objects:
        item["metadata"].setdefault("namespace", NAMESPACE)
    return [f.sentence for f in findings(objects, facts_for("tenants", PLATFORM)) if f.rule == "cut-off"]


def test_with_all_its_policies_nobody_is_cut_off() -> None:
    assert shared(*WALLS) == []


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (
            "operator",
            "Deployment/auricle-operator to reach StatefulSet/postgres at port 5432 (it makes tenants' databases there)",
        ),
        ("operator", "Deployment/auricle-operator to reach StatefulSet/object-store at port 9000"),
        ("gateway", "Deployment/gateway to reach StatefulSet/object-store at port 9000 (signed URLs lead there)"),
        ("relay", "StatefulSet/object-store to reach Deployment/gateway at port 8090 (it tells of new objects there)"),
        ("telling", "StatefulSet/object-store to reach Deployment/gateway at port 8090"),
        ("servers", "a tenant's functions to reach StatefulSet/postgres at port 5432 (their rows are there)"),
        ("servers", "a tenant's functions to reach StatefulSet/object-store at port 9000 (their recordings are there)"),
    ],
)
def test_whoever_is_cut_off_is_named(missing: str, words: str) -> None:
    found = shared(*(name for name in WALLS if name != missing))
    assert [sentence for sentence in found if words in sentence], found


def test_policies_of_the_operator_s_own_jobs_select_what_is_not_there_yet() -> None:
    jobs = policy("snapshots", {"matchLabels": {"auricle.dev/job": "snapshot"}}, policyTypes=["Ingress"])
    operator = server("Deployment", "auricle-operator")
    operator["metadata"]["namespace"] = NAMESPACE

    def found(*objects: Manifest) -> list[str]:
        return [f.object for f in findings(objects, facts_for("tenants", PLATFORM)) if f.rule == "policy-selects-nothing"]

    assert found(jobs, operator) == []
    assert found(jobs) == ["NetworkPolicy/snapshots"]
    assert found(policy("other", {"matchLabels": {"auricle.dev/job": "other"}}, policyTypes=["Ingress"]), operator) == [
        "NetworkPolicy/other"
    ]

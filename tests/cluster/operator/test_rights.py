"""The operator's own role allows what it uses and nothing else: looked at last, when everything was asked for."""

from __future__ import annotations

import json

import pytest

from cluster.deployment import kubectl, objects, until_none
from cluster.operator.platform import SYSTEM
from cluster.operator.recording import Recorder, missing, unused
from cluster.operator.running import Operator
from cluster.operator.vaults import Vault

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SELDOM = {
    ("kopf.dev", "clusterkopfpeerings"): "where two operators run",
    ("", "persistentvolumes"): "models",
    ("", "persistentvolumeclaims"): "models",
    ("", "nodes"): "models are said on nodes",
    ("", "pods"): "progress of models",
    ("", "pods/log"): "progress of models",
    ("auricle.dev", "modelcaches"): "models",
    ("auricle.dev", "modelcaches/status"): "models",
    ("apps", "deployments"): "its own image, where it runs as a pod",
    ("batch", "jobs"): "a job is deleted with its tenant or its model",
    ("", "configmaps"): "read by name when models are ordered twice",
}
"""Resources of which a run without models, pods and peers does not use every verb."""


def test_the_operators_role_allows_what_it_uses_and_nothing_else(operator: Operator, acme: Vault, rights: Recorder) -> None:
    kubectl("patch", "tenant", acme.tenant, "--type=merge", "-p", json.dumps({"spec": {"release": None}}))
    left = "services.serving.knative.dev,brokers,limitranges,networkpolicies"
    until_none("what the release had made", lambda: [i["kind"] for i in objects(left, "-n", acme.namespace)], 300)
    kubectl("delete", "tenant", acme.tenant, "--wait=false")
    until_none(
        "the tenant", lambda: [i["metadata"]["name"] for i in objects("tenants") if i["metadata"]["name"] == acme.tenant], 300
    )
    rules = [
        rule
        for kind, where in (("clusterrole", ()), ("role", ("-n", SYSTEM)))
        for item in objects(kind, *where)
        if item["metadata"]["name"].startswith("auricle-operator")
        for rule in item["rules"]
    ]
    assert rights.refused == {}
    assert missing(rules, rights.recorded) == []
    idle = [right for right in unused(rules, rights.recorded) if right[:2] not in SELDOM]
    assert idle == [], f"The role allows more than is asked for: {idle}"

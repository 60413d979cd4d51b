"""A deployment without a fault gives no finding but good ones."""

from __future__ import annotations

import copy

import pytest

from auricle.cli.checks import Grade
from auricle.cli.clusterdoctor import CHECKS, findings
from auricle.cli.clusterdoctor.seen import Sight
from unit.clusterdoctor.a_deployment import add, healthy


@pytest.mark.parametrize("grouped", [False, True])
def test_nothing_is_found_where_nothing_is_wrong(grouped: bool) -> None:
    deployed = healthy(grouped)
    bad = [f for f in findings(deployed.seen()) if f.grade is not Grade.OK and not (grouped and f.name == "models")]

    assert bad == []


def test_every_check_says_something_when_all_is_well() -> None:
    silent = {"dead-letters"}  # nobody is asked without --server

    assert {f.name for f in findings(healthy().seen())} == set(CHECKS) - silent


def test_every_check_says_what_it_looks_at() -> None:
    assert [c.name for c in CHECKS.values() if not c.summary.endswith(".")] == []


def test_what_an_old_revision_lacked_is_no_trouble() -> None:
    deployed = healthy()
    old = copy.deepcopy(deployed.one(Sight.SERVICES, "transcribe")["spec"]["template"])
    old["spec"]["volumes"] = [{"name": "models", "persistentVolumeClaim": {"claimName": "gone", "readOnly": True}}]
    label = {"serving.knative.dev/service": "transcribe"}
    owner = {"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "name": "transcribe-00001", "controller": True}
    add(
        Sight.DEPLOYMENTS,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "transcribe-00001-deployment", "labels": label, "ownerReferences": [owner]},
            "spec": {"replicas": 0, "template": old},
        },
    )(deployed)

    assert [f for f in findings(deployed.seen()) if f.grade is Grade.PROBLEM] == []

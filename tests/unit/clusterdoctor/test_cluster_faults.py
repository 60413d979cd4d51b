"""Every planted fault is found by its check, in a sentence, with what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from auricle.cli.checks import Grade
from auricle.cli.clusterdoctor import CHECKS, Lack, Seen, Sight, findings
from auricle.cli.clusterdoctor.table import Said
from unit.clusterdoctor import planted, planted_around
from unit.clusterdoctor.a_deployment import blind, healthy
from unit.clusterdoctor.planted import Planted

FAULTS = (
    *planted.PLATFORM,
    *planted.FUNCTIONS,
    *planted_around.EVENTS,
    *planted_around.RELEASE,
    *planted_around.WALLS,
    *planted_around.DOORS,
    *planted_around.VOLUMES,
    *planted_around.GPUS,
)


@pytest.mark.parametrize("fault", [pytest.param(f, id=f"{n}-{f.check}") for n, f in enumerate(FAULTS)])
def test_a_planted_fault_is_said_with_what_to_do(fault: Planted) -> None:
    deployed = healthy()
    fault.change(deployed)
    found = [f for f in findings(deployed.seen()) if f.grade is not Grade.OK]

    hits = [f for f in found if f.name == fault.check and fault.words in f.text and f.grade is fault.grade]
    assert hits, "\n".join(f"{f.name} {f.grade}: {f.text} | {f.remedy}" for f in found)
    assert fault.remedy in hits[0].remedy, hits[0].remedy
    assert all(f.text.endswith(".") and f.remedy for f in found)


def test_every_check_has_a_planted_fault() -> None:
    assert {f.check for f in FAULTS} == set(CHECKS)


def test_what_may_not_be_read_is_a_note_that_names_the_verb() -> None:
    deployed = healthy()
    blind(Sight.SECRETS, Lack.FORBIDDEN)(deployed)
    (found,) = [f for f in findings(deployed.seen()) if f.grade is not Grade.OK]

    assert (found.name, found.grade) == ("permission", Grade.NOTE)
    assert "may not list secrets in auricle" in found.text
    assert "not checked: secrets, certificate" in found.text
    assert "kubectl -n auricle create role auricle-doctor-secrets --verb=list --resource=secrets" in found.remedy


@pytest.mark.parametrize("sight", list(Sight))
def test_what_may_not_be_read_is_never_taken_for_missing(sight: Sight) -> None:
    deployed = healthy()
    blind(sight, Lack.FORBIDDEN)(deployed)

    assert [f for f in findings(deployed.seen()) if f.grade is Grade.PROBLEM] == []


def test_what_may_not_be_read_of_the_whole_cluster_asks_for_a_cluster_role() -> None:
    deployed = healthy()
    blind(Sight.NODES, Lack.FORBIDDEN)(deployed)
    (found,) = [f for f in findings(deployed.seen()) if f.name == "permission"]

    assert "create clusterrole auricle-doctor-nodes --verb=list --resource=nodes" in found.remedy


def test_a_cluster_without_knative_is_told_so() -> None:
    deployed = healthy()
    for sight in (Sight.SERVICES, Sight.REVISIONS, Sight.TRIGGERS):
        blind(sight, Lack.UNKNOWN)(deployed)
    said = [f.text for f in findings(deployed.seen()) if f.name == "installed" and f.grade is Grade.PROBLEM]

    assert any("services.serving.knative.dev: Knative Serving is not installed" in text for text in said)
    assert any("triggers.eventing.knative.dev: Knative Eventing is not installed" in text for text in said)


def test_a_cluster_without_cert_manager_has_nothing_to_say_about_it() -> None:
    deployed = healthy()
    blind(Sight.CERTIFICATES, Lack.UNKNOWN)(deployed)

    assert [f for f in findings(deployed.seen()) if f.grade is not Grade.OK] == []


def test_without_the_namespace_only_the_cluster_is_looked_at() -> None:
    deployed = healthy()
    deployed.objects[Sight.NAMESPACE].clear()
    bad = [f.name for f in findings(deployed.seen()) if f.grade is not Grade.OK]

    assert bad == ["namespace"]


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def faint(seen: Seen) -> Iterator[Said]:
        raise KeyError("used")
        yield

    monkeypatch.setitem(CHECKS, "quotas", dataclasses.replace(CHECKS["quotas"], body=faint))
    found = list(findings(healthy().seen()))

    assert [(f.name, f.text) for f in found if f.grade is not Grade.OK] == [
        ("quotas", "This could not be checked: KeyError: 'used'.")
    ]
    assert found[-1].name == "runtime-class"

"""Every rule finds its fault, says where it is and what to do, and no other rule mistakes it for its own."""

from __future__ import annotations

import pytest

from auricle.deploy.lint import RULES, findings
from unit.deploy_lint import planted_events, planted_pods, planted_services
from unit.deploy_lint.planted import Planted

FAULTS = [*planted_services.FAULTS, *planted_pods.FAULTS, *planted_events.FAULTS]


@pytest.mark.parametrize("fault", [pytest.param(f, id=f"{n}-{f.rule}") for n, f in enumerate(FAULTS)])
def test_a_planted_fault_is_found_by_its_rule_and_by_no_other(fault: Planted) -> None:
    overlay = fault.overlay()
    found = findings(overlay.objects, overlay.facts)
    sentences = "\n".join(f"{f.rule}: {f.sentence} [{f.path}]" for f in found)
    assert {f.rule for f in found} == {fault.rule, *fault.also}, sentences
    assert {f.object for f in found} == {fault.object, *fault.also_at}, sentences
    (told, *_) = [f for f in found if f.rule == fault.rule and f.object == fault.object]
    assert told.sentence.startswith(f"{fault.object} "), told
    assert fault.remedy in told.sentence.partition(". ")[2], told


@pytest.mark.parametrize("name", RULES)
def test_every_rule_has_a_planted_fault_and_a_sentence_of_documentation(name: str) -> None:
    assert name in {fault.rule for fault in FAULTS}
    assert RULES[name].summary.endswith(".")


def test_there_are_more_rules_than_schemas_could_replace() -> None:
    assert len(RULES) >= 80

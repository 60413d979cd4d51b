"""The README's table says what was observed, and nothing the door relies on is missing from a durable broker."""

from __future__ import annotations

import pytest

from contract.broker import reliance
from contract.broker.cases import CASES
from contract.broker.observed import BROKERS, DIFFERS, HOLDS, observations
from contract.broker.questions import QUESTIONS
from contract.broker.table import README, readme

RULES = {case.slug for case in CASES}


def test_the_table_in_the_readme_is_the_one_the_observations_make() -> None:
    text = README.read_text()
    assert text == readme(text), "write it anew: cd tests && ../.venv/bin/python -m contract.broker.table"


@pytest.mark.parametrize("broker", BROKERS)
def test_every_rule_and_question_was_put_to_every_broker(broker: str) -> None:
    assert set(observations()[broker]) == RULES | {question.case.slug for question in QUESTIONS}


@pytest.mark.parametrize("broker", ["embedded", "rabbitmq"])
def test_every_rule_that_the_door_relies_on_holds(broker: str) -> None:
    seen = observations()[broker]
    assert [slug for slug in sorted(RULES) if reliance.relied(slug) and seen[slug] != HOLDS] == []


def test_every_rule_holds_on_the_embedded_broker() -> None:
    assert {observations()["embedded"][slug] for slug in RULES} == {HOLDS}


def test_what_the_in_memory_broker_lacks_is_explained() -> None:
    seen = observations()["in-memory"]
    lacking = {slug for slug in RULES if reliance.relied(slug) and seen[slug] == DIFFERS}
    assert lacking == set(reliance.TOO_LITTLE)


def test_exceptions_are_of_rules_that_exist() -> None:
    assert set(reliance.NOT_RELIED) | {slug for _, slug in reliance.NOT_ASKED} <= RULES

"""Every rule of a broker, one case each: `pytest tests/contract/broker` says how many there are."""

from __future__ import annotations

import pytest

from builders.subscriber import Subscriber
from contract.broker.cases import CASES
from contract.broker.embedded import EmbeddedBroker
from contract.broker.under_test import BrokerUnderTest, Case, Scene

FEATURES = EmbeddedBroker.features


@pytest.mark.parametrize("case", [pytest.param(case, id=case.slug) for case in CASES if case.needs <= FEATURES])
def test_rule(case: Case, broker: BrokerUnderTest, subscriber: Subscriber) -> None:
    case.check(Scene(case, broker, subscriber))

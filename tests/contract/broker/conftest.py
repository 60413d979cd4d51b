"""The broker under test, with every case's triggers in force; and the count of rules at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builders.subscriber import Subscriber, subscribing
from contract.broker.cases import CASES
from contract.broker.embedded import EmbeddedBroker
from contract.broker.under_test import BrokerUnderTest


@pytest.fixture(scope="module")
def subscriber() -> Iterator[Subscriber]:
    """Plays all subscribers."""
    with subscribing() as running:
        yield running


@pytest.fixture(scope="module")
def broker(subscriber: Subscriber, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerUnderTest]:
    """The embedded broker. A suite for another broker replaces this fixture, and `FEATURES` in `test_conformance`."""
    embedded = EmbeddedBroker(tmp_path_factory.mktemp("broker"), database_url)
    embedded.declare([trigger for case in CASES for trigger in case.declared(subscriber.url)])
    try:
        yield embedded
    finally:
        embedded.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many rules the broker was put under."""
    ran = {outcome: _rules(terminalreporter, outcome) for outcome in ("passed", "failed", "error")}
    if any(ran.values()):
        kept = ran["passed"]
        terminalreporter.write_line(f"broker conformance: {kept} of {sum(ran.values())} cases hold")


def _rules(terminalreporter: pytest.TerminalReporter, outcome: str) -> int:
    return sum("contract/broker/" in report.nodeid for report in terminalreporter.stats.get(outcome, []))

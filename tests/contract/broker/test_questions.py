"""The embedded broker's answers to what the portable rules leave open: those that the record has."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from builders.subscriber import Subscriber
from contract.broker.cases import CASES
from contract.broker.embedded import EmbeddedBroker
from contract.broker.observed import HOLDS, compare, record, recording
from contract.broker.questions import QUESTIONS
from contract.broker.under_test import Scene


@pytest.fixture(scope="module")
def seen(subscriber: Subscriber, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """All answers; questions are asked at the same time, since each waits for its own pauses."""
    embedded = EmbeddedBroker(tmp_path_factory.mktemp("questions"), database_url)
    embedded.declare([trigger for question in QUESTIONS for trigger in question.case.declared(subscriber.url)])
    try:
        with ThreadPoolExecutor(8) as pool:
            looks = {q.case.slug: pool.submit(q.look, Scene(q.case, embedded, subscriber)) for q in QUESTIONS}
        answers = {slug: look.result() for slug, look in looks.items()}
        if recording():  # that every rule holds is what `test_conformance` is about
            record("embedded", {**{case.slug: HOLDS for case in CASES}, **answers})
        yield answers
    finally:
        embedded.stop()


@pytest.mark.parametrize("slug", [question.case.slug for question in QUESTIONS])
def test_the_embedded_broker_answers_as_recorded(slug: str, seen: dict[str, str]) -> None:
    compare("embedded", slug, seen[slug])

"""What wakes a speech function while bytes still arrive: its own Trigger lets the fact pass, and it asks for no work."""

from __future__ import annotations

import pytest
from flask import Flask, Response, request

from auricle.contract.event import Envelope
from auricle.contract.function import DeclarationError, registry, stage
from auricle.runs.model import StepName
from auricle.runtime.bind import Bound
from auricle.runtime.cloudevent import binary
from auricle.runtime.settings import Settings
from auricle.speech.events import ChunkReleased, SpeechExpected, VoicesReleased


def deliver(function: str, event: Envelope) -> Response:
    headers, body = binary(event)
    process = Bound(Settings(auricle_function=function))
    with Flask(__name__).test_request_context("/", method="POST", headers=headers, data=body):
        return process(request._get_current_object())


@pytest.mark.parametrize("work", [StepName.TRANSCRIBE, StepName.DIARIZE])
def test_it_is_answered_with_nothing_and_passes_the_filter_of_the_work(work: StepName) -> None:
    from auricle.runtime.wiring import Wiring

    fact = SpeechExpected(work=work, model="m")
    answer = deliver(work, Wiring(Settings()).reply_envelope(fact, "1"))
    assert (answer.status_code, answer.get_data()) == (204, b"")
    assert registry.stages[work].filter == {"work": work}
    assert registry.stages[work].filter.items() <= fact.attributes().items()


def test_stages_hear_several_types_only_through_attributes_that_all_carry() -> None:
    with pytest.raises(DeclarationError, match="say concerns= or where="):

        @stage(on=(ChunkReleased, VoicesReleased))
        def without(event: ChunkReleased | VoicesReleased) -> None:
            """Nothing."""

    with pytest.raises(DeclarationError, match="must carry"):

        @stage(on=(ChunkReleased, VoicesReleased), where={"colour": "red"})
        def unknown(event: ChunkReleased | VoicesReleased) -> None:
            """Nothing."""

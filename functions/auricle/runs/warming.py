"""Waking the speech functions while bytes are still arriving."""

from __future__ import annotations

from auricle.files.model import Options
from auricle.ports.bus import Bus
from auricle.runs.expectations.store import ExpectationStore
from auricle.runs.model import Pace, StepName
from auricle.speech.events import SpeechExpected

EVERY_SECONDS = 60.0
"""A batch of uploads wakes a model once a minute, not once a file."""


def expect(options: Options, expected: ExpectationStore, bus: Bus, pace: Pace) -> None:
    """Tell the speech functions of the models that a new recording will need. Not for models that may not exist."""
    if not pace.prewarm:
        return
    wanted = {StepName.TRANSCRIBE: options.model or pace.transcribe_model}
    if options.diarize:
        wanted[StepName.DIARIZE] = pace.diarize_model
    served = {pace.transcribe_model, pace.diarize_model, *pace.offered}
    for work, model in wanted.items():
        if model in served and expected.due(work, model, EVERY_SECONDS):
            bus.publish(SpeechExpected(work=work, model=model))

"""A speech function says when it begins, now and then that it goes on, and nothing when there was nothing to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from auricle.contract.event import Envelope
from auricle.contract.function import registry
from auricle.errors import NotFound, Permanent
from auricle.files.model import FileId
from auricle.ports.speech import Voices
from auricle.runs.events import StepProgressed
from auricle.runs.model import RunId, StepName
from auricle.runtime.progress import BrokerProgress
from auricle.runtime.settings import Settings
from auricle.runtime.wiring import Wiring
from auricle.speech import stages
from auricle.speech.events import ChunkReleased, SpeechExpected, VoicesReleased

EVENT = VoicesReleased(
    run_id=RunId(uuid4()),
    file_id=FileId(uuid4()),
    attempt=1,
    model="voices-demo",
    manifest_url="manifest",
    result_get_url="result",
    result_put_url="result",
    receipt="r",
)


@dataclass
class Bytes:
    """Objects behind URLs."""

    kept: dict[str, bytes] = field(default_factory=lambda: {"manifest": b"[]"})

    def fetch(self, url: str) -> bytes:
        if url not in self.kept:
            raise NotFound("gone")
        return self.kept[url]

    def store(self, url: str, data: bytes) -> None:
        self.kept[url] = data


class Slow:
    """A model that thinks until it is let go."""

    def __init__(self, think: Callable[[], None]) -> None:
        self.think = think

    def diarizer(self, model: str) -> Any:
        return self

    def cluster(self, evidence: object, hints: object) -> Voices:
        self.think()
        return Voices(turns=(), exclusive=(), embeddings=())


class Told:
    """What was told, and a way to wait for it."""

    def __init__(self) -> None:
        self.fractions: list[float] = []
        self.changed = threading.Condition()

    def __call__(self, fraction: float) -> None:
        with self.changed:
            self.fractions.append(fraction)
            self.changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.fractions) >= count, 30)


def test_the_beginning_is_told_while_the_work_goes_on() -> None:
    told = Told()
    stages.cluster(EVENT, Bytes(), Slow(lambda: told.wait_for(1)), told)  # type: ignore[arg-type]
    assert told.fractions == [0.0]


def test_long_work_is_said_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "BEAT_SECONDS", 0.01)
    told = Told()
    stages.cluster(EVENT, Bytes(), Slow(lambda: told.wait_for(4)), told)  # type: ignore[arg-type]
    assert len(told.fractions) >= 4


def test_a_worker_that_hangs_is_not_believed_to_live_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "BEAT_SECONDS", 0.001)
    told = Told()

    def hang() -> None:
        told.wait_for(stages.MOST_BEATS)
        end = time.monotonic() + 5
        while any(thread.name == "signs of life" and thread.is_alive() for thread in threading.enumerate()):
            assert time.monotonic() < end
            time.sleep(0.005)

    stages.cluster(EVENT, Bytes(), Slow(hang), told)  # type: ignore[arg-type]
    assert len(told.fractions) == stages.MOST_BEATS


def test_work_that_was_done_before_begins_nothing() -> None:
    told, blobs = Told(), Bytes()
    blobs.kept["result"] = b"{}"
    answer = stages.cluster(EVENT, blobs, Slow(lambda: pytest.fail("done before")), told)  # type: ignore[arg-type]
    assert getattr(answer, "size", 0) == 2
    assert told.fractions == []


def test_failing_ends_the_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "BEAT_SECONDS", 0.01)
    told = Told()

    def break_down() -> None:
        told.wait_for(1)
        raise Permanent("no")

    with pytest.raises(Permanent):
        stages.cluster(EVENT, Bytes(), Slow(break_down), told)  # type: ignore[arg-type]
    end = time.monotonic() + 5
    while any(thread.name == "signs of life" and thread.is_alive() for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_broker_hears_the_first_word_at_once_and_then_rarely() -> None:
    posted: list[Envelope] = []

    class Sink:
        def post(self, event: Envelope) -> None:
            posted.append(event)

    wiring = Wiring(Settings(auricle_function="cluster", broker_url="http://broker"))
    wiring.__dict__["sink"] = Sink()
    progress = BrokerProgress(wiring, EVENT)
    for fraction in (0.0, 0.1, 0.2):
        progress(fraction)
    assert [event.type for event in posted] == [StepProgressed.TYPE]
    assert "sig" not in posted[0].extensions  # secretless: believed for the receipt inside


def test_releases_and_expectations_carry_what_triggers_filter_on() -> None:
    expected = SpeechExpected(work=StepName.TRANSCRIBE, model="m").attributes()
    assert expected == {"work": "transcribe", "model": "m"}
    assert EVENT.attributes() == {"work": "cluster", "model": "voices-demo"}
    assert ChunkReleased.ATTRIBUTES == SpeechExpected.ATTRIBUTES == VoicesReleased.ATTRIBUTES
    for name in ("transcribe", "diarize", "cluster"):
        assert registry.stages[name].filter["work"] == name

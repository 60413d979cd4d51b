"""Where the time goes when nobody was awake."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import pytest

from auricle.cli.coldness import bar, cold_starts_table, words
from auricle.runs.model import ColdStart
from auricle.runtime.coldstart import Birth, ColdStarts, birth_of_process, phases, timed_loading
from auricle_gpu.pool import Pool, SpeechSettings

POD = Birth(started=12.0, bound=10.5, sandbox=10.7, created=11.5)
LAPTOP = Birth(started=12.0)


def test_the_phases_of_a_pod_follow_one_another_and_add_up() -> None:
    found = phases(POD, 10.0, ready=13.0, loaded=15.0, answered=16.0)
    assert found is not None
    assert found.seconds == {
        "queued": 0.5,
        "scheduled": 0.2,
        "image": 0.8,
        "process": 1.5,
        "model": 2.0,
        "first_byte": 1.0,
    }
    assert found.waited == pytest.approx(5.0)


def test_without_a_pod_there_are_queue_process_model_and_first_byte() -> None:
    found = phases(LAPTOP, 10.0, ready=13.0, loaded=None, answered=13.5)
    assert found is not None
    assert found.seconds == {"queued": 2.0, "process": 1.0, "first_byte": 0.5}


def test_a_process_that_was_awake_before_the_event_has_no_cold_start() -> None:
    assert phases(POD, 13.5, ready=13.0, loaded=None, answered=14.0) is None


def test_a_model_that_is_loaded_for_the_event_is_a_cold_start_of_its_own() -> None:
    found = phases(POD, 14.0, ready=13.0, loaded=16.0, answered=17.0)
    assert found is not None
    assert found.seconds["model"] == 2.0
    assert found.seconds["queued"] == found.seconds["process"] == 0.0


def test_a_pod_that_was_on_its_way_when_the_event_came_counts_from_the_event() -> None:
    found = phases(POD, 11.0, ready=13.0, loaded=None, answered=14.0)
    assert found is not None
    assert found.seconds == {"queued": 0.0, "scheduled": 0.0, "image": 0.5, "process": 1.5, "first_byte": 1.0}


def test_clocks_that_disagree_make_no_negative_phase() -> None:
    ahead = Birth(started=9.0, bound=8.0, sandbox=7.0, created=8.5)
    found = phases(ahead, 10.0, ready=11.0, loaded=None, answered=10.5)
    assert found is not None
    assert all(value >= 0 for value in found.seconds.values())


def test_what_a_file_system_does_not_remember_falls_into_the_next_phase() -> None:
    found = phases(Birth(started=12.0, sandbox=10.7, created=11.5), 10.0, 13.0, None, 14.0)
    assert found is not None
    assert list(found.seconds) == ["queued", "image", "process", "first_byte"]
    assert found.waited == pytest.approx(3.0)


def test_a_request_that_comes_long_after_the_start_was_not_waited_for() -> None:
    assert phases(POD, None, 13.0, None, 60.0, arrived=59.0) is None
    found = phases(POD, None, 13.0, None, 13.4, arrived=13.2)
    assert found is not None
    assert "queued" not in found.seconds


def test_only_the_first_run_is_told_and_only_the_first_answer_measured() -> None:
    now = [13.0]
    process = ColdStarts(lambda: POD, clock=lambda: now[0])
    process.ready()
    now[0] = 14.0
    event = datetime.fromtimestamp(10.0, UTC)
    told = process.tell("transcribe", event, 3)
    assert told is not None
    assert (told.function, told.index, told.at, told.first_byte) == ("transcribe", 3, event, 1.0)
    assert process.tell("transcribe", event) is None
    assert process.measure(event, 13.9) is not None
    assert process.measure(event, 13.9) is None


def test_an_event_without_a_run_leaves_the_telling_to_the_next() -> None:
    process = ColdStarts(lambda: POD, clock=lambda: 13.0)
    assert process.tell("advance", datetime.fromtimestamp(20.0, UTC)) is None
    assert process.tell("advance", datetime.fromtimestamp(10.0, UTC)) is not None


def test_this_process_knows_when_it_started() -> None:
    began = birth_of_process(in_pod=False).started
    assert began < time.time()
    assert began > time.time() - os.times().elapsed  # not before the machine


def test_a_birth_in_a_container_is_read_from_what_kubelet_makes() -> None:
    found = birth_of_process(in_pod=True)  # this machine has the same files, for other reasons
    assert found.sandbox is not None
    assert found.created is not None


def test_loading_a_model_is_timed_where_the_pool_loads() -> None:
    loaded: list[str] = []
    pool = Pool(SpeechSettings(), load=timed_loading(lambda model, place: object(), lambda name, seconds: loaded.append(name)))
    pool.warm_up(["voices-demo", "voices-demo"])
    assert loaded == ["voices-demo"]


def test_what_a_speech_function_says_is_believed_within_reason() -> None:
    assert ColdStart(function="transcribe", at=datetime.now(UTC), queued=1.0).believable
    assert not ColdStart(function="transcribe", at=datetime.now(UTC), queued=-1.0).believable
    assert not ColdStart(function="transcribe", at=datetime.now(UTC), model=float("nan")).believable
    assert not ColdStart(function="x" * 1000, at=datetime.now(UTC)).believable


def test_a_run_shows_each_cold_start_with_its_phases() -> None:
    told = {
        "function": "transcribe",
        "index": 0,
        "queued": 0.9,
        "scheduled": 0.05,
        "image": None,
        "process": 1.25,
        "first_byte": 0.3,
    }
    assert words(told) == "queued 0.90 s · scheduled 0.05 · process 1.25 · first byte 0.30"
    assert 28 <= len(bar(told).plain) <= 32
    run = {"steps": [{"cold_starts": [told, {**told, "index": 1}]}], "cold_starts": [{**told, "function": "advance"}]}
    table = cold_starts_table(run)
    assert table is not None
    assert [cell for cell in table.columns[0].cells if cell] == ["advance", "transcribe 1", "transcribe 2"]


def test_a_warm_run_shows_nothing() -> None:
    assert cold_starts_table({"steps": [{"name": "prepare"}]}) is None

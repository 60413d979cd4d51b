"""What a speech process answers to probes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from flask import Flask, Response, request

from auricle.runtime.bind import Bound
from auricle.runtime.settings import Settings


def probe(bound: Bound, path: str) -> Response:
    with Flask(__name__).test_request_context(path):
        return bound(request._get_current_object())


def bound(models_dir: Path | None = None, function: str = "diarize", **more: object) -> Bound:
    chosen = {"models_dir": str(models_dir or ""), "speech_device": "cpu", "speech_threads": 1, **more}
    return Bound(Settings(auricle_function=function, **chosen))  # type: ignore[arg-type]


def ready_in_the_end(process: Bound) -> None:
    end = time.monotonic() + 30
    while probe(process, "/readyz").status_code != 200:
        assert time.monotonic() < end, probe(process, "/readyz").get_data(as_text=True)
        time.sleep(0.02)


def test_a_process_without_its_model_lives_and_is_not_ready(tmp_path: Path) -> None:
    process = bound(tmp_path, pinned_model="pyannote-community-1")
    said = ""
    end = time.monotonic() + 30
    while "auricle models pull pyannote-community-1" not in said:
        answer = probe(process, "/readyz")
        assert answer.status_code == 503
        said = answer.get_data(as_text=True)
        assert time.monotonic() < end, said
        time.sleep(0.02)
    assert probe(process, "/healthz").status_code == 200


@pytest.mark.parametrize("more", [{"models_required": True}, {"pinned_model": "voices-demo"}])
def test_a_process_is_ready_once_its_model_is_warm(more: dict[str, object]) -> None:
    process = bound(**more)
    assert probe(process, "/readyz").status_code == 503
    ready_in_the_end(process)


def test_a_process_that_hears_words_and_voices_warms_both() -> None:
    process = bound(None, "*speech", models_required=True)
    ready_in_the_end(process)
    from auricle.ports.speech import SpeechModels

    assert set(process.wiring.provide(SpeechModels).warm()) == {"voices-demo", "whisper-demo"}


def test_on_the_laptop_models_are_loaded_when_they_are_needed() -> None:
    process = bound()
    assert probe(process, "/readyz").status_code == 200
    assert "_ports" not in process.wiring.__dict__

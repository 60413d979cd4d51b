"""The adapters that every case of the speech contracts runs against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from auricle.ports.speech import Diarizer, Transcriber
from auricle_gpu.budget import Device
from auricle_gpu.models import DEMO
from auricle_gpu.pool import Pool, SpeechSettings

POOL = Pool(SpeechSettings(device=Device.CPU, threads=2))


def faster_whisper() -> Transcriber:
    from auricle.adapters.speech.faster_whisper import Decoding, FasterWhisper

    return FasterWhisper(DEMO / "whisper-demo", compute_type="int8", threads=2, decoding=Decoding(beam_size=1))


def onnx_voices() -> Diarizer:
    from auricle.adapters.speech.onnx_voices import OnnxVoices

    return OnnxVoices(DEMO / "voices-demo", threads=2)


def pyannote_voices() -> Diarizer:
    pytest.importorskip("pyannote.audio", reason="the gpu extra is not installed (make test-speech)")
    from auricle.adapters.speech.pyannote import PyannoteVoices

    return PyannoteVoices(DEMO / "pyannote-demo", threads=2)


TRANSCRIBERS: dict[str, Callable[[], Transcriber]] = {
    "FasterWhisper": faster_whisper,
    "pooled FasterWhisper": lambda: POOL.transcriber("whisper-demo"),
}
DIARIZERS: dict[str, Callable[[], Diarizer]] = {
    "OnnxVoices": onnx_voices,
    "pooled OnnxVoices": lambda: POOL.diarizer("voices-demo"),
    "PyannoteVoices": pyannote_voices,
}


@pytest.fixture(scope="session", params=TRANSCRIBERS)
def transcriber(request: Any) -> Transcriber:
    return TRANSCRIBERS[request.param]()


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=pytest.mark.torch if name == "PyannoteVoices" else ()) for name in DIARIZERS],
)
def diarizer(request: Any) -> Diarizer:
    return DIARIZERS[request.param]()

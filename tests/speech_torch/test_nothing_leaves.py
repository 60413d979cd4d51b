"""pyannote.audio reports to its makers unless it is told not to: it is told, and nothing connects anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.torch
pytest.importorskip("pyannote.audio", reason="the gpu extra is not installed (make test-speech)")

SCRIPT = textwrap.dedent(
    """
    import json, socket, time
    import numpy

    attempts = []

    def refused(self, address):
        attempts.append(str(address))
        raise ConnectionRefusedError(address)

    def unresolved(host, *rest, **more):
        attempts.append(str(host))
        raise socket.gaierror(host)

    socket.socket.connect = socket.socket.connect_ex = refused
    socket.getaddrinfo = unresolved

    from auricle.adapters.speech.pyannote import PyannoteVoices
    from auricle.ports.speech import Span, SpeakerHints
    from auricle_gpu.models import DEMO

    {before}
    voices = PyannoteVoices(DEMO / "pyannote-demo", threads=1)
    noise = (numpy.random.default_rng(0).standard_normal(6 * 16000) * 0.1).astype(numpy.float32)
    voices.cluster([voices.listen(noise, Span(0, 0.0, 6.0, 6.0), (), lambda _: None)], SpeakerHints())
    from pyannote.audio.telemetry import metrics
    {after}
    metrics.provider.force_flush(5000)
    import huggingface_hub.constants
    print(json.dumps({{
        "enabled": metrics.is_metrics_enabled(),
        "attempts": attempts,
        "offline": huggingface_hub.constants.HF_HUB_OFFLINE,
        "default": metrics.CONFIG["metrics_enabled"],
    }}))
    """
)
TELL = "from pyannote.audio.telemetry import set_telemetry_metrics, track_model_init; set_telemetry_metrics(True)"


def told(before: str = "", after: str = "", **environment: str) -> dict[str, object]:
    script = SCRIPT.format(before=before, after=after)
    variables = {**{k: v for k, v in os.environ.items() if k != "PYANNOTE_METRICS_ENABLED"}, **environment}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=110, env=variables, check=False
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, object] = json.loads(run.stdout.splitlines()[-1])
    return found


def test_telemetry_is_off_although_the_environment_wants_it() -> None:
    found = told(PYANNOTE_METRICS_ENABLED="1")
    assert found == {"enabled": False, "attempts": [], "offline": True, "default": True}


def test_the_test_would_notice_telemetry() -> None:
    found = told(after=f"{TELL}; track_model_init(voices._pipeline._segmentation.model)")
    assert found["enabled"] is True
    assert found["attempts"]

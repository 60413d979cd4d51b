"""Images at work, as a pod has them: PID 1, user 65532, a read-only root, nothing but /tmp to write."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from auricle.deploy.catalogue import catalogue
from cluster.images.built import Image, image, printed_by, started

pytestmark = pytest.mark.cluster

SETTINGS = {
    "THREADS": "8",
    "DATABASE_URL": "postgresql+pg8000://nobody@127.0.0.1:1/none",
    "EVENT_KEY": "11" * 32,
    "BROKER_URL": "http://127.0.0.1:1",
    "S3_ENDPOINT": "http://127.0.0.1:1",
    "S3_ACCESS_KEY_ID": "nobody",
    "S3_SECRET_ACCESS_KEY": "nothing",
    "OBJECT_ORIGINS": "http://127.0.0.1:1",
}


def everything(ours: Image) -> dict[str, str]:
    """Settings for all functions of one image at once."""
    return SETTINGS | {"AURICLE_FUNCTION": "*" + ours.name.removeprefix("auricle-")}


def test_it_serves_and_ends_when_told(ours: Image) -> None:
    with started(ours, everything(ours)) as container:
        container.ready()
        container.signal("TERM")
        assert container.ended() == 0, container.printed()


def test_it_ends_while_it_still_starts(ours: Image) -> None:
    with started(ours, everything(ours)) as container:
        while not container_runs(container.name):
            assert container.process.poll() is None, container.printed()
        container.signal("TERM")
        assert container.ended() == 128 + 15, "gunicorn would have said 0: it was up already\n" + container.printed()


def container_runs(name: str) -> bool:
    """PID 1 is Python, and Python has heard of our signal handler: it has imported something."""
    state = subprocess.run(["runc", "state", name], capture_output=True, text=True, timeout=20)
    if state.returncode or json.loads(state.stdout)["status"] != "running":
        return False
    status = Path(f"/proc/{json.loads(state.stdout)['pid']}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << 14)  # SIGTERM is 15


@pytest.mark.parametrize("kind", ["api", "identity", "media", "speech"])
def test_each_function_starts_alone_in_its_image(kind: str) -> None:
    names = [entry.name for entry in catalogue() if entry.image.value == kind]
    assert names
    script = (
        "import json, os, subprocess, sys\n"
        "failed = {}\n"
        "for name in sys.argv[1:]:\n"
        "    done = subprocess.run([sys.executable, '-c', 'from auricle.runtime.bind import bind; bind()'],\n"
        "                          env={**os.environ, 'AURICLE_FUNCTION': name}, capture_output=True, text=True)\n"
        "    if done.returncode: failed[name] = done.stderr[-800:]\n"
        "print(json.dumps(failed))\n"
    )
    printed = printed_by(image(f"auricle-{kind}"), "/app/venv/bin/python", "-c", script, *names, environment=SETTINGS)
    assert json.loads(printed.splitlines()[-1]) == {}


def test_nothing_is_compiled_at_a_cold_start(ours: Image) -> None:
    """`-v` tells for each module whether its byte code was taken or made."""
    printed = printed_by(
        ours,
        "/app/venv/bin/python", "-v", "-c", "from auricle.runtime.bind import bind; bind(); import functions_framework._cli",
        environment=everything(ours),
    )  # fmt: skip
    taken = [line for line in printed.splitlines() if line.startswith("# code object from '")]
    made = [line for line in printed.splitlines() if line.startswith("# code object from /")]
    assert len(taken) > 300
    assert made == []


def test_the_media_image_hears_speech() -> None:
    printed = printed_by(
        image("auricle-media"),
        "/app/venv/bin/python", "-c",
        "import av, numpy\nfrom auricle.adapters.media.silero import SpeechProbabilities\n"
        "print(len(SpeechProbabilities()(numpy.zeros(16000, numpy.int16))))",
    )  # fmt: skip
    assert int(printed.splitlines()[-1]) == 32


def test_the_speech_image_transcribes_the_meeting_it_ships() -> None:
    printed = printed_by(
        image("auricle-speech"),
        "/app/venv/bin/python", "-c",
        "from pathlib import Path\nimport auricle_gpu\nfrom faster_whisper import WhisperModel\n"
        "demo = Path(auricle_gpu.__file__).parent / 'demo'\n"
        "model = WhisperModel(str(demo / 'whisper-demo'), device='cpu', compute_type='int8', cpu_threads=1)\n"
        "segments, _ = model.transcribe(str(demo / 'meeting.flac'), language='en', beam_size=1, clip_timestamps='0,8')\n"
        "print(' '.join(s.text for s in segments))",
        environment={"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert len(printed.split()) > 3, printed

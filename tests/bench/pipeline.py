"""What the pipeline adds to the model: wall time over raw faster-whisper, and two workers over one.

    python tests/bench/pipeline.py [--minutes 10]

Both sides hear the same clips with the same model on the same cores in one run of this script. The pipeline's time runs
from `complete` to the run's end: prepare, events, chunks, joining and export included, workers warm. Speakers are not
told apart (the raw side does not either); their cost is told as a figure of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.figures import figure

CHUNK_SECONDS = 60.0


def main() -> None:
    """Make the recording, run both sides."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--minutes", type=float, default=10.0)
    given = arguments.parse_args()
    from builders.recordings import looped_meeting

    with tempfile.TemporaryDirectory() as folder:
        recording = looped_meeting(Path(folder) / "dense.flac", given.minutes * 60)
        raw = raw_seconds(recording)
        figure(
            "raw faster-whisper",
            raw,
            "s",
            note=f"{given.minutes:g} minutes, {os.cpu_count()} threads, batch of 4, model loaded",
        )
        two = pipeline_seconds(recording, 2, diarize=False)
        figure("pipeline wall over raw", two / raw, "×", "≤ 1.10", f"{two:.1f} s, two workers of half the cores")
        one = pipeline_seconds(recording, 1, diarize=False)
        figure("two workers over one", one / two, "×", note=f"{one:.1f} s with one worker (which has all cores)")
        voices = pipeline_seconds(recording, 2, diarize=True)
        figure("with speakers over without", voices / two, "×", note=f"{voices:.1f} s")


def raw_seconds(recording: Path) -> float:
    """faster-whisper alone on the clips that the pipeline would find."""
    import numpy
    from faster_whisper.audio import decode_audio

    from auricle.adapters.media.pyav import PyAvReader
    from auricle.ports.media import Clip
    from auricle_gpu.bench import raw_whisper
    from auricle_gpu.models import resolve

    clips: list[Clip] = []
    with recording.open("rb") as source:
        PyAvReader().read(
            source, chunk_seconds=300, audio_track=None, deliver=lambda c: clips.extend(c.clips), progress=lambda _: None
        )
    samples = numpy.asarray(decode_audio(str(recording)), dtype=numpy.float32)
    timing = raw_whisper(resolve("whisper-demo", None).path, samples, clips, threads=os.cpu_count() or 1)
    return timing.seconds


def pipeline_seconds(recording: Path, workers: int, diarize: bool) -> float:
    """From `complete` to the run's end, on an embedded host of its own, after a warm-up."""
    from auricle.cli.embedded import embedded_host
    from auricle_gpu import __file__ as package

    warm_up = Path(package).parent / "demo" / "meeting.flac"
    with embedded_host(None, {"AURICLE_SPEECH_WORKERS": str(workers)}) as server:
        options: dict[str, Any] = {"diarize": diarize, "chunk_seconds": CHUNK_SECONDS}
        _run(server, warm_up, {**options, "chunk_seconds": 20})
        return _run(server, recording, options)


def _run(server: Any, path: Path, options: dict[str, Any]) -> float:
    from auricle.cli.following import run_of_file

    file = server.upload(path, options, None, lambda done, size: None)
    begun = time.perf_counter()  # `upload` returns right after `complete`
    run = run_of_file(server, file["id"])
    while run["state"] in ("queued", "running"):
        time.sleep(0.05)
        run = server.call("GET", f"/api/runs/{run['id']}")
    assert run["state"] == "succeeded", run
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()

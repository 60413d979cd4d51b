"""Twelve hours of sparse speech through the whole pipeline: does it end, and how large does each process grow?

python tests/bench/long_recording.py [--hours 12] [--sentences 200]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.figures import figure


def main() -> None:
    """Make the recording, run it, watch."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--hours", type=float, default=12.0)
    arguments.add_argument("--sentences", type=int, default=200)
    given = arguments.parse_args()
    from auricle.cli.embedded import embedded_host
    from auricle.cli.following import run_of_file
    from builders.recordings import sparse_speech

    with tempfile.TemporaryDirectory() as folder:
        recording = sparse_speech(Path(folder) / "long.ogg", given.hours, given.sentences)
        data = Path(folder) / "data"
        with embedded_host(data) as server:
            peaks: dict[str, float] = {}
            watching = threading.Event()
            watcher = threading.Thread(target=_watch, args=(data, peaks, watching), daemon=True)
            watcher.start()
            begun = time.perf_counter()
            file = server.upload(recording, {}, None, lambda done, size: None)
            run = run_of_file(server, file["id"])
            while run["state"] in ("queued", "running"):
                time.sleep(0.5)
                run = server.call("GET", f"/api/runs/{run['id']}")
            seconds = time.perf_counter() - begun
            watching.set()
            watcher.join()
            assert run["state"] == "succeeded", run
            transcript = server.call("GET", f"/api/files/{file['id']}/transcript")
            words = sum(len(s["words"]) for s in transcript["segments"])
            figure("12 hours of sparse speech", seconds, "s", note=f"{words} words, {len(transcript['speakers'])} speakers")
            for name, megabytes in sorted(peaks.items()):
                figure(f"  peak RSS of {name}", megabytes, "MB")


def _watch(data: Path, peaks: dict[str, float], end: threading.Event) -> None:
    """The largest resident size of each kind of process."""
    while not end.wait(0.2):
        host = msgspec.json.decode((data / "run" / "host.json").read_bytes())
        for process in psutil.Process(host["supervisor"]).children(recursive=True):
            try:
                name = process.environ().get("AURICLE_FUNCTION") or " ".join(process.cmdline())[:40]
                name = "postgres" if "postgres" in name else name
                peaks[name] = max(peaks.get(name, 0.0), process.memory_info().rss / 1e6)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue


if __name__ == "__main__":
    main()

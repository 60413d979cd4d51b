"""What reading a recording costs: peak memory over six hours, and where the time goes in ten minutes of dense speech.

    python tests/bench/prepare_memory.py [--hours 6] [--keep DIR]

Prints one line per figure. Memory is the peak resident size of a fresh process, imports included; shares are CPU seconds of one
run, per part, over the recording's duration.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

GOAL_MB = 300


def main() -> None:
    """Make the recordings and measure each in a process of its own."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--hours", type=float, default=6.0)
    arguments.add_argument("--keep", type=Path, help="keep the made recordings here and use them again")
    arguments.add_argument("--measure", nargs=2, metavar=("WHAT", "PATH"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.measure:
        {"memory": measure_memory, "time": measure_time}[given.measure[0]](Path(given.measure[1]))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = given.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        for what, path in recordings(folder, given.hours):
            print(f"{path.name}:", flush=True)
            subprocess.run([sys.executable, __file__, "--measure", what, str(path)], check=True, timeout=1800)


def recordings(folder: Path, hours: float) -> list[tuple[str, Path]]:
    """What to measure on which file; files that are there already are not made again."""
    from builders.recordings import looped_meeting, sparse_speech

    plan: list[tuple[str, Path, Callable[[Path], Path]]] = [
        ("memory", folder / f"silence-{hours:g}h.flac", lambda path: sparse_speech(path, hours, 1)),
        ("memory", folder / f"room-noise-{hours:g}h.ogg", lambda path: sparse_speech(path, hours, 40, noise=True)),
        ("memory", folder / f"dense-{hours:g}h.flac", lambda path: looped_meeting(path, hours * 3600)),
        ("time", folder / "dense-10min.flac", lambda path: looped_meeting(path, 600)),
    ]
    for _, path, build in plan:
        if not path.exists():
            build(path)
    return [(what, path) for what, path, _ in plan]


def measure_memory(path: Path) -> None:
    """Read the file in this process and say how large it grew."""
    from auricle.adapters.media.pyav import PyAvReader

    sizes: list[int] = []
    begin = time.perf_counter()
    with path.open("rb") as source:
        recording = PyAvReader().read(
            source,
            chunk_seconds=300,
            audio_track=None,
            deliver=lambda chunk: sizes.append(len(chunk.flac)),
            progress=lambda _: None,
        )
    wall = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"  peak memory {peak:.0f} MB (goal {GOAL_MB})  wall {wall:.1f} s = {wall / recording.duration:.2%} of {recording.duration:.0f} s"
        f"  chunks {recording.chunks}, largest {max(sizes) / 1e6:.1f} MB  speech {recording.speech_seconds:.0f} s"
        f"  peaks {len(recording.peaks)}"
    )


def measure_time(path: Path) -> None:
    """Read the file with a stopwatch in every part."""
    import threading

    from auricle.adapters.media import chunking, decoding, timeline
    from auricle.adapters.media.pyav import PyAvReader

    spent: dict[str, float] = {}

    def timed(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            begin = time.thread_time()
            try:
                return act(*args, **kwargs)
            finally:
                spent[name] = spent.get(name, 0.0) + time.thread_time() - begin

        return run

    setattr(decoding.Decoding, "_decode", timed("decode", decoding.Decoding._decode))  # noqa: B010
    setattr(timeline.MonoResampler, "push", _timed_iterator("resample, mix", timeline.MonoResampler.push, spent))  # noqa: B010
    setattr(chunking, "encode_flac", timed("FLAC", chunking.encode_flac))  # noqa: B010
    setattr(chunking.SpeechFinder, "push", timed("stretches", chunking.SpeechFinder.push))  # noqa: B010
    setattr(chunking.SpeechProbabilities, "__call__", timed("VAD (own thread)", chunking.SpeechProbabilities.__call__))  # noqa: B010
    cpu, begin = time.process_time(), time.perf_counter()
    with path.open("rb") as source:
        recording = PyAvReader().read(
            source, chunk_seconds=300, audio_track=None, deliver=lambda _: None, progress=lambda _: None
        )
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    spent["the rest"] = cpu - sum(spent.values())
    for name, seconds in [("wall", wall), ("CPU", cpu), *sorted(spent.items(), key=lambda entry: -entry[1])]:
        print(f"  {name:18} {seconds:6.2f} s  {seconds / recording.duration:.3%} of the duration")
    assert threading.active_count() == 1, "the reader leaves no thread behind"


def _timed_iterator(name: str, act: Callable[..., Any], spent: dict[str, float]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        iterator = act(*args)
        while True:
            begin = time.thread_time()
            try:
                piece = next(iterator)
            except StopIteration:
                return
            finally:
                spent[name] = spent.get(name, 0.0) + time.thread_time() - begin
            yield piece

    return run


if __name__ == "__main__":
    main()

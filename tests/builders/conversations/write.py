"""Writes conversations for `auricle bench`: `PYTHONPATH=tests python -m builders.conversations.write FOLDER --count 24`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import av
import msgspec
import numpy

from builders.conversations.conversation import SAMPLE_RATE, Conversation, Wish, conversations
from builders.conversations.voices import Pool


def wishes(count: int, pool: Pool, first_seed: int = 1000, seconds: float = 60.0) -> list[Wish]:
    """`count` different conversations of one to four people."""
    return [Wish(seed=first_seed + n, speakers=1 + n % 4, pool=pool, seconds=seconds) for n in range(count)]


def write(folder: Path, named: Iterable[tuple[str, Conversation]]) -> None:
    """`NAME.flac` and `NAME.json` for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, spoken in named:
        with av.open(str(folder / f"{name}.flac"), "w") as container:
            stream = container.add_stream("flac", rate=SAMPLE_RATE)
            stream.layout = "mono"
            whole = (numpy.clip(spoken.samples, -1, 1) * 32767).astype(numpy.int16)[None]
            frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
            frame.rate = SAMPLE_RATE
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        (folder / f"{name}.json").write_text(json.dumps(msgspec.to_builtins(spoken.truth), indent=1))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--count", type=int, default=24)
    arguments.add_argument("--pool", type=Pool, choices=list(Pool), default=Pool.HEARD)
    arguments.add_argument("--seconds", type=float, default=60.0)
    chosen = arguments.parse_args()
    wished = wishes(chosen.count, chosen.pool, seconds=chosen.seconds)
    names = [f"{wish.pool}-{wish.speakers}-{wish.seed}" for wish in wished]
    write(chosen.folder, zip(names, conversations(wished), strict=True))


if __name__ == "__main__":
    main()

"""Recordings are made once per run; a reading keeps what a reader delivered and told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import av
import numpy
import pytest
from numpy.typing import NDArray

from auricle.adapters.media.pyav import PyAvReader
from auricle.ports.media import Chunk, MediaReader, Recording
from builders import recordings

_ALL = recordings.GOOD | recordings.SPEECHLESS | recordings.HURT | recordings.BAD | {"late.mp4": recordings.late_track}


@dataclass
class Reading:
    """What came out of one call of `read`."""

    chunks: list[Chunk] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    recording: Recording | None = None

    @property
    def known(self) -> Recording:
        """The recording, which must be there."""
        assert self.recording is not None
        return self.recording

    @property
    def clips(self) -> list[tuple[float, float]]:
        """All clips of all chunks."""
        return [(clip.start, clip.end) for chunk in self.chunks for clip in chunk.clips]

    def sound(self) -> NDArray[numpy.int16]:
        """The whole recording, put together from each chunk's own share."""
        shares = [decoded(chunk.flac)[: round((chunk.end - chunk.start) * 16_000)] for chunk in self.chunks]
        return numpy.concatenate(shares)


def decoded(flac: bytes) -> NDArray[numpy.int16]:
    """The samples of a mono FLAC."""
    with av.open(BytesIO(flac)) as container:
        return numpy.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def read(
    source: Path | BinaryIO, *, reader: MediaReader, chunk_seconds: float = 300, audio_track: int | None = None
) -> Reading:
    """Read a file with everything kept."""
    reading = Reading()
    opened = source.open("rb") if isinstance(source, Path) else source
    with opened:
        reading.recording = reader.read(
            opened,
            chunk_seconds=chunk_seconds,
            audio_track=audio_track,
            deliver=reading.chunks.append,
            progress=reading.told.append,
        )
    return reading


@pytest.fixture(params=[PyAvReader], ids=["pyav"])
def reader(request: pytest.FixtureRequest) -> MediaReader:
    """Every adapter of the port."""
    made: MediaReader = request.param()
    return made


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A recording of `builders.recordings` by its file name."""
    folder = tmp_path_factory.mktemp("recordings")

    def make(name: str) -> Path:
        path = folder / name
        return path if path.exists() else _ALL[name](path)

    return make

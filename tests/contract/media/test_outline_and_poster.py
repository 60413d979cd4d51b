"""Peaks for drawing, posters for recognising, FLAC for everybody."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import av
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auricle.adapters.media.flac import encode_flac
from auricle.adapters.media.peaks import Peaks
from auricle.adapters.media.pyav import PyAvReader
from builders import recordings

from .conftest import decoded, read

Made = Callable[[str], Path]


@settings(deadline=None, max_examples=40)
@given(
    sound=st.lists(st.integers(-32768, 32767), min_size=1, max_size=40),
    pieces=st.lists(st.integers(1, 9_000), min_size=1, max_size=6),
    most=st.integers(2, 12),
)
def test_peaks_are_the_loudest_of_each_slice_however_often_halved(sound: list[int], pieces: list[int], most: int) -> None:
    samples = numpy.repeat(numpy.array(sound, numpy.int16), 777)
    peaks, at, turn = Peaks(most), 0, 0
    while at < len(samples):
        size = pieces[turn % len(pieces)]
        peaks.push(samples[at : at + size])
        at, turn = at + size, turn + 1
    width = round(16_000 / peaks.per_second)
    slices = [samples[at : at + width].astype(int) for at in range(0, len(samples), width)]
    assert peaks.finish() == tuple(min(255, (int(abs(part).max()) * 255 + 16384) // 32768) for part in slices)
    assert len(slices) <= most + 1


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=8))
def test_flac_depends_on_the_samples_only(sizes: list[int]) -> None:
    sound = recordings.speech(0, 4.0)[0]
    borders = [border for border in numpy.cumsum(sizes) if border < len(sound)]
    flac = encode_flac(numpy.split(sound, borders))
    assert flac == encode_flac([sound])
    assert (decoded(flac) == sound).all()


def picture(jpeg: bytes | None) -> NDArray[numpy.uint8]:
    assert jpeg is not None
    assert jpeg.startswith(b"\xff\xd8\xff")
    with av.open(BytesIO(jpeg), format="jpeg_pipe") as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24").astype(numpy.uint8)


@pytest.mark.parametrize("name", ["meeting.mp4", "meeting.mkv", "meeting.webm"])
def test_poster_shows_the_video_after_a_second(name: str, made: Made) -> None:
    shown = picture(read(made(name), reader=PyAvReader()).known.poster)
    assert shown.shape == (180, 320, 3)
    ground = shown[90, 310].astype(int)
    assert abs(ground - (40, 90, 160)).max() < 12


def test_cover_art_is_a_poster_and_no_video(made: Made) -> None:
    known = read(made("cover.mp3"), reader=PyAvReader()).known
    assert picture(known.poster).shape == (180, 320, 3)
    assert [track.kind for track in known.tracks] == ["audio", "other"]


def test_sound_alone_has_no_poster(made: Made) -> None:
    assert read(made("meeting.flac"), reader=PyAvReader()).known.poster is None


def drawn(path: Path, pixels: NDArray[numpy.uint8]) -> Path:
    """A short still video with sound."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=5)
        video.height, video.width, video.pix_fmt = *pixels.shape[:2], "yuv420p"
        sound = container.add_stream("aac", rate=16_000)
        sound.layout = "mono"
        for number in range(15):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        speech = av.AudioFrame.from_ndarray(numpy.ascontiguousarray(recordings.speech(0, 3.0)), format="s16", layout="mono")
        speech.sample_rate = 16_000
        container.mux(sound.encode(speech))
        container.mux(sound.encode(None))
    return path


def test_wide_video_is_scaled_down(tmp_path: Path) -> None:
    path = drawn(tmp_path / "wide.mp4", numpy.full((720, 2560, 3), 128, numpy.uint8))
    assert picture(read(path, reader=PyAvReader()).known.poster).shape == (360, 1280, 3)


def test_poster_is_turned_as_the_phone_was_held(tmp_path: Path) -> None:
    top = numpy.zeros((160, 320, 3), numpy.uint8)
    top[:60] = 255
    path = drawn(tmp_path / "phone.mp4", top)
    whole = bytearray(path.read_bytes())
    matrix = whole.index(b"tkhd") + 4 + 40  # ISO/IEC 14496-12 §8.3.2
    quarter_turn = (0, 1 << 16, 0, -(1 << 16), 0, 0, 160 << 16, 0, 1 << 30)
    whole[matrix : matrix + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in quarter_turn)
    path.write_bytes(whole)
    shown = picture(read(path, reader=PyAvReader()).known.poster)
    assert shown.shape == (320, 160, 3)
    assert shown[160, 150].min() > 200
    assert shown[160, 10].max() < 50

"""What is told of a container, and what a hostile one cannot do."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import av
import numpy
import pytest

from auricle.adapters.media.pyav import PyAvReader
from auricle.errors import Permanent
from builders import recordings
from builders.recordings import GOOD, write

from .conftest import Reading, read

Made = Callable[[str], Path]
_NAMES = {"meeting.m4a": "m4a", "meeting.mkv": "matroska", "two-tracks.mkv": "matroska", "chained.ogg": "ogg"}


@pytest.mark.parametrize("name", GOOD)
def test_containers_go_by_their_usual_names(name: str, made: Made) -> None:
    assert read(made(name), reader=PyAvReader()).known.container == _NAMES.get(name, Path(name).suffix[1:])


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("talk.avi", "libmp3lame", 44_100),
        ("talk.flv", "libmp3lame", 44_100),
        ("talk.ts", "aac", 48_000),
        ("talk.aac", "aac", 44_100),
        ("talk.aiff", "pcm_s16be", 16_000),
        ("talk.caf", "pcm_s16le", 16_000),
        ("talk.mov", "alac", 44_100),
        ("talk.ac3", "ac3", 48_000),
        ("talk.mka", "flac", 16_000),
    ],
)
def test_other_containers_are_read_too(name: str, codec: str, rate: int, tmp_path: Path) -> None:
    known = read(write(tmp_path / name, [recordings.speech()], codec, rate=rate), reader=PyAvReader()).known
    assert known.duration == pytest.approx(recordings.SECONDS, abs=0.06)
    assert known.tracks[-1].rate == rate
    assert known.warnings == ()


def test_tracks_are_described(made: Made) -> None:
    picture, sound = read(made("meeting.mp4"), reader=PyAvReader()).known.tracks
    assert (picture.kind, picture.codec, picture.width, picture.height) == ("video", "h264", 320, 180)
    assert (sound.kind, sound.codec, sound.channels, sound.rate) == ("audio", "aac", 1, 44_100)
    assert sound.duration == pytest.approx(recordings.SECONDS, abs=0.03)


def test_recording_opens_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A playlist that would be a whole recording if the file beside it could be opened."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "beside.ts", [recordings.speech()], "aac", rate=48_000)
    lists = {
        "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:8.1,\nbeside.ts\n#EXT-X-ENDLIST\n",
        "concat": "ffconcat version 1.0\nfile beside.ts\n",
    }
    for text in lists.values():
        with pytest.raises(Permanent, match="not a recording"):
            read(BytesIO(text.encode()), reader=PyAvReader())


def test_cover_made_to_fill_the_memory_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "bomb.mp3"
    with av.open(str(path), "w", format="mp3") as container:
        sound = container.add_stream("libmp3lame", rate=44_100)
        sound.layout = "mono"
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 8_000, 8_000, "gray"
        cover.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(_huge_png(8_000))
        packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, Fraction(1, 1)
        container.mux(packet)
        frame = av.AudioFrame.from_ndarray(numpy.ascontiguousarray(recordings.speech()), format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    known = read(path, reader=PyAvReader()).known
    assert known.poster is None
    assert known.duration == pytest.approx(recordings.SECONDS, abs=0.03)


def _huge_png(side: int) -> bytes:
    """A black square that packs well."""
    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    body = b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("seed", range(60))
def test_any_damage_ends_in_a_whole_recording_or_a_refusal(seed: int, made: Made) -> None:
    chance = random.Random(seed)
    data = bytearray(made(chance.choice(sorted(GOOD))).read_bytes())
    for _ in range(chance.choice((1, 5, 50))):
        at = chance.randrange(len(data)) if chance.random() < 0.5 else min(len(data) - 1, int(chance.expovariate(1 / 300)))
        data[at : at + chance.randrange(1, 9)] = chance.randbytes(chance.randrange(0, 9)) or b"\0"
    with suppress(Permanent):
        assert_whole(read(BytesIO(bytes(data)), reader=PyAvReader(), chunk_seconds=3))


def assert_whole(reading: Reading) -> None:
    assert reading.chunks[0].start == 0
    assert all(a.end == b.start for a, b in pairwise(reading.chunks))
    assert reading.chunks[-1].end == reading.known.duration


def test_recording_without_a_length_in_its_header_is_whole(tmp_path: Path) -> None:
    """As browsers record: WebM written in one go, nothing filled in afterwards."""
    whole = write(tmp_path / "live.webm", [recordings.speech()], "libopus", rate=48_000, options={"live": "1"})
    known = read(whole, reader=PyAvReader()).known
    assert known.duration == pytest.approx(recordings.SECONDS, abs=0.03)
    assert known.warnings == ()


def test_streamed_wav_is_whole(made: Made) -> None:
    """Written to a pipe, its sizes say 'unknown'."""
    data = bytearray(made("meeting.wav").read_bytes())
    data[4:8] = b"\xff\xff\xff\xff"
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    known = read(BytesIO(bytes(data)), reader=PyAvReader()).known
    assert known.duration == pytest.approx(recordings.SECONDS, abs=0.03)
    assert known.warnings == ()


def test_tag_at_the_end_of_an_mp3_is_no_damage(made: Made) -> None:
    data = made("meeting.mp3").read_bytes() + b"TAG" + b"x" * 125
    assert read(BytesIO(data), reader=PyAvReader()).known.warnings == ()

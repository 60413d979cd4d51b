"""Recordings of every kind a person may upload, made from the first sentences of the demo meeting.

A builder writes one file and returns its path; the keys of the tables are good file names for them:
`for name, build in GOOD.items(): build(tmp_path / name)`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from io import BytesIO
from itertools import zip_longest
from pathlib import Path

import av
import numpy
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

Builder = Callable[[Path], Path]
Samples = NDArray[numpy.int16]
"""Shape (channels, samples) at 16 kHz."""

RATE = 16_000
SECONDS = 8.12
"""Length of the recordings with speech: the meeting's first four sentences."""
SENTENCES = 4
_DEMO = Path(__file__).parents[2] / "gpu-pool" / "auricle_gpu" / "demo"
_KEY = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


@cache
def meeting() -> Samples:
    """The whole demo meeting, mono."""
    with av.open(str(_DEMO / "meeting.flac")) as container:
        return numpy.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


@cache
def turns() -> list[dict[str, object]]:
    """Who says what and when in the demo meeting: `start`, `end`, `speaker`, `text`."""
    return list(json.loads((_DEMO / "meeting.json").read_text())["turns"])


def speech(start: float = 0.0, seconds: float = SECONDS) -> Samples:
    """A stretch of the meeting."""
    return meeting()[:, round(start * RATE) : round((start + seconds) * RATE)]


def silence(seconds: float, channels: int = 1) -> Samples:
    """Digital silence."""
    return numpy.zeros((channels, round(seconds * RATE)), numpy.int16)


def one_per_channel() -> Samples:
    """The same stretch with the second speaker alone on the right, everybody else alone on the left."""
    mono = speech()[0]
    pair = numpy.stack([mono, numpy.zeros_like(mono)])
    for turn in turns():
        if turn["speaker"] == "S2":
            begin, end = (round((float(str(turn[side])) + add) * RATE) for side, add in (("start", -0.1), ("end", 0.15)))
            pair[:, begin:end] = pair[::-1, begin:end].copy()
    return pair


def write(
    path: Path,
    tracks: list[Samples],
    codec: str,
    *,
    rate: int = RATE,
    picture: str | None = None,
    begin: float = 0.0,
    format: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Mux audio `tracks` (each encoded with `codec` at `rate`), and a moving `picture` of that codec, as `path`'s suffix says.

    `begin` delays the sound, in seconds.
    """
    with av.open(str(path), "w", format=format, options=options or {}) as container:
        video = _video(container, picture) if picture else None
        streams = [_audio(container, codec, rate, len(track), number) for number, track in enumerate(tracks)]
        seconds = begin + max((track.shape[1] for track in tracks), default=round(SECONDS * RATE)) / RATE
        sound = [_encoded(stream, track, begin) for stream, track in zip(streams, tracks, strict=True)]
        pictures = _drawn(video, seconds) if video else iter(())
        for packets in zip_longest(pictures, *sound):
            for packet in filter(None, packets):
                container.mux(packet)
    return path


def _audio(container: OutputContainer, codec: str, rate: int, channels: int, number: int) -> AudioStream:
    stream = container.add_stream(codec, rate=rate)
    assert isinstance(stream, AudioStream)
    stream.layout = "stereo" if channels == 2 else "mono"
    stream.metadata["language"] = ("eng", "deu")[number % 2]
    return stream


def _video(container: OutputContainer, codec: str) -> VideoStream:
    stream = container.add_stream(codec, rate=10)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
    stream.options = {"libx264": {"preset": "ultrafast"}, "libvpx": {"deadline": "realtime", "cpu-used": "8"}}.get(codec, {})
    return stream


def _encoded(stream: AudioStream, samples: Samples, begin: float) -> Iterator[av.Packet[AudioStream]]:
    """Packets of about a tenth of a second of sound each."""
    layout = "stereo" if len(samples) == 2 else "mono"
    step = RATE // 10
    for at in range(0, samples.shape[1], step):
        piece = numpy.ascontiguousarray(samples[:, at : at + step].T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(piece, format="s16", layout=layout)
        frame.sample_rate = RATE
        frame.time_base = Fraction(1, RATE)
        frame.pts = at + round(begin * RATE)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _drawn(stream: VideoStream, seconds: float) -> Iterator[av.Packet[VideoStream]]:
    """A bright bar that wanders over a coloured ground, ten pictures a second."""
    for number in range(round(seconds * 10)):
        picture = numpy.full((180, 320, 3), (40, 90, 160), numpy.uint8)
        picture[:, number * 4 % 300 : number * 4 % 300 + 20] = 230
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number
        frame.time_base = Fraction(1, 10)
        yield from stream.encode(frame)
    yield from stream.encode(None)


# -- recordings that work ---------------------------------------------------------------------------------------------


def _sound(codec: str, *, rate: int = RATE, picture: str | None = None, options: dict[str, str] | None = None) -> Builder:
    return lambda path: write(path, [speech()], codec, rate=rate, picture=picture, options=options)


def telephone(path: Path) -> Path:
    """8 kHz mono, as telephone systems record."""
    return write(path, [speech()], "pcm_mulaw", rate=8_000)


def interview(path: Path) -> Path:
    """48 kHz stereo with one speaker per channel."""
    return write(path, [one_per_channel()], "pcm_s16le", rate=48_000)


def two_tracks(path: Path) -> Path:
    """Two audio tracks: the meeting's beginning, and another part of it."""
    return write(path, [speech(), speech(60.0)], "aac", rate=44_100)


def late_track(path: Path) -> Path:
    """A video whose sound begins 1.5 s after the picture."""
    return write(path, [speech()], "aac", rate=44_100, picture="libx264", begin=1.5)


def chained(path: Path) -> Path:
    """Two Ogg streams one after the other, as `cat a.ogg b.ogg` makes them."""
    halves = [write(path.with_suffix(f".{number}.ogg"), [half], "libopus") for number, half in enumerate(_halves())]
    path.write_bytes(b"".join(half.read_bytes() for half in halves))
    for half in halves:
        half.unlink()
    return path


def _halves() -> list[Samples]:
    return numpy.split(speech(), [round(4.3 * RATE)], axis=1)


def with_cover(path: Path) -> Path:
    """An MP3 that carries its cover as a picture."""
    cover = BytesIO()
    with av.open(cover, "w", format="mjpeg") as drawing:
        for packet in _drawn(_video_of(drawing), 0.1):
            drawing.mux(packet)
    with av.open(str(path), "w", format="mp3") as container:
        stream = _audio(container, "libmp3lame", 44_100, 1, 0)
        picture = container.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 320, 180, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        page = av.Packet(cover.getvalue())
        page.stream, page.pts, page.dts, page.time_base = picture, 0, 0, Fraction(1, 1)
        container.mux(page)
        for sound in _encoded(stream, speech(), 0.0):
            container.mux(sound)
    return path


def _video_of(container: OutputContainer) -> VideoStream:
    stream = container.add_stream("mjpeg", rate=10)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = 320, 180, "yuvj420p"
    return stream


# -- recordings without words -----------------------------------------------------------------------------------------


def blink(path: Path) -> Path:
    """0.2 s in which nobody speaks."""
    return write(path, [speech(2.2, 0.2)], "pcm_s16le")


def still(path: Path) -> Path:
    """Five seconds of digital silence."""
    return write(path, [silence(5.0)], "flac")


def murmur(path: Path) -> Path:
    """Five seconds of faint noise, as an empty room has it."""
    noise = numpy.random.default_rng(1).integers(-12, 13, (1, 5 * RATE), dtype=numpy.int16)
    return write(path, [noise], "flac")


# -- recordings that break off ----------------------------------------------------------------------------------------


def _cut(build: Builder, share: float = 0.6) -> Builder:
    def build_and_cut(path: Path) -> Path:
        whole = build(path).read_bytes()
        path.write_bytes(whole[: round(len(whole) * share)])
        return path

    return build_and_cut


def _scratched(build: Builder) -> Builder:
    """A few bytes in the middle overwritten: some packets cannot be decoded."""

    def build_and_scratch(path: Path) -> Path:
        whole = bytearray(build(path).read_bytes())
        at = len(whole) // 2
        whole[at : at + 3000] = random.Random(7).randbytes(3000)
        path.write_bytes(whole)
        return path

    return build_and_scratch


# -- files nobody can read --------------------------------------------------------------------------------------------


def empty(path: Path) -> Path:
    """No bytes at all."""
    path.write_bytes(b"")
    return path


def text(path: Path) -> Path:
    """Prose."""
    path.write_text("Dear diary, today I recorded nothing at all.\n" * 200)
    return path


def garbage(path: Path) -> Path:
    """Random bytes."""
    path.write_bytes(random.Random(3).randbytes(60_000))
    return path


def spoiled(path: Path) -> Path:
    """A FLAC header, and random bytes from there on."""
    write(path, [speech()], "flac")
    whole = path.read_bytes()
    path.write_bytes(whole[:86] + random.Random(5).randbytes(len(whole) - 86))
    return path


def playlist(path: Path) -> Path:
    """An HLS playlist that names a file of the machine that reads it."""
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    return path


def silent_film(path: Path) -> Path:
    """A video without a sound track."""
    return write(path, [], "aac", picture="libx264")


def encrypted(path: Path) -> Path:
    """An MP4 under common encryption."""
    return write(path, [speech()], "aac", rate=44_100, options=_KEY)


_mp4 = _sound("aac", rate=44_100, picture="libx264")
_mkv = _sound("aac", rate=44_100, picture="libx264")
_mp3 = _sound("libmp3lame", rate=44_100)
_front_mp4 = _sound("aac", rate=44_100, picture="libx264", options={"movflags": "faststart"})

GOOD: dict[str, Builder] = {
    "meeting.wav": _sound("pcm_s16le"),
    "meeting.flac": _sound("flac"),
    "meeting.mp3": _mp3,
    "meeting.m4a": _sound("aac", rate=44_100),
    "meeting.ogg": _sound("libopus", rate=48_000),
    "meeting.webm": _sound("libopus", rate=48_000, picture="libvpx"),
    "meeting.mkv": _mkv,
    "meeting.mp4": _mp4,
    "telephone.wav": telephone,
    "interview.wav": interview,
    "two-tracks.mkv": two_tracks,
    "cover.mp3": with_cover,
    "chained.ogg": chained,
}
"""Each holds the meeting's first `SECONDS` and is transcribed without a warning, but for the second track of one."""

SPEECHLESS: dict[str, Builder] = {"blink.wav": blink, "silence.flac": still, "murmur.flac": murmur}
"""Each is read, and nothing is said in it."""

HURT: dict[str, Builder] = {
    "cut.mp4": _cut(_front_mp4),
    "cut.mkv": _cut(_mkv),
    "cut.mp3": _cut(_mp3),
    "cut.wav": _cut(_sound("pcm_s16le")),
    "cut.flac": _cut(_sound("flac")),
    "scratched.mp3": _scratched(_mp3),
    "scratched.m4a": _scratched(_sound("aac", rate=44_100)),
    "scratched.mkv": _scratched(_mkv),
    "scratched.ogg": _scratched(_sound("libopus", rate=48_000)),
}
"""Each is read as far as it goes, with a warning."""

BAD: dict[str, Builder] = {
    "empty.wav": empty,
    "diary.mp3": text,
    "garbage.ogg": garbage,
    "playlist.m3u8": playlist,
    "spoiled.flac": spoiled,
    "silent-film.mp4": silent_film,
    "cut-index.mp4": _cut(_mp4),
    "encrypted.mp4": encrypted,
}
"""None of these can ever work: reading them is `Permanent`."""

BAD_PHRASES: dict[str, str] = {
    "empty.wav": "is empty",
    "diary.mp3": "not a recording",
    "garbage.ogg": "not a recording",
    "playlist.m3u8": "not a recording",
    "spoiled.flac": "damaged",
    "silent-film.mp4": "has no sound",
    "cut-index.mp4": "is incomplete",
    "encrypted.mp4": "is encrypted",
}
"""What the sentence about each of `BAD` says."""


# -- very long recordings ---------------------------------------------------------------------------------------------


def sparse_speech(path: Path, hours: float, sentences: int, noise: bool = False) -> Path:
    """Hours of silence (or of faint `noise`) with a few sentences of the meeting, evenly spread; written as it is made.

    The suffix chooses the codec: `.flac`, or `.ogg` for Opus.
    """
    codec = "flac" if path.suffix == ".flac" else "libopus"
    with av.open(str(path), "w") as container:
        stream = _audio(container, codec, RATE, 1, 0)
        for packet in _encoded_long(stream, _sparse(hours, sentences, noise)):
            container.mux(packet)
    return path


def sparse_sentences(hours: float, sentences: int) -> list[tuple[float, str]]:
    """When each sentence of `sparse_speech` begins, in seconds, and its words."""
    share = hours * 3600 / sentences
    return [((number + 0.5) * share, str(turns()[number % len(turns())]["text"])) for number in range(sentences)]


def _sparse(hours: float, sentences: int, noise: bool) -> Iterator[Samples]:
    quiet = numpy.random.default_rng(2).integers(-2, 3, 10 * RATE, dtype=numpy.int16) if noise else silence(10.0)[0]
    at = 0
    for number, (begin, _) in enumerate(sparse_sentences(hours, sentences)):
        turn = turns()[number % len(turns())]
        spoken = speech(float(str(turn["start"])), float(str(turn["end"])) - float(str(turn["start"])))
        yield from _repeated(quiet, round(begin * RATE) - at)
        yield spoken
        at = round(begin * RATE) + spoken.shape[1]
    yield from _repeated(quiet, round(hours * 3600 * RATE) - at)


def looped_meeting(path: Path, seconds: float) -> Path:
    """Dense speech of any length: the meeting over and over, as FLAC."""
    with av.open(str(path), "w") as container:
        stream = _audio(container, "flac", RATE, 1, 0)
        for packet in _encoded_long(stream, _repeated(meeting()[0], round(seconds * RATE))):
            container.mux(packet)
    return path


def _repeated(piece: NDArray[numpy.int16], length: int) -> Iterator[Samples]:
    while length > 0:
        yield piece[None, :length]
        length -= len(piece)


def _encoded_long(stream: AudioStream, pieces: Iterator[Samples]) -> Iterator[av.Packet[AudioStream]]:
    at = 0
    for piece in pieces:
        frame = av.AudioFrame.from_ndarray(numpy.ascontiguousarray(piece), format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.time_base = Fraction(1, RATE)
        frame.pts = at
        at += piece.shape[1]
        yield from stream.encode(frame)
    yield from stream.encode(None)

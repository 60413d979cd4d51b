"""Opening what somebody uploaded: which container it is, which tracks it has, and why it cannot be read.

Uploads are hostile until proven otherwise: only formats that hold media are tried (no playlists, which name other files), and
nothing but the given bytes can ever be opened.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NoReturn, TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from auricle.errors import Permanent
from auricle.ports.media import Track

_FORMATS = (
    "aa,aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,asf_o,au,avi,caf,dsf,dts,dv,eac3,flac,flv,gsm,ivf,loas,matroska,webm,mov,mp4,m4a,"
    "3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nut,ogg,oma,opus,rm,shn,smjpeg,sox,tak,tta,voc,w64,wav,wtv,wv,xwma"
)
_BUFFER = 256 * 1024  # each refill goes through Python, and often through the network: few and large
_MAGIC = (b"fLaC", b"OggS", b"RIFF", b"ID3", b"\x1a\x45\xdf\xa3", b"FORM", b"caff", b"FLV")
_BOXES_AT_MOST = 1000
_PROTECTED_TAGS = frozenset({"drms", "drmi", "enca", "encv", "aavd"})  # FairPlay, common encryption, Audible
_PROTECTED_BRANDS = frozenset({"aax ", "aaxc"})

PIXEL_LIMIT = {"max_pixels": "40000000"}
"""Of pictures that are decoded, as FFmpeg wants it: 8K video passes, a picture made to fill the memory does not."""

T = TypeVar("T")

NOT_A_RECORDING = (
    "This is not a recording: no audio or video format was recognised in it, whatever its name says. "
    "Upload an audio or video file, such as MP3, M4A, WAV, FLAC, OGG, MP4, MKV or WebM."
)
ENCRYPTED = (
    "This recording is encrypted (copy protection): nobody can listen to it without its key. Upload an unprotected copy."
)
NO_INDEX = (
    "This video or audio file is incomplete: its index, which is written last, is missing. Either the recording was "
    "interrupted or only part of the file was copied. Upload the complete file, or repair it first."
)
DAMAGED = "This recording is damaged from its beginning: no sound in it could be decoded. Upload another copy."


class Source:
    """The given bytes as FFmpeg may see them: nameless, read-only, and with the first failure kept.

    FFmpeg takes a failing read for the end of the file; only we can tell a store that is away from a recording that ends.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.size = source.seek(0, io.SEEK_END)
        self.failure: Exception | None = None
        source.seek(0)
        self.head = source.read(4096)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        return self._kept(lambda: self._source.read(size))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there; returns the position."""
        return self._kept(lambda: self._source.seek(offset, whence))

    def tell(self) -> int:
        """The position."""
        return self._kept(self._source.tell)

    def at(self, position: int, size: int) -> bytes:
        """`size` bytes at `position`, fewer at the end."""
        self.seek(position)
        return self.read(size)

    def check(self) -> None:
        """Raise what went wrong while reading, if anything did."""
        if self.failure:
            raise self.failure

    def _kept(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except Exception as failure:
            self.failure = self.failure or failure
            raise


@contextmanager
def opened(source: Source) -> Iterator[InputContainer]:
    """The container in `source`, from its beginning. `Permanent` says why there is none."""
    if not source.size:
        raise Permanent("This file is empty: it holds no bytes at all. Upload the recording again.")
    source.seek(0)
    try:
        container = av.open(
            source,
            mode="r",
            metadata_errors="replace",
            buffer_size=_BUFFER,
            io_open=_refuse,
            options=PIXEL_LIMIT,
            container_options={"format_whitelist": _FORMATS},
        )
    except (av.FFmpegError, ValueError) as error:
        source.check()
        raise Permanent(_why_unreadable(source)) from error
    try:
        yield container
    finally:
        container.close()


def name_of(container: InputContainer, source: Source) -> str:
    """The container's usual short name, where FFmpeg lumps several together."""
    names = container.format.name.split(",")
    if "mp4" in names:
        brand = container.metadata.get("major_brand", "").strip().lower()
        return {"qt": "mov", "m4a": "m4a", "m4b": "m4a"}.get(brand, "3gp" if brand.startswith("3g") else "mp4")
    if "webm" in names:
        return "webm" if b"webm" in source.head[:64] else "matroska"
    return names[0]


def tracks_of(container: InputContainer) -> tuple[Track, ...]:
    """Every stream of the container; cover art is no video."""
    return tuple(_track(stream) for stream in container.streams)


def is_cover(stream: Stream) -> bool:
    """Whether a video stream is only a picture that came along."""
    return bool(stream.disposition & Disposition.attached_pic)


def choose_audio(container: InputContainer, wanted: int | None) -> tuple[int, AudioStream]:
    """The audio track to hear, with its number among the audio tracks; all other tracks are no longer read."""
    audio = container.streams.audio
    if not audio:
        moving = any(not is_cover(stream) for stream in container.streams.video)
        raise Permanent(
            f"This {'video' if moving else 'file'} has no sound, so there is nothing to transcribe. Upload one with sound."
        )
    if wanted is not None and not 0 <= wanted < len(audio):
        raise Permanent(_no_such_track(wanted, len(audio)))
    number = _default(audio) if wanted is None else wanted
    for stream in container.streams:
        if stream is not audio[number]:
            stream.discard = Discard.all
    _refuse_protected(container, audio[number])
    return number, audio[number]


def playback_start(container: InputContainer) -> float:
    """The timestamp, in seconds, at which players begin: they skip what the clock showed before the first sound or picture."""
    return max(0.0, (container.start_time or 0) / av.time_base)


def playback_length(container: InputContainer) -> float | None:
    """How long the container says it plays, in seconds; often an estimate."""
    return container.duration / av.time_base if container.duration else None


def _track(stream: Stream) -> Track:
    codec = stream.codec_context
    kind = (
        "other" if is_cover(stream) else {"audio": "audio", "video": "video", "subtitle": "subtitle"}.get(stream.type, "other")
    )
    sound = stream if isinstance(stream, AudioStream) and codec else None
    picture = stream if isinstance(stream, VideoStream) and codec else None
    return Track(
        index=stream.index,
        kind=kind,
        codec=codec.codec.canonical_name if codec else "unknown",
        language=None if stream.language in (None, "", "und") else stream.language,
        channels=sound.channels if sound else None,
        rate=sound.rate if sound else None,
        duration=track_seconds(stream),
        width=(picture.width or None) if picture else None,
        height=(picture.height or None) if picture else None,
    )


def track_seconds(stream: Stream) -> float | None:
    """How long the container says this track is."""
    if stream.duration is None or stream.time_base is None:
        return None
    return float(stream.duration * stream.time_base)


def _default(audio: tuple[AudioStream, ...]) -> int:
    marked = (number for number, stream in enumerate(audio) if stream.disposition & Disposition.default)
    return next(marked, 0)


def _no_such_track(wanted: int, there: int) -> str:
    if there == 1:
        return f"There is no audio track {wanted}: this recording has only one, number 0. Leave the choice out to use it."
    return f"There is no audio track {wanted}: this recording has {there}, numbered 0 to {there - 1}. Choose one of them."


def _refuse_protected(container: InputContainer, stream: AudioStream) -> None:
    tag = stream.codec_context.codec_tag if stream.codec_context else ""
    brand = container.metadata.get("major_brand", "").lower()
    if tag in _PROTECTED_TAGS or brand in _PROTECTED_BRANDS or "enc_key_id" in stream.metadata:
        raise Permanent(ENCRYPTED)
    if stream.codec_context is None:
        raise Permanent(
            "No decoder knows the sound of this recording. Convert it to a common format such as MP3, M4A, WAV or FLAC."
        )


def _why_unreadable(source: Source) -> str:
    """The sentence for a file that FFmpeg does not open, by what its first bytes claim to be."""
    if source.head[4:8] == b"ftyp":
        return DAMAGED if b"moov" in set(_boxes(source)) else NO_INDEX
    return DAMAGED if source.head.startswith(_MAGIC) else NOT_A_RECORDING


def _boxes(source: Source) -> Iterator[bytes]:
    """The types of an MP4's outermost boxes that are there in full (ISO/IEC 14496-12 §4.2)."""
    at = 0
    for _ in range(_BOXES_AT_MOST):
        header = source.at(at, 16)
        size = int.from_bytes(header[8:16] if header[:4] == b"\0\0\0\1" else header[:4], "big")
        if len(header) < 8 or size < 8 or at + size > source.size:
            return
        yield header[4:8]
        at += size


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError("A recording may not open other files.")

"""Whether a recording is all there, judged by what its container promised.

Most headers say how long the sound or the file should be; FFmpeg simply stops where the bytes stop. Estimates (bit rate times
size) are not promises and never lead to a warning.
"""

from __future__ import annotations

from av.audio.stream import AudioStream
from av.container import InputContainer

from auricle.adapters.media.container import Source, track_seconds

_EXACT = frozenset({"mov", "wav", "w64", "flac", "aiff", "caf", "au", "tta", "wv", "ape"})
"""Formats whose header states the length of each track."""
_SLACK = 0.5  # seconds that encoders round away
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def promised_seconds(container: InputContainer, stream: AudioStream, source: Source) -> float | None:
    """How long the chosen track should be; None when nothing reliable says it."""
    name = container.format.name.split(",")[0]
    reliable = name in _EXACT or (name == "mp3" and _has_frame_count(source))
    return track_seconds(stream) if reliable else None


def breaks_off(container: InputContainer, source: Source, promised: float | None, decoded: float) -> bool:
    """Whether the recording ends before its time: less sound, or fewer bytes, than its header says."""
    if promised is not None and decoded < promised - _SLACK:
        return True
    return _stated_end(container, source) > source.size


def _stated_end(container: InputContainer, source: Source) -> int:
    """Where the file should end by its own account, in bytes; 0 when it does not say."""
    if "matroska" in container.format.name:
        return _segment_end(source)
    return _riff_end(source.head) if container.format.name == "wav" else 0


def _riff_end(head: bytes) -> int:
    """The size in a RIFF header; writers that cannot go back leave nothing or something huge there."""
    size = int.from_bytes(head[4:8], "little")
    return size if head[:4] == b"RIFF" and size < 0x7FFF_0000 else 0


def _segment_end(source: Source) -> int:
    """Where a Matroska file's only segment ends by its own account (RFC 8794 §4, RFC 9559 §5.1); 0 when it does not say."""
    at = 0
    for wanted in (_EBML, _SEGMENT):
        if source.at(at, 4) != wanted:
            return 0
        size, width = _variable_size(source.at(at + 4, 8))
        if size is None:
            return 0
        at += 4 + width + size
    return at


def _variable_size(data: bytes) -> tuple[int | None, int]:
    """An EBML size and its width in bytes; None for 'unknown', as live recordings have it."""
    if not data or not data[0]:
        return None, 0
    width = 9 - data[0].bit_length()
    value = int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), width


def _has_frame_count(source: Source) -> bool:
    """Whether an MP3 begins with a Xing, Info or VBRI frame, which counts the frames; else its length is an estimate."""
    head = source.head
    start = 0
    if head[:3] == b"ID3" and len(head) >= 10:
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    frame = source.at(start, 256)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))

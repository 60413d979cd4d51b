"""A picture to know a recording by: a frame of its video, or the cover that came with it."""

from __future__ import annotations

from itertools import islice

import av
import numpy
from av.container import InputContainer
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from auricle.adapters.media.container import PIXEL_LIMIT, Source, is_cover, opened, playback_length, playback_start
from auricle.errors import Permanent

WIDEST = 1280
"""Pixels; a wider picture is scaled down."""
_EARLIEST = 1.0  # seconds: the first moments are often black
_PATIENCE = 600  # packets to look through for a picture that decodes
_QUALITY = {"qmin": "3", "qmax": "3"}


def poster_of(source: Source) -> bytes | None:
    """A JPEG of the video a tenth of the way in (but not within the first second), or None when there is no picture."""
    try:
        with opened(source) as container:
            stream = _picture_stream(container)
            frame = _frame(container, stream) if stream else None
            return _jpeg(frame, stream) if frame and stream else None
    except (av.FFmpegError, Permanent, ValueError):
        source.check()
        return None  # a poster is no reason to lose a transcript


def _picture_stream(container: InputContainer) -> VideoStream | None:
    decodable = [stream for stream in container.streams.video if stream.codec_context]
    return min(decodable, key=is_cover, default=None)


def _frame(container: InputContainer, stream: VideoStream) -> VideoFrame | None:
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    stream.codec_context.options = PIXEL_LIMIT
    stream.codec_context.skip_frame = "NONKEY"  # one key frame is enough, and keeps one frame in memory, not sixteen
    stream.thread_type = "SLICE"
    if not is_cover(stream):
        length = playback_length(container) or 0.0
        moment = min(max(_EARLIEST, length / 10), length)
        container.seek(round((playback_start(container) + moment) * av.time_base))
    for packet in islice(container.demux(stream), _PATIENCE):
        for frame in packet.decode():
            return frame
    return None


def _jpeg(frame: VideoFrame, stream: VideoStream) -> bytes:
    frame = _upright(frame, stream)
    width, height = frame.width, frame.height
    if width > WIDEST:
        width, height = WIDEST, max(2, round(height * WIDEST / width))
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.options = _QUALITY
    picture = frame.reformat(width, height, format="yuvj420p", dst_color_range="JPEG")
    return b"".join(bytes(packet) for packet in (*encoder.encode(picture), *encoder.encode(None)))


def _upright(frame: VideoFrame, stream: VideoStream) -> VideoFrame:
    """The frame as a player shows it: square pixels, and turned as the phone was held."""
    aspect = stream.sample_aspect_ratio
    wide = round(frame.width * aspect) if aspect else frame.width
    turns = round(frame.rotation / 90) % 4
    if not turns and wide == frame.width:
        return frame
    pixels = frame.reformat(wide, frame.height, format="rgb24").to_ndarray().astype(numpy.uint8, copy=False)
    return VideoFrame.from_ndarray(numpy.ascontiguousarray(numpy.rot90(pixels, turns)), format="rgb24")

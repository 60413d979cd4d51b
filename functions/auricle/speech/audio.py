"""Prepared chunks as samples."""

from __future__ import annotations

import io

from auricle.errors import Permanent
from auricle.ports.media import SAMPLE_RATE
from auricle.ports.speech import Samples


def samples_of(flac: bytes) -> Samples:
    """Decode a prepared chunk (FLAC, 16 kHz, mono) to float32 in -1..1, shape (samples,)."""
    import av
    import numpy

    try:
        with av.open(io.BytesIO(flac), mode="r") as container:
            blocks = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
            rate = container.streams.audio[0].rate
    except (av.FFmpegError, IndexError) as error:
        raise Permanent("The prepared audio of this piece cannot be read; prepare the file again.") from error
    if rate != SAMPLE_RATE or not blocks:
        raise Permanent("The prepared audio of this piece is not 16 kHz mono; prepare the file again.")
    samples = numpy.concatenate(blocks)
    if samples.dtype == numpy.int16:
        return samples.astype(numpy.float32) / numpy.float32(32768)
    if samples.dtype == numpy.int32:  # FFmpeg widens 24-bit FLAC
        return samples.astype(numpy.float32) / numpy.float32(2**31)
    return samples.astype(numpy.float32)

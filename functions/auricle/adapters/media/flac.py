"""16 kHz mono FLAC out of samples."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO

import av
import numpy
from numpy.typing import NDArray

from auricle.ports.media import SAMPLE_RATE


def encode_flac(pieces: Iterable[NDArray[numpy.int16]]) -> bytes:
    """The pieces, one after the other, as one FLAC file; the same samples always give the same bytes, however parted."""
    out = BytesIO()
    with av.open(out, "w", format="flac", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, options={"flags": "+bitexact"})
        stream.layout = "mono"
        stream.format = "s16"
        at = 0
        for piece in pieces:
            frame = av.AudioFrame.from_ndarray(piece[None, :], format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            frame.pts = at
            at += len(piece)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()

"""How likely each 32 ms of audio is speech: the Silero network that ships inside the faster-whisper wheel.

The network is run through onnxruntime alone: importing `faster_whisper` would load CTranslate2 and more, a second of start
for a file that lies beside it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy
import onnxruntime
from numpy.typing import NDArray

WINDOW = 512
"""Samples (32 ms) that get one probability."""
_CONTEXT = 64  # samples of the window before, which the network hears again
_STATE = (1, 1, 128)
_SPEECHLESS = 0.35
"""When no window of a block gets this much, the network's memory is wiped. It drifts in long silence: after five minutes of
it, the next sentence was noticed up to 0.28 s late and a quarter of it lost; wiped, it was noticed at once (measured)."""


def shipped_network() -> Path:
    """The ONNX file of the installed faster-whisper, found without importing it."""
    package = find_spec("faster_whisper")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("faster-whisper is not installed: the media functions need the voice detector inside it.")
    return next(Path(package.submodule_search_locations[0]).glob("assets/silero_vad*.onnx"))


class SpeechProbabilities:
    """Runs the network over one recording, block after block.

    Its memory carries over, so block borders leave no trace, until a whole block holds no speech.
    """

    def __init__(self, network: Path | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = 1  # the LSTM is one long chain: measured, a second thread makes it slower
        options.enable_cpu_mem_arena = False  # an arena keeps its largest block for ever
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            str(network or shipped_network()), providers=["CPUExecutionProvider"], sess_options=options
        )
        self._before = numpy.zeros(_CONTEXT, numpy.float32)
        self._nothing: list[float] = []  # what a block of digital silence gives after another one
        self._h = self._c = numpy.zeros(_STATE, numpy.float32)
        self._wiped = True

    def __call__(self, block: NDArray[numpy.int16]) -> list[float]:
        """Probabilities 0..1 of the windows of `block` (samples,); a last window that is short is filled with silence."""
        windows = -(-len(block) // WINDOW)
        nothing_new = self._wiped and not self._before.any() and not block.any()
        if nothing_new and len(self._nothing) >= windows:
            return self._nothing[:windows]  # hours of digital silence cost nothing
        heard = self._hear(block, windows)
        if nothing_new:
            self._nothing = heard
        self._wiped = max(heard, default=0.0) < _SPEECHLESS
        if self._wiped:
            self._h = self._c = numpy.zeros(_STATE, numpy.float32)
        return heard

    def _hear(self, block: NDArray[numpy.int16], windows: int) -> list[float]:
        sound = numpy.zeros(_CONTEXT + windows * WINDOW, numpy.float32)
        sound[:_CONTEXT] = self._before
        numpy.multiply(block, numpy.float32(1 / 32768), out=sound[_CONTEXT : _CONTEXT + len(block)])
        self._before = sound[-_CONTEXT:].copy()
        overlapping = numpy.lib.stride_tricks.sliding_window_view(sound, _CONTEXT + WINDOW)[::WINDOW]
        heard, self._h, self._c = self._session.run(
            None, {"input": numpy.ascontiguousarray(overlapping), "h": self._h, "c": self._c}
        )
        return [float(p) for p in heard.ravel().tolist()]

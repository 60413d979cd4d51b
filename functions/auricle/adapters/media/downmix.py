"""Many channels into one, so that nobody gets quieter.

Averaging stereo would halve a voice that is in one channel only (one speaker per channel, as phone calls and interviews are
recorded), adding would overdrive what is in both, and either would cancel channels of opposite phase. So the sum is scaled,
tenth of a second by tenth, to the power of its loudest channel.
"""

from __future__ import annotations

import numpy
from numpy.typing import NDArray

from auricle.ports.media import SAMPLE_RATE

Channels = NDArray[numpy.float32]
"""Shape (channels, samples)."""
Mono = NDArray[numpy.float32]
"""Shape (samples,)."""

_BLOCK = SAMPLE_RATE // 10
_MEMORY = 0.7  # how much of the last block's power counts in this one's: about a third of a second
_CANCELS = 0.2  # a sum this much weaker than one channel alone is no sum of voices, but of opposite phases
_LOUDER = 2.0  # another channel must be this much stronger to take over in opposite phase


class Downmix:
    """Mixes one run of audio of a fixed number of channels; holds back less than 0.1 s until `finish`."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._rest: Channels = numpy.zeros((channels, 0), numpy.float32)
        self._power = numpy.zeros(channels)  # of each channel, lately
        self._loudest = 0.0  # of whichever channel was the loudest in each block, lately
        self._summed = 0.0  # of the sum, lately
        self._weights: NDArray[numpy.float64] | None = None
        self._alone: int | None = None

    def push(self, audio: Channels) -> Mono:
        """What can be mixed by now."""
        if self._channels == 1:
            only: Mono = audio[0]
            return only
        audio = numpy.concatenate((self._rest, audio), axis=1)
        whole = audio.shape[1] // _BLOCK * _BLOCK
        self._rest = audio[:, whole:].copy()
        return self._mixed([audio[:, at : at + _BLOCK] for at in range(0, whole, _BLOCK)])

    def finish(self) -> Mono:
        """The rest."""
        rest, self._rest = self._rest, self._rest[:, :0]
        return self._mixed([rest] if rest.shape[1] else [])

    def _mixed(self, blocks: list[Channels]) -> Mono:
        return numpy.concatenate([self._mix(block) for block in blocks]) if blocks else numpy.zeros(0, numpy.float32)

    def _mix(self, block: Channels) -> Mono:
        if self._weights is None and not block.any():
            return numpy.zeros(block.shape[1], numpy.float32)
        weights = self._weigh(block)
        before = weights if self._weights is None else self._weights
        self._weights = weights
        if (before == weights).all():
            gains = weights[:, None]
        else:
            gains = before[:, None] + (weights - before)[:, None] * numpy.linspace(0.0, 1.0, block.shape[1])
        mixed: Mono = (gains.astype(numpy.float32) * block).sum(axis=0)
        return mixed

    def _weigh(self, block: Channels) -> NDArray[numpy.float64]:
        """One weight per channel, from the power heard lately."""
        power = numpy.square(block).mean(axis=1)
        self._power = _MEMORY * self._power + power
        self._loudest = _MEMORY * self._loudest + float(power.max())
        self._summed = _MEMORY * self._summed + float(numpy.square(block.sum(axis=0)).mean())
        if self._summed < _CANCELS * self._loudest:
            return self._one_alone()
        self._alone = None
        if self._weights is not None and not self._loudest:
            return self._weights
        return numpy.full(self._channels, min(1.0, max(1 / self._channels, (self._loudest / self._summed) ** 0.5)))

    def _one_alone(self) -> NDArray[numpy.float64]:
        loudest = int(self._power.argmax())
        if self._alone is None or self._power[loudest] > _LOUDER * self._power[self._alone]:
            self._alone = loudest
        weights = numpy.zeros(self._channels)
        weights[self._alone] = 1.0
        return weights

"""Nobody gets quieter by being mixed."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auricle.adapters.media.downmix import Downmix

NOISE = numpy.random.default_rng(5).normal(0, 0.1, (6, 80_000)).astype(numpy.float32)


def mixed(channels: NDArray[numpy.float32], piece: int = 16_000) -> NDArray[numpy.float32]:
    mix = Downmix(len(channels))
    pieces = [mix.push(channels[:, at : at + piece]) for at in range(0, channels.shape[1], piece)]
    return numpy.concatenate([*pieces, mix.finish()])


def power(samples: NDArray[numpy.float32]) -> float:
    return float(numpy.square(samples).mean())


def test_equal_channels_stay_as_they_are() -> None:
    assert mixed(numpy.stack([NOISE[0], NOISE[0]])) == pytest.approx(NOISE[0], abs=1e-6)


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_voice_in_one_channel_stays_as_it_is(channels: int) -> None:
    wide = numpy.zeros((channels, 80_000), numpy.float32)
    wide[channels - 1] = NOISE[0]
    assert mixed(wide) == pytest.approx(NOISE[0], abs=1e-6)


def test_different_voices_together_are_as_loud_as_the_loudest() -> None:
    assert power(mixed(NOISE[:2])[16_000:]) == pytest.approx(max(power(NOISE[0]), power(NOISE[1])), rel=0.05)


def test_opposite_phases_do_not_cancel() -> None:
    pair = numpy.stack([NOISE[0], -NOISE[0] + NOISE[1] * 0.01])
    assert power(mixed(pair)) == pytest.approx(power(NOISE[0]), rel=0.02)


def test_speakers_taking_turns_keep_their_level() -> None:
    """Half a second each, in turn, on either side."""
    turn = numpy.repeat(numpy.arange(10) % 2, 8_000).astype(numpy.float32)
    assert mixed(numpy.stack([NOISE[0] * turn, NOISE[0] * (1 - turn)])) == pytest.approx(NOISE[0], abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(piece=st.integers(1, 30_000))
def test_pieces_do_not_matter(piece: int) -> None:
    assert (mixed(NOISE[:2, :24_100], piece if piece > 200 else piece + 200) == mixed(NOISE[:2, :24_100])).all()

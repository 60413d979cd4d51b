"""Sample n of a recording sounds at n / 16000 s of playback, whatever the timestamps try."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy
import pytest
from numpy.typing import NDArray

from auricle.adapters.media.timeline import Timeline

RATE = 16_000
FRAME = 320  # 20 ms


def frame(number: int, at: float | None, *, rate: int = RATE, samples: int = FRAME) -> av.AudioFrame:
    """A frame full of its own number, due `at` seconds."""
    made = av.AudioFrame.from_ndarray(numpy.full((1, samples), number, numpy.int16), format="s16", layout="mono")
    made.sample_rate = rate
    made.time_base = Fraction(1, 1_000_000)
    made.pts = None if at is None else round(at * 1_000_000)
    return made


def laid(
    frames: list[av.AudioFrame], *, zero: float = 0.0, known_end: float | None = None
) -> tuple[NDArray[numpy.int16], Timeline]:
    timeline = Timeline(zero, known_end)
    return numpy.concatenate(list(timeline.lay(iter(frames)))), timeline


def regular(first: int, count: int, begin: float) -> Iterator[av.AudioFrame]:
    for number in range(count):
        yield frame(first + number, begin + number * 0.02)


def first_place(samples: NDArray[numpy.int16], number: int) -> float:
    """Where frame `number` begins (or the next one, if it was left out), in seconds."""
    return float(numpy.flatnonzero(samples >= number)[0]) / RATE


def test_hole_becomes_silence() -> None:
    samples, timeline = laid([*regular(1, 50, 0.0), *regular(51, 50, 3.0)])
    assert first_place(samples, 51) == 3.0
    assert not samples[RATE : 3 * RATE].any()
    assert timeline.inserted == pytest.approx(2.0)


def test_track_that_starts_late_begins_with_silence_that_is_no_hole() -> None:
    samples, timeline = laid([*regular(1, 10, 12.5)], zero=10.0)
    assert first_place(samples, 1) == 2.5
    assert timeline.inserted == 0


def test_warm_up_before_the_start_is_not_heard() -> None:
    samples, _ = laid([*regular(1, 10, -0.03)])
    assert len(samples) == 10 * FRAME - round(0.03 * RATE)
    assert first_place(samples, 3) == pytest.approx(0.01)


def test_jitter_is_ignored() -> None:
    shaken = [frame(n, n * 0.02 + (0.009 if n % 3 else -0.009)) for n in range(1, 200)]
    samples, timeline = laid([frame(0, 0.0), *shaken])
    assert len(samples) == 200 * FRAME
    assert timeline.inserted == 0


def test_missing_timestamps_follow_on() -> None:
    samples, _ = laid([frame(1, 0.0), *(frame(n, None) for n in range(2, 20))])
    assert len(samples) == 19 * FRAME


def test_single_lying_timestamp_is_ignored() -> None:
    frames = [*regular(1, 50, 0.0), frame(51, 700.0), *regular(52, 50, 1.02)]
    samples, timeline = laid(frames)
    assert len(samples) == 101 * FRAME
    assert timeline.inserted == 0


def test_restarted_clock_goes_on() -> None:
    samples, _ = laid([*regular(1, 50, 0.0), *regular(51, 50, 0.0), *regular(101, 50, 0.0)])
    assert len(samples) == 150 * FRAME


def test_slow_clock_is_followed_within_a_tenth_of_a_second() -> None:
    """The container's clock runs 1 % faster than the sound: silence keeps the sound in time."""
    samples, _ = laid([frame(n, n * 0.0202) for n in range(1000)])
    for number in (200, 500, 990):
        assert first_place(samples, number) == pytest.approx(number * 0.0202, abs=0.05)


def test_fast_clock_is_followed_within_a_tenth_of_a_second() -> None:
    samples, _ = laid([frame(n, n * 0.0198) for n in range(1000)])
    for number in (200, 500, 990):
        assert first_place(samples, number) == pytest.approx(number * 0.0198, abs=0.07)


def test_hole_beyond_the_known_end_is_not_believed() -> None:
    samples, timeline = laid([*regular(1, 50, 0.0), *regular(51, 50, 5_000.0)], known_end=2.0)
    assert len(samples) == 100 * FRAME
    assert timeline.inserted == 0


def test_forged_timestamps_cannot_make_years_of_silence() -> None:
    samples, _ = laid([*regular(1, 50, 0.0), *regular(51, 50, 1e9)])
    assert len(samples) == 100 * FRAME


def test_change_of_sample_rate_in_the_middle_is_heard_through() -> None:
    low = [frame(1000, 1.0 + number * 0.04, rate=8_000) for number in range(50)]
    samples, _ = laid([*regular(1, 50, 0.0), *low])
    assert len(samples) == pytest.approx(3 * RATE, abs=32)
    assert (samples[2 * RATE : 2 * RATE + 100] == 1000).all()


def test_sound_that_is_no_number_spoils_only_itself() -> None:
    wild = numpy.full((2, RATE), 0.25, numpy.float32)
    wild[0, 100], wild[1, 200], wild[0, 300] = numpy.nan, numpy.inf, -1e30
    made = av.AudioFrame.from_ndarray(wild, format="fltp", layout="stereo")
    made.sample_rate = RATE
    samples, _ = laid([made])
    assert len(samples) == RATE
    assert numpy.abs(samples[RATE // 2 :] - 8192).max() < 100

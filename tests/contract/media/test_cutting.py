"""Chunks end in pauses."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.adapters.media.cutting import GRID, PAUSE, Reach, cut_silence, cut_speech, part
from auricle.adapters.media.stretches import Stretch

SECOND = 16_000
_PADS = 2 * 1280


def no_pause_needed(low: int, high: int) -> int:
    raise AssertionError("there is a pause, so nothing must be cut elsewhere")


def talking(seed: int) -> list[Stretch]:
    """Padded stretches over 100 s: up to 8 s each, with gaps from none to some seconds."""
    chance = Random(seed)
    at, talk = chance.randrange(5 * SECOND), []
    while at < 100 * SECOND:
        end = at + chance.randrange(2_000, 8 * SECOND)
        talk.append((at, end))
        at = end + chance.choice((0, chance.randrange(3_000), chance.randrange(3_000, 4 * SECOND)))
    return talk


talks = st.integers(0, 1 << 32).map(talking)


@settings(deadline=None)
@given(talk=talks, start=st.integers(0, 1000).map(lambda place: place * GRID), target=st.integers(20, 70))
def test_cut_is_near_and_in_a_pause_when_there_is_one(talk: list[Stretch], start: int, target: int) -> None:
    reach = Reach.of(target)
    speech = [stretch for stretch in talk if stretch[1] > start]
    low, high = start + reach.target - reach.around, start + reach.most
    gaps = [(a[1], b[0]) for a, b in pairwise(speech)]
    pauses = [gap for gap in gaps if gap[1] - gap[0] + _PADS >= PAUSE and min(gap[1], high) - max(gap[0], low) >= GRID]
    cut = cut_speech(start, speech, reach, lambda begin, end: (begin + end) // 2)
    assert cut % GRID == 0
    assert low <= cut <= high
    if pauses:
        assert not any(begin < cut < end for begin, end in speech)


def test_long_pause_beats_a_nearer_short_one() -> None:
    reach = Reach.of(10)
    speech = [(0, 8 * SECOND), (9 * SECOND, 10 * SECOND), (10 * SECOND + 400, 20 * SECOND)]
    assert 8 * SECOND < cut_speech(0, speech, reach, no_pause_needed) < 9 * SECOND


def test_cut_keeps_away_from_the_words_on_both_sides() -> None:
    speech = [(0, 9 * SECOND), (12 * SECOND, 30 * SECOND)]
    assert cut_speech(0, speech, Reach.of(9), no_pause_needed) == 9 * SECOND + SECOND // 2


def test_without_a_pause_the_quietest_place_is_cut() -> None:
    speech = [(0, 100 * SECOND)]
    assert cut_speech(0, speech, Reach.of(20), lambda low, high: 21 * SECOND) == 21 * SECOND


def test_border_of_stretches_near_the_quietest_place_is_taken() -> None:
    border = 21 * SECOND + 480
    speech = [(0, border), (border, 100 * SECOND)]
    assert cut_speech(0, speech, Reach.of(20), lambda low, high: 21 * SECOND) == border


def test_silence_ends_just_before_the_next_words_or_after_ten_minutes() -> None:
    reach = Reach.of(60)
    assert cut_silence(0, [(100 * SECOND, 101 * SECOND)], 200 * SECOND, reach) == 99.5 * SECOND
    assert cut_silence(0, [], 599 * SECOND, reach) is None
    assert cut_silence(0, [], 601 * SECOND, reach) == 600 * SECOND


def test_a_stretch_that_is_all_crumbs_keeps_its_longer_side() -> None:
    assert part([(0, 2020)], 1120) == ([(0, 1120)], [])
    assert part([(160, 1800)], 320) == ([], [(320, 1800)])


@settings(deadline=None)
@given(talk=talks, cut=st.integers(0, 12_000).map(lambda place: place * GRID))
def test_parting_loses_no_speech_but_crumbs(talk: list[Stretch], cut: int) -> None:
    before, after = part(talk, cut)
    assert all(end <= cut for _, end in before)
    assert all(begin >= cut for begin, _ in after)
    lost = sum(end - begin for begin, end in talk) - sum(end - begin for begin, end in before + after)
    assert 0 <= lost < 1280

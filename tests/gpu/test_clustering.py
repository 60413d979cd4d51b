"""Average linkage without the square of memory: the same tree as scipy's, and what is done when there is too much."""

from __future__ import annotations

import numpy
import pytest
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from auricle.adapters.speech.clustering import average_linkage, condensed
from auricle.adapters.speech.onnx_voices import VoiceRules, speakers_of, turns_of
from auricle.adapters.speech.thinning import thinned
from auricle.adapters.speech.windows import pieces_of, windows_of
from auricle.ports.media import Clip
from auricle.ports.speech import SpeakerHints, Turn

Voices = NDArray[numpy.float64]


def voices_of(people: int, count: int, seed: int = 0, spread: float = 0.05) -> tuple[Voices, NDArray[numpy.int64]]:
    """`count` unit vectors around `people` directions, and whose each is."""
    draw = numpy.random.default_rng(seed)
    centres = numpy.linalg.qr(draw.standard_normal((64, people)))[0].T
    who = draw.integers(people, size=count)
    voices = centres[who] + draw.standard_normal((count, 64)) * spread
    return voices / numpy.linalg.norm(voices, axis=1, keepdims=True), who


def same_partition(one: NDArray[numpy.int64], other: NDArray[numpy.int64]) -> bool:
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


@pytest.mark.parametrize("count", [1, 2, 3, 40, 333])
@pytest.mark.parametrize("seed", range(3))
def test_the_tree_is_the_textbook_one(count: int, seed: int) -> None:
    voices, _ = voices_of(5, count, seed, spread=0.12)
    tree = average_linkage(voices, numpy.ones(count, dtype=numpy.int64))
    assert len(tree.merges) == count - 1
    if count < 2:
        return
    expected = linkage(voices, "average", "cosine")
    assert numpy.allclose([merge.height for merge in tree.merges], expected[:, 2])
    for threshold in (0.2, 0.35, 0.5, 0.65):
        assert same_partition(tree.below(threshold), fcluster(expected, threshold, "distance"))
    for clusters in (1, 2, 7):
        assert same_partition(tree.into(min(clusters, count)), fcluster(expected, clusters, "maxclust"))


def test_clusters_that_exist_already_count_with_their_members() -> None:
    voices, _ = voices_of(4, 200)
    means, counts, rows = condensed(voices, 0.0, 50)
    whole = average_linkage(voices, numpy.ones(len(voices), dtype=numpy.int64)).below(0.4)
    assert same_partition(average_linkage(means, counts).below(0.4)[rows], whole)


def test_joining_near_identical_voices_first_keeps_the_speakers() -> None:
    voices, who = voices_of(5, 3000)
    means, _, rows = condensed(voices, 0.14, 400)
    assert len(means) < 600
    seconds = numpy.full(len(voices), 2.0)
    for direct in (20_000, 500):
        found = speakers_of(voices, seconds, SpeakerHints(), VoiceRules(direct_clips=direct))
        assert same_partition(found, who)
    assert len(rows) == len(voices)


def test_a_strange_clip_does_not_count_as_a_person() -> None:
    voices, who = voices_of(2, 40)
    stranger = numpy.eye(64)[63:]
    found = speakers_of(numpy.vstack([voices, stranger]), numpy.full(41, 1.5), SpeakerHints(), VoiceRules())
    assert same_partition(found[:40], who)
    assert found[40] in (0, 1)


def test_asking_for_two_people_finds_the_two_who_talk() -> None:
    voices, who = voices_of(2, 40)
    stranger = numpy.eye(64)[63:]
    found = speakers_of(numpy.vstack([voices, stranger]), numpy.full(41, 1.5), SpeakerHints(num_speakers=2), VoiceRules())
    assert same_partition(found[:40], who)


def test_pieces_of_one_stretch_of_speech_are_one_turn_and_padding_goes() -> None:
    starts, ends = numpy.array([1.0, 5.0, 8.0]), numpy.array([5.0, 6.0, 9.0])
    turns = turns_of(starts, ends, numpy.array([0, 0, 1]), 0.05)
    assert turns == [Turn(1.05, 5.95, 0), Turn(8.05, 8.95, 1)]


def test_thinning_keeps_those_who_speak_rarely() -> None:
    many, _ = voices_of(3, 5000)
    rare, _ = voices_of(8, 12, seed=9, spread=0.01)
    voices = numpy.vstack([many[:2500], rare, many[2500:]])
    kept = thinned(voices, 1000)
    assert len(kept) <= 1000
    assert (numpy.diff(kept) > 0).all()
    assert set(range(2500, 2512)) <= set(kept.tolist())


@pytest.mark.parametrize("limit", [1, 10, 499, 500, 501])
def test_thinning_keeps_its_limit(limit: int) -> None:
    voices, _ = voices_of(4, 500, spread=0.5)
    kept = thinned(voices, limit)
    assert len(kept) == len(set(kept.tolist())) <= limit
    assert len(kept) > 0


def test_each_clip_is_heard_alone_when_the_model_wants_that() -> None:
    clips = [Clip(0.0, 2.0), Clip(2.2, 4.0), Clip(3.99, 4.0)]
    assert windows_of(clips, 0.0, 10.0, 30.0, -1.0) == clips[:2]


def test_neighbours_are_heard_together_up_to_the_window() -> None:
    clips = [Clip(n * 9.0, n * 9.0 + 8.5) for n in range(5)]
    assert windows_of(clips, 0.0, 100.0, 30.0, 2.0) == [Clip(0.0, 26.5), Clip(27.0, 44.5)]


def test_long_pauses_are_not_bridged() -> None:
    assert windows_of([Clip(0.0, 2.0), Clip(5.0, 6.0)], 0.0, 10.0, 30.0, 2.0) == [Clip(0.0, 2.0), Clip(5.0, 6.0)]


def test_clips_beyond_the_window_are_cut_evenly() -> None:
    assert pieces_of(Clip(0.0, 70.0), 30.0) == [
        Clip(0.0, 70.0 / 3),
        Clip(70.0 / 3, 140.0 / 3),
        Clip(140.0 / 3, 70.0),
    ]

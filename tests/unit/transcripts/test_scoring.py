"""Our scorers against the field's: jiwer for words, pyannote.metrics for speakers, scipy for the assignment."""

from __future__ import annotations

import jiwer
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate
from scipy.optimize import linear_sum_assignment

from auricle.transcripts.alignment import alignment
from auricle.transcripts.assignment import best_assignment
from auricle.transcripts.scoring import diarization_error, normalized, score, word_error_rate

words = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=12)


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=12), words)
def test_word_error_rate_is_jiwers(reference: list[str], hypothesis: list[str]) -> None:
    assert word_error_rate(reference, hypothesis) == pytest.approx(jiwer.wer(" ".join(reference), " ".join(hypothesis)))


@st.composite
def conversations(draw: st.DrawFn, names: str) -> list[tuple[float, float, str]]:
    """Turns of some speakers; a speaker never overlaps itself (there, the measures differ by definition)."""
    turns: list[tuple[float, float, str]] = []
    for name in names[: draw(st.integers(1, len(names)))]:
        clock = 0.0
        for _ in range(draw(st.integers(1, 4))):
            clock += draw(st.integers(1, 40)) / 10
            end = clock + draw(st.integers(3, 60)) / 10
            turns.append((clock, end, name))
            clock = end
    return turns


@settings(deadline=None, max_examples=60)
@given(conversations("ABC"), conversations("xyzw"), st.sampled_from([0.0, 0.25]))
def test_diarization_error_is_pyannotes(
    reference: list[tuple[float, float, str]], hypothesis: list[tuple[float, float, str]], collar: float
) -> None:
    expected = pyannotes(reference, hypothesis, collar)
    if expected["total"] > 0:
        assert diarization_error(reference, hypothesis, collar) == pytest.approx(expected["diarization error rate"], abs=1e-6)


HANDMADE = [
    ([(0.0, 4.0, "A"), (5.0, 9.0, "B")], [(0.0, 4.0, "x"), (5.0, 9.0, "y")], 0.0),
    ([(0.0, 4.0, "A"), (5.0, 9.0, "B")], [(0.0, 9.0, "x")], 5 / 8),  # one second false, four confused
    ([(0.0, 4.0, "A"), (2.0, 6.0, "B")], [(0.0, 4.0, "x")], 4 / 8),  # B missed, overlap and all
    ([(0.0, 4.0, "A")], [], 1.0),
    ([(0.0, 4.0, "A")], [(4.0, 9.0, "x")], 9 / 4),
]


@pytest.mark.parametrize(("reference", "hypothesis", "expected"), HANDMADE)
def test_diarization_error_is_what_a_hand_counts(
    reference: list[tuple[float, float, str]], hypothesis: list[tuple[float, float, str]], expected: float
) -> None:
    assert diarization_error(reference, hypothesis, 0.0) == pytest.approx(expected)
    assert pyannotes(reference, hypothesis, 0.0)["diarization error rate"] == pytest.approx(expected)


def test_what_lies_within_the_collar_is_not_counted() -> None:
    assert diarization_error([(1.0, 3.0, "A")], [(0.8, 3.2, "x")], 0.25) == 0.0
    assert diarization_error([(1.0, 3.0, "A")], [(0.5, 3.0, "x")], 0.25) == pytest.approx(0.25 / 1.5)
    assert diarization_error([], [(0.0, 1.0, "x")], 0.25) == 0.0


@given(words, words)
def test_alignment_goes_through_both_texts_once(reference: list[str], hypothesis: list[str]) -> None:
    pairs = alignment(reference, hypothesis)
    assert [i for i, _ in pairs if i is not None] == list(range(len(reference)))
    assert [j for _, j in pairs if j is not None] == list(range(len(hypothesis)))


@pytest.mark.parametrize(("lost", "added"), [(range(0), 150), (range(100, 240), 0), (range(0, 400, 3), 90)])
def test_texts_that_differ_by_more_than_the_first_band_are_aligned(lost: range, added: int) -> None:
    reference = [f"w{i % 60}" for i in range(400)]
    hypothesis = ["new"] * added + [word for i, word in enumerate(reference) if i not in lost]
    assert word_error_rate(reference, hypothesis) == pytest.approx(jiwer.wer(" ".join(reference), " ".join(hypothesis)))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 20), min_size=5, max_size=5), min_size=1, max_size=6))
def test_assignment_is_scipys(matrix: list[list[int]]) -> None:
    weights = {(str(i), chr(97 + j)): float(w) for i, row in enumerate(matrix) for j, w in enumerate(row) if w}
    found = best_assignment(weights)
    rows, columns = linear_sum_assignment(numpy.array(matrix), maximize=True)
    assert len(set(found.values())) == len(found)
    assert sum(weights[pair] for pair in found.items()) == numpy.array(matrix)[rows, columns].sum()


def test_a_transcript_is_scored_against_its_truth() -> None:
    truth = {
        "turns": [{"start": 0.0, "end": 2.0, "speaker": "A"}, {"start": 3.0, "end": 5.0, "speaker": "B"}],
        "words": [
            {"word": "Hello", "start": 0.1, "end": 0.5, "speaker": "A"},
            {"word": "there.", "start": 0.6, "end": 1.0, "speaker": "A"},
            {"word": "Good", "start": 3.1, "end": 3.5, "speaker": "B"},
            {"word": "day", "start": 3.6, "end": 4.0, "speaker": "B"},
        ],
    }
    heard = {
        "segments": [
            {
                "start": 0.0,
                "end": 2.0,
                "speaker": "S2",
                "words": [{"word": "hello", "start": 0.1, "end": 0.5}, {"word": "bear", "start": 0.6, "end": 1.0}],
            },
            {"start": 3.0, "end": 5.0, "speaker": "S1", "words": [{"word": "good", "start": 3.3, "end": 3.5}]},
        ]
    }
    found = score(truth, heard)
    assert (found.substitutions, found.deletions, found.insertions) == (1, 1, 0)
    assert found.wer == 0.5
    assert (found.der, found.speakers_true, found.speakers_found) == (0.0, 2, 2)
    assert (found.speaker_word_accuracy, found.speaker_word_accuracy_all) == (1.0, 0.75)
    assert found.word_start_error_median == pytest.approx(0.2)


def test_a_transcript_without_speakers_is_scored_as_one_voice_and_none_counted() -> None:
    truth = {
        "turns": [{"start": 0.0, "end": 3.0, "speaker": "A"}, {"start": 3.0, "end": 4.0, "speaker": "B"}],
        "words": [
            {"word": "Hello", "start": 0.1, "end": 0.5, "speaker": "A"},
            {"word": "Hi", "start": 3.1, "end": 3.5, "speaker": "B"},
        ],
    }
    heard = [{"word": "hello", "start": 0.1, "end": 0.5}, {"word": "hi", "start": 3.1, "end": 3.5}]
    found = score(truth, {"segments": [{"start": 0.0, "end": 4.0, "speaker": None, "words": heard}]})
    assert (found.wer, found.speakers_found, found.der_no_collar) == (0.0, 0, 0.25)
    assert found.speaker_word_accuracy == 0.5


def test_nothing_is_scored_against_nothing() -> None:
    found = score({"turns": [], "words": []}, {"segments": []})
    assert (found.words, found.wer, found.der, found.word_start_error_median) == (0, 0.0, 0.0, None)


@pytest.mark.parametrize(
    ("text", "expected"), [("Don’t, twenty-five!", ["don't", "twenty", "five"]), ("Äpfel?", ["äpfel"]), ("—", [])]
)
def test_words_are_compared_without_case_and_punctuation(text: str, expected: list[str]) -> None:
    assert normalized(text) == expected


def pyannotes(
    reference: list[tuple[float, float, str]], hypothesis: list[tuple[float, float, str]], collar: float
) -> dict[str, float]:
    """pyannote.metrics' parts of the DER over the whole recording; its collar is the full width."""
    everything = Timeline([Segment(0.0, max(end for _, end, _ in (*reference, *hypothesis)))])
    measure = DiarizationErrorRate(collar=2 * collar)
    found: dict[str, float] = measure(_annotation(reference), _annotation(hypothesis), uem=everything, detailed=True)
    return found


def _annotation(turns: list[tuple[float, float, str]]) -> Annotation:
    annotation = Annotation()
    for i, (start, end, name) in enumerate(turns):
        annotation[Segment(start, end), i] = name
    return annotation

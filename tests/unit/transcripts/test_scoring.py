"""Our scorers against the field's: jiwer for words, pyannote.metrics for speakers, scipy for the assignment."""

from __future__ import annotations

import jiwer
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyannote.core import Annotation, Segment
from pyannote.metrics.diarization import DiarizationErrorRate
from scipy.optimize import linear_sum_assignment

from auricle.transcripts.assignment import best_assignment
from auricle.transcripts.scoring import diarization_error, score, word_error_rate

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
    theirs = DiarizationErrorRate(collar=2 * collar)
    expected = theirs(_annotation(reference), _annotation(hypothesis), detailed=True)
    if expected["total"] == 0:
        return
    assert diarization_error(reference, hypothesis, collar) == pytest.approx(expected["diarization error rate"], abs=2e-3)


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


def _annotation(turns: list[tuple[float, float, str]]) -> Annotation:
    annotation = Annotation()
    for i, (start, end, name) in enumerate(turns):
        annotation[Segment(start, end), i] = name
    return annotation

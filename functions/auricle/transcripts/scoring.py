"""How right a transcript is: word error rate, diarization error rate, right speakers.

WER is (substitutions + deletions + insertions) / true words, on lower-cased words without punctuation. DER is (missed +
false + confused speech) / true speech under the best one-to-one mapping of speakers, with a collar left out on EACH side
of every true boundary (NIST md-eval; pyannote.metrics counts both sides together). Overlapped speech counts.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from auricle.transcripts.assignment import best_assignment

Stretch = tuple[float, float, str]
COLLAR = 0.25
"""Seconds on each side of a true boundary, as in NIST's evaluations."""
_WORD = re.compile(r"[\w']+")


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; shares are 0..1 (error rates may exceed 1)."""

    words: int
    substitutions: int
    deletions: int
    insertions: int
    wer: float
    der: float  # collar 0.25 s each side
    der_no_collar: float
    speakers_true: int
    speakers_found: int
    speaker_word_accuracy: float  # of the true words that were aligned
    speaker_word_accuracy_all: float  # of all true words
    word_start_error_median: float | None  # seconds


class _Spoken(msgspec.Struct, frozen=True):
    word: str
    start: float
    speaker: str


def normalized(text: str) -> list[str]:
    """The words of a text as they are compared."""
    return _WORD.findall(text.lower().replace("’", "'"))


def score(truth: Mapping[str, Any], transcript: Mapping[str, Any]) -> Score:
    """Compare `truth` {turns: [{start,end,speaker}], words: [{word,start,end,speaker}]} with the API's transcript."""
    true_turns = [(t["start"], t["end"], t["speaker"]) for t in truth["turns"]]
    found_turns = [(s["start"], s["end"], s["speaker"] or "?") for s in transcript["segments"] if s["end"] > s["start"]]
    true_words = _spoken(sorted(truth["words"], key=lambda w: w["start"]))
    found_words = _spoken(
        sorted(
            ({**w, "speaker": s["speaker"] or "?"} for s in transcript["segments"] for w in s["words"]),
            key=lambda w: w["start"],
        )
    )
    pairs = alignment([w.word for w in true_words], [w.word for w in found_words])
    both = [(true_words[i], found_words[j]) for i, j in pairs if i is not None and j is not None]
    mapping = _mapping(_cells(true_turns, found_turns, COLLAR))
    right = sum(mapping.get(found.speaker) == true.speaker for true, found in both)
    substitutions = sum(true.word != found.word for true, found in both)
    deletions = sum(j is None for _, j in pairs)
    insertions = sum(i is None for i, _ in pairs)
    late = sorted(abs(found.start - true.start) for true, found in both if true.word == found.word)
    count = max(1, len(true_words))
    return Score(
        words=len(true_words),
        substitutions=substitutions,
        deletions=deletions,
        insertions=insertions,
        wer=(substitutions + deletions + insertions) / count,
        der=diarization_error(true_turns, found_turns, COLLAR),
        der_no_collar=diarization_error(true_turns, found_turns, 0.0),
        speakers_true=len({speaker for *_, speaker in true_turns}),
        speakers_found=len({speaker for *_, speaker in found_turns if speaker != "?"}),
        speaker_word_accuracy=right / max(1, len(both)),
        speaker_word_accuracy_all=right / count,
        word_start_error_median=late[len(late) // 2] if late else None,
    )


def word_error_rate(reference: Sequence[str], hypothesis: Sequence[str]) -> float:
    """WER of word lists that are normalized already."""
    wrong = sum(i is None or j is None or reference[i] != hypothesis[j] for i, j in alignment(reference, hypothesis))
    return wrong / max(1, len(reference))


def diarization_error(reference: Sequence[Stretch], hypothesis: Sequence[Stretch], collar: float) -> float:
    """DER with `collar` seconds left out on each side of every boundary of `reference`."""
    cells = _cells(reference, hypothesis, collar)
    mapping = _mapping(cells)
    wrong = speech = 0.0
    for seconds, true, found in cells:
        speech += seconds * len(true)
        matched = len(true & {mapping.get(k, "") for k in found})
        wrong += seconds * (max(len(true), len(found)) - matched)
    return wrong / speech if speech else 0.0


def alignment(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """A cheapest alignment (Levenshtein), as index pairs; None where one side has nothing. O(len·len)."""
    costs = [list(range(len(hypothesis) + 1))]
    for i, true in enumerate(reference, 1):
        above, row = costs[-1], [i]
        for j, found in enumerate(hypothesis, 1):
            row.append(min(above[j - 1] + (true != found), above[j] + 1, row[-1] + 1))
        costs.append(row)
    i, j = len(reference), len(hypothesis)
    pairs: list[tuple[int | None, int | None]] = []
    while i or j:
        if i and j and costs[i][j] == costs[i - 1][j - 1] + (reference[i - 1] != hypothesis[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and costs[i][j] == costs[i - 1][j] + 1:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


_Cell = tuple[float, frozenset[str], frozenset[str]]


def _cells(reference: Sequence[Stretch], hypothesis: Sequence[Stretch], collar: float) -> list[_Cell]:
    """The recording in pieces in which nobody begins or ends: seconds, who truly speaks, who is said to."""
    borders = [t for start, end, _ in reference for t in (start, end)]
    cuts = {t for start, end, _ in (*reference, *hypothesis) for t in (start, end)}
    cuts |= {t + d for t in borders for d in (-collar, collar)}
    found: list[_Cell] = []
    ordered = sorted(cuts)
    for a, b in itertools.pairwise(ordered):
        middle = (a + b) / 2
        if b - a < 1e-9 or (collar and any(abs(middle - t) < collar for t in borders)):
            continue
        true = frozenset(k for start, end, k in reference if start <= middle < end)
        said = frozenset(k for start, end, k in hypothesis if start <= middle < end)
        if true or said:
            found.append((b - a, true, said))
    return found


def _mapping(cells: Sequence[_Cell]) -> dict[str, str]:
    """Found speaker → true speaker, one to one, with the most seconds together."""
    together: dict[tuple[str, str], float] = {}
    for seconds, true, said in cells:
        for a in said:
            for b in true:
                together[a, b] = together.get((a, b), 0.0) + seconds
    return best_assignment(together)


def _spoken(words: Sequence[Mapping[str, Any]]) -> list[_Spoken]:
    return [_Spoken(text, w["start"], w["speaker"]) for w in words for text in normalized(w["word"])]

"""How right a transcript is: word error rate, diarization error rate, right speakers.

WER is (substitutions + deletions + insertions) / true words, on lower-cased words without punctuation. DER is (missed +
false + confused speech) / true speech under the best one-to-one mapping of speakers, with a collar left out on EACH side
of every true boundary (NIST md-eval; pyannote.metrics counts both sides together). Overlapped speech counts.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from auricle.transcripts.alignment import alignment
from auricle.transcripts.assignment import best_assignment

Stretch = tuple[float, float, str]
COLLAR = 0.25
"""Seconds on each side of a true boundary, as in NIST's evaluations."""
NOBODY = "?"
"""Stands for all segments without a speaker: one voice to the measures, none in the count."""
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
    found_turns = [(s["start"], s["end"], s["speaker"] or NOBODY) for s in transcript["segments"]]
    true_words = _spoken(truth["words"])
    found_words = _spoken([{**w, "speaker": s["speaker"] or NOBODY} for s in transcript["segments"] for w in s["words"]])
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
        speakers_found=len({speaker for *_, speaker in found_turns if speaker != NOBODY}),
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
    for (true, found), seconds in cells.items():
        speech += seconds * len(true)
        matched = len(true & {mapping.get(k, "") for k in found})
        wrong += seconds * (max(len(true), len(found)) - matched)
    return wrong / speech if speech else 0.0


_Cells = dict[tuple[frozenset[str], frozenset[str]], float]
"""Who truly speaks, who is said to speak → for how many seconds."""


def _cells(reference: Sequence[Stretch], hypothesis: Sequence[Stretch], collar: float) -> _Cells:
    """The recording divided by who speaks, without the collars."""
    changes: list[tuple[float, int, str, int]] = []  # when, whose list (0 true, 1 found, 2 collar), who, begins or ends
    for side, stretches in enumerate((reference, hypothesis)):
        for start, end, who in stretches:
            if end > start:
                changes += [(start, side, who, 1), (end, side, who, -1)]
    if collar:
        borders = [moment for moment, side, _, _ in changes if side == 0]
        changes += [(t + sign * collar, 2, "", -sign) for t in borders for sign in (-1, 1)]
    changes.sort()
    active: tuple[Counter[str], Counter[str], Counter[str]] = (Counter(), Counter(), Counter())
    found: _Cells = {}
    for (moment, side, who, step), (following, *_) in itertools.pairwise([*changes, (math.inf, 0, "", 0)]):
        active[side][who] += step
        if following - moment < 1e-9 or active[2][""] > 0:
            continue
        cell = (frozenset(+active[0]), frozenset(+active[1]))
        if cell != (frozenset(), frozenset()):
            found[cell] = found.get(cell, 0.0) + following - moment
    return found


def _mapping(cells: _Cells) -> dict[str, str]:
    """Found speaker → true speaker, one to one, with the most seconds together."""
    together: dict[tuple[str, str], float] = {}
    for (true, said), seconds in cells.items():
        for a in said:
            for b in true:
                together[a, b] = together.get((a, b), 0.0) + seconds
    return best_assignment(together)


def _spoken(words: Sequence[Mapping[str, Any]]) -> list[_Spoken]:
    """Words as they are compared, in the order in which they begin."""
    ordered = sorted(words, key=lambda w: float(w["start"]))
    return [_Spoken(text, w["start"], w["speaker"]) for w in ordered for text in normalized(w["word"])]

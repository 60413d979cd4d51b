"""Which words of two texts correspond."""

from __future__ import annotations

from collections.abc import Sequence

Pair = tuple[int | None, int | None]
"""Positions in both texts; None where one has nothing."""
_BOTH, _FIRST, _SECOND = 0, 1, 2
"""The last step of a cheapest alignment: a pair, a word of the first text alone, one of the second alone."""


def alignment(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    """A cheapest alignment (Levenshtein: substitution, deletion and insertion cost 1), in order.

    Only a band around the diagonal is looked at, doubled until the cost fits in it (Ukkonen 1985): O(words x errors),
    so that hours of nearly right text are compared in seconds.
    """
    band = max(32, abs(len(reference) - len(hypothesis)))
    while True:
        steps = _steps(reference, hypothesis, band)
        pairs = _walked(steps, len(reference), len(hypothesis), band)
        if sum(i is None or j is None or reference[i] != hypothesis[j] for i, j in pairs) <= band:
            return pairs
        band *= 2


def _steps(reference: Sequence[str], hypothesis: Sequence[str], band: int) -> list[bytearray]:
    """Per row of the table the last step to each cell of the band; cell c of row i is column i + c - band."""
    never = len(reference) + len(hypothesis) + 1
    width = 2 * band + 1
    above = [never] * band + list(range(band + 1)) + [never]
    steps = [bytearray([_SECOND]) * width]
    for i, word in enumerate(reference, 1):
        row, last = [never] * (width + 1), bytearray(width)
        left = never
        first = max(0, band - i)
        for c in range(first, min(width, len(hypothesis) - i + band + 1)):
            column = i + c - band
            deleted, inserted = above[c + 1] + 1, left + 1
            paired = above[c] + (word != hypothesis[column - 1]) if column else never
            if paired <= deleted and paired <= inserted:
                left = paired
            elif deleted <= inserted:
                left, last[c] = deleted, _FIRST
            else:
                left, last[c] = inserted, _SECOND
            row[c] = left
        above = row
        steps.append(last)
    return steps


def _walked(steps: Sequence[bytearray], i: int, j: int, band: int) -> list[Pair]:
    """The way back through the table, turned round."""
    pairs: list[Pair] = []
    while i or j:
        step = steps[i][j - i + band]
        i, j = i - (step != _SECOND), j - (step != _FIRST)
        pairs.append((None if step == _SECOND else i, None if step == _FIRST else j))
    return pairs[::-1]

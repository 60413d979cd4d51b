"""How words make text: where blanks stand, where a sentence or a clause is over."""

from __future__ import annotations

import re
from collections.abc import Sequence

UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u3190-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
"""Characters of scripts that put no blanks between words: Thai, Lao, Tibetan, Burmese, Khmer, Chinese, Japanese."""
SENTENCE_ENDS = tuple(".?!…。？！؟।")
CLAUSE_ENDS = (*SENTENCE_ENDS, *",;:—，、；：،؛")
CLOSERS = "\"'”’»)]」』）"


def ends_sentence(word: str) -> bool:
    """Whether a sentence is over after this word."""
    return word.rstrip(CLOSERS).endswith(SENTENCE_ENDS)


def ends_clause(word: str) -> bool:
    """Whether a reader may breathe after this word."""
    return word.rstrip(CLOSERS).endswith(CLAUSE_ENDS)


def parted(before: str, after: str) -> bool:
    """Whether a blank stands between two words: everywhere but within a script that has none."""
    return not (UNSPACED.match(before[-1]) and UNSPACED.match(after[0]))


def written(words: Sequence[str]) -> str:
    """Words (none of them empty) as a line of text."""
    parts: list[str] = []
    for word in words:
        if parts and parted(parts[-1], word):
            parts.append(" ")
        parts.append(word)
    return "".join(parts)

"""The words of a passage, whole and in order, whatever the model gave."""

from __future__ import annotations

import re
from collections.abc import Sequence

from auricle.transcripts.model import Passage, Word
from auricle.transcripts.wording import UNSPACED

SEARCHED = 40
"""How many characters further on a word may stand in the text before it counts as not found."""
_PIECE = re.compile(rf"{UNSPACED.pattern}[^\w\s]*|(?:(?!{UNSPACED.pattern})\S)+")


def words_of(passage: Passage) -> list[Word]:
    """The words that people see: what the text writes without a blank between (`twenty` `-five`) is one word.

    A model that gives no word times gets its text spread evenly over the passage, with probability 0.
    """
    heard = [word for word in passage.words if word.word.strip()]
    return _whole(passage.text, heard) if heard else _even(passage)


def _whole(text: str, words: Sequence[Word]) -> list[Word]:
    found: list[Word] = []
    cursor, last_end = 0, -1  # where to look on, and where the last word ended in the text (-1: it was not found)
    for word in words:
        written = word.word.strip()
        here = text.find(written, cursor, cursor + len(written) + SEARCHED)
        if found and here == last_end >= 0 and not _may_part(found[-1].word, written):
            found[-1] = _merged(found[-1], word, written)
        else:
            found.append(Word(written, word.start, word.end, word.probability))
        last_end = here + len(written) if here >= 0 else -1
        cursor = max(cursor, last_end)
    return found


def _may_part(before: str, after: str) -> bool:
    """Whether two words are two although no blank is between them: in scripts that have none."""
    return bool(UNSPACED.match(before[-1]) or UNSPACED.match(after[0]))


def _merged(first: Word, second: Word, written: str) -> Word:
    end = max(first.end, second.end)
    return Word(first.word + written, min(first.start, second.start), end, min(first.probability, second.probability))


def _even(passage: Passage) -> list[Word]:
    texts = _PIECE.findall(passage.text)
    step = (passage.end - passage.start) / max(1, len(texts))
    return [Word(text, passage.start + i * step, passage.start + (i + 1) * step, 0.0) for i, text in enumerate(texts)]

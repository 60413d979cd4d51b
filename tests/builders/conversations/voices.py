"""Synthetic people: an espeak-ng accent and variant with a pitch, a range and a rate of their own."""

from __future__ import annotations

from enum import StrEnum
from random import Random

import msgspec

from builders.conversations.grammar import words

ACCENTS = ("en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
PITCHES = (28, 40, 52, 64, 74)
HEARD = words(
    "m1 m2 m3 m4 m6 m7 f1 f2 f3 f5 Alex Andy Annie Gene Hugo Jacky Lee Marco Michael Mike adam anika belinda benjamin boris "
    "caleb david ed edward linda john max paul rob robert sandro victor zac quincy steph aunty norbert pablo"
)
UNHEARD = words("f4 m5 Alicia Denis michel miguel shelby")
HIGH = frozenset(words("f1 f2 f3 f4 f5 Alicia Annie anika aunty belinda linda shelby steph"))


class Pool(StrEnum):
    """Whose voices a conversation is made of."""

    HEARD = "heard"  # variants that the demo models were trained on, at other pitches
    UNHEARD = "unheard"  # variants that no demo model has heard


class Voice(msgspec.Struct, frozen=True):
    """What espeak-ng needs to speak as one person. `rate` in words per minute."""

    name: str
    variant: str
    pitch: int
    range: int
    rate: int

    @property
    def high(self) -> bool:
        """Whether a woman's name suits the voice."""
        return self.variant in HIGH


def people(pool: Pool, count: int, draw: Random) -> list[Voice]:
    """`count` voices that share no variant, hence sound different."""
    variants = draw.sample({Pool.HEARD: HEARD, Pool.UNHEARD: UNHEARD}[pool], count)
    return [
        Voice(f"{draw.choice(ACCENTS)}+{variant}", variant, draw.choice(PITCHES), draw.randint(35, 65), draw.randint(140, 185))
        for variant in variants
    ]

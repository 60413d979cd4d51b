"""Backup codes: ten that a person keeps on paper, each good once, for the day the telephone is gone (NIST SP 800-63B-4, 3.1.2).

A code is twelve signs, `K7PX-3MTR-9WCD`. The first differs in every code of a set and names it, so that any attempt costs one
hash, whichever code it is, used, unused or unknown; the eleven others hold 50.4 bits, all of them needed.
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Sequence

import msgspec

from auricle.ports.hashing import PasswordHasher

COUNT = 10
ALPHABET = "34679ACDEFGHJKMNPQRTVWXY"
"""24 signs that no handwriting confuses: without 0 O, 1 I L, 2 Z, 5 S, 8 B, and U beside V."""
_SECRET = 11
_GROUP = 4
_LONGEST = 64
"""Characters that are looked at of what was typed."""


class BackupCode(msgspec.Struct, frozen=True):
    """What is kept of an unused code: its first sign, unique in the person's set, and a hash of all of it."""

    sign: str
    hash: str


def new_codes(hasher: PasswordHasher) -> tuple[tuple[BackupCode, ...], tuple[str, ...]]:
    """What to keep in place of all codes that the person had, and the codes themselves, which are shown this once."""
    signs = secrets.SystemRandom().sample(ALPHABET, COUNT)
    plain = [sign + "".join(secrets.choice(ALPHABET) for _ in range(_SECRET)) for sign in signs]
    kept = tuple(BackupCode(code[0], hasher.hash(code)) for code in plain)
    return kept, tuple("-".join(code[i : i + _GROUP] for i in range(0, len(code), _GROUP)) for code in plain)


def matching(typed: str, kept: Sequence[BackupCode], hasher: PasswordHasher) -> BackupCode | None:
    """The unused code that was typed, however it was spaced; None when there is none. Always costs exactly one hash.

    The caller deletes it, and lets the person in only if that deleted a row: of two uses at once, one wins. For a person
    without codes, or an account that is not there, `kept` is empty and the cost is the same.
    """
    code = _plain(typed)
    found = next((one for one in kept if code and one.sign == code[0]), None)
    return found if hasher.verify(code, found.hash if found else None) else None


def _plain(typed: str) -> str:
    """As it was made: capitals, nothing between."""
    form = unicodedata.normalize("NFKC", typed[:_LONGEST]).upper()
    return "".join(sign for sign in form if sign.isalnum())

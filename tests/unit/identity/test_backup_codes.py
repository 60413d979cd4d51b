"""Backup codes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from auricle.adapters.hashing.argon2id import Argon2id
from auricle.identity import backupcodes
from auricle.identity.backupcodes import ALPHABET, BackupCode, matching, new_codes
from builders.quick_hasher import QuickHasher


@pytest.fixture
def hasher() -> QuickHasher:
    return QuickHasher()


def without(kept: tuple[BackupCode, ...], used: BackupCode) -> tuple[BackupCode, ...]:
    return tuple(one for one in kept if one != used)


def test_there_are_ten_and_each_works_once(hasher: QuickHasher) -> None:
    kept, codes = new_codes(hasher)
    assert len(set(codes)) == 10
    for code in codes:
        found = matching(code, kept, hasher)
        assert found is not None
        kept = without(kept, found)
        assert matching(code, kept, hasher) is None
    assert kept == ()


def test_what_must_be_guessed_has_fifty_bits_beside_the_sign_that_names_it() -> None:
    assert math.log2(len(ALPHABET)) * backupcodes._SECRET >= 50


def test_no_sign_looks_like_another() -> None:
    assert len(set(ALPHABET)) == len(ALPHABET)
    for group in ("0OQ", "1IL", "2Z", "5S", "8B", "UV"):
        assert sum(sign in ALPHABET for sign in group) <= 1, group


def test_every_sign_comes_at_every_place(hasher: QuickHasher) -> None:
    codes = [code.replace("-", "") for _ in range(60) for code in new_codes(hasher)[1]]
    assert all({code[place] for code in codes} == set(ALPHABET) for place in range(12))
    assert all(a != b for a, b in pairwise(sorted(codes)))


def test_codes_of_a_set_begin_differently(hasher: QuickHasher) -> None:
    for _ in range(50):
        kept, codes = new_codes(hasher)
        assert len({code[0] for code in codes}) == 10
        assert [one.sign for one in kept] == [code[0] for code in codes]


def test_a_code_may_be_typed_as_hands_type(hasher: QuickHasher) -> None:
    kept, codes = new_codes(hasher)
    code = codes[3]
    for typed in (code.lower(), code.replace("-", ""), code.replace("-", " "), f"  {code}\n", code.replace("-", "–")):
        assert matching(typed, kept, hasher) == kept[3]


def test_nothing_else_is_a_code(hasher: QuickHasher) -> None:
    kept, codes = new_codes(hasher)
    wrong = [codes[0][:-1], codes[0] + "A", codes[0][0] + codes[1][1:], codes[0][0], "", "-", "ß", "\ud800", "x" * 100_000]
    assert [matching(typed, kept, hasher) for typed in wrong] == [None] * len(wrong)


def test_every_attempt_costs_one_hash_whatever_comes_of_it(hasher: QuickHasher) -> None:
    kept, codes = new_codes(hasher)
    fewer = kept[1:]
    unknown = next(sign for sign in ALPHABET if sign not in {one.sign for one in kept})
    attempts = {
        "first left": (codes[1], fewer),
        "last": (codes[9], fewer),
        "used": (codes[0], fewer),
        "wrong": (codes[5][:-1], fewer),
        "unknown sign": (unknown * 12, fewer),
        "nothing": ("", fewer),
        "no codes": (codes[0], ()),
    }
    costs = {}
    for name, (typed, left) in attempts.items():
        before = hasher.worked
        matching(typed, left, hasher)
        costs[name] = hasher.worked - before
    assert set(costs.values()) == {1}, costs


def test_what_is_kept_is_no_code_and_argon2id() -> None:
    hasher = Argon2id()
    kept, codes = new_codes(hasher)
    assert all(one.hash.startswith("$argon2id$") for one in kept)
    assert not any(code.replace("-", "")[1:] in str(kept) for code in codes)
    assert matching(codes[7], kept, hasher) == kept[7]
    assert matching(codes[7], without(kept, kept[7]), hasher) is None

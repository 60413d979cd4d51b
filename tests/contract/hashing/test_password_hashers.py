"""What every hasher promises."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auricle.adapters.hashing.argon2id import Argon2id, Cost
from auricle.errors import Invalid
from auricle.ports.hashing import MAX_CHARACTERS, PasswordHasher
from builders.quick_hasher import QuickHasher

SECRET = "korrekt Pferd Batterie Heftklammer"
MAKERS: dict[str, Callable[[], tuple[PasswordHasher, PasswordHasher]]] = {
    "quick": lambda: (QuickHasher(1), QuickHasher(2)),
    "argon2id": lambda: (Argon2id(), Argon2id(Cost(memory=7_168, passes=5))),
}


@pytest.fixture(scope="module", params=MAKERS)
def pair(request: pytest.FixtureRequest) -> tuple[PasswordHasher, PasswordHasher]:
    """A hasher, and one with other parameters."""
    return MAKERS[request.param]()


@pytest.fixture
def hasher(pair: tuple[PasswordHasher, PasswordHasher]) -> PasswordHasher:
    return pair[0]


def test_the_right_secret_verifies_and_no_other_does(hasher: PasswordHasher) -> None:
    kept = hasher.hash(SECRET)
    assert hasher.verify(SECRET, kept) is True
    for wrong in ("", SECRET[:-1], SECRET + " ", " " + SECRET, SECRET.upper(), SECRET + "\0"):
        assert hasher.verify(wrong, kept) is False


def test_the_same_secret_is_never_kept_the_same_way_and_is_not_in_it(hasher: PasswordHasher) -> None:
    one, other = hasher.hash(SECRET), hasher.hash(SECRET)
    assert one != other
    assert SECRET not in one


@pytest.mark.parametrize(
    ("typed", "typed_elsewhere"),
    [
        ("caf\u00e9 am Morgen", "cafe\u0301 am Morgen"),
        ("ｗｉｄｅ letters", "wide letters"),
        ("ﬁne Nächte", "fine Na\u0308chte"),
    ],
)
def test_keyboards_that_write_the_same_sign_differently_open_the_same_door(
    hasher: PasswordHasher, typed: str, typed_elsewhere: str
) -> None:
    assert hasher.verify(typed_elsewhere, hasher.hash(typed)) is True


def test_nothing_is_cut_off_a_long_secret(hasher: PasswordHasher) -> None:
    longest = "x" * (MAX_CHARACTERS - 1)
    kept = hasher.hash(longest + "y")
    assert hasher.verify(longest + "y", kept) is True
    assert hasher.verify(longest + "z", kept) is False


def test_more_characters_than_allowed_are_refused_when_chosen_and_wrong_when_typed(hasher: PasswordHasher) -> None:
    with pytest.raises(Invalid, match="at most 1024"):
        hasher.hash("x" * (MAX_CHARACTERS + 1))
    assert hasher.verify("x" * 5_000_000, hasher.hash(SECRET)) is False


@pytest.mark.parametrize("odd", ["tab\there", "line\nbreak", "nul\0", "lone \ud800 surrogate", "unassigned \U0003fffd"])
def test_what_has_no_stable_form_is_refused_when_chosen_and_wrong_when_typed(hasher: PasswordHasher, odd: str) -> None:
    with pytest.raises(Invalid, match="control character"):
        hasher.hash(odd)
    assert hasher.verify(odd, hasher.hash(SECRET)) is False
    assert hasher.verify(odd, None) is False


def test_an_account_that_is_not_there_has_no_password(hasher: PasswordHasher) -> None:
    assert hasher.verify(SECRET, None) is False
    assert hasher.verify("", None) is False


@pytest.mark.parametrize(
    "broken", ["", "x", "plain text", "$2b$12$abcdefghijklmnopqrstuv", "$argon2id$v=19$m=x", "$argon2idé$", "quick$1"]
)
def test_what_is_no_hash_verifies_for_nobody(hasher: PasswordHasher, broken: str) -> None:
    assert hasher.verify(SECRET, broken) is False
    assert hasher.verify(broken, broken) is False
    assert hasher.needs_rehash(broken) is False


def test_hashes_of_other_parameters_still_verify_and_ask_to_be_made_again(pair: tuple[PasswordHasher, PasswordHasher]) -> None:
    now, before = pair
    old = before.hash(SECRET)
    if isinstance(now, Argon2id):
        assert now.verify(SECRET, old) is True
    assert now.needs_rehash(old) is True
    assert now.needs_rehash(now.hash(SECRET)) is False

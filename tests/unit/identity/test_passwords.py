"""What a password must be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.errors import Invalid
from auricle.identity.editing import differs_by
from auricle.identity.passwords import (
    PROFILES,
    Kept,
    Passwords,
    Person,
    Profile,
    ProfileName,
    Rule,
    due,
    expires,
    fit,
    refuse,
)
from builders.breach_list import MemoryBreaches
from builders.quick_hasher import QuickHasher

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ADA = Person(("Ada Lovelace", "countess"), "ada.byron@analytical.example")
NOBODY = Person()
STANDARD, NIST, STIG = (PROFILES[name] for name in ProfileName)
GOOD = "Brass-Wheels 7 turn"
OTHER = "violet Umbrella + 93"


def rules(password: str, profile: Profile = STANDARD, person: Person = NOBODY) -> set[Rule]:
    return {finding.rule for finding in fit(password, profile, person)}


class Desk:
    """Where passwords are chosen, with a hasher that counts."""

    def __init__(self, profile: Profile = STANDARD, stolen: Mapping[str, int] | None = None) -> None:
        self.hasher = QuickHasher()
        self.breaches = MemoryBreaches(stolen or {})
        self.passwords = Passwords(profile, self.hasher, self.breaches)

    def kept(self, *passwords: str, changed_at: datetime = NOW - 10 * DAY, must_change: bool = False) -> Kept:
        hashes = tuple(self.hasher.hash(password) for password in passwords)
        return Kept(hashes=hashes, changed_at=changed_at, must_change=must_change)

    def rules(self, password: str, kept: Kept | None = None, current: str | None = None, person: Person = NOBODY) -> set[Rule]:
        return {finding.rule for finding in self.passwords.check(password, person, kept or Kept(), NOW, current)}


# By itself


@pytest.mark.parametrize("profile", ProfileName)
def test_a_good_password_is_good_in_every_profile(profile: ProfileName) -> None:
    assert fit(GOOD, PROFILES[profile], ADA) == []


@pytest.mark.parametrize(("name", "length"), [("standard", 12), ("nist", 15), ("stig", 15)])
def test_length_is_asked_to_the_character(name: str, length: int) -> None:
    profile = PROFILES[ProfileName(name)]
    whole = "Qw7-eRtz4!pLm9#"[:length]
    assert len(whole) == length
    assert Rule.LENGTH not in rules(whole, profile)
    assert rules(whole[:-1], profile) == {Rule.LENGTH}


def test_length_counts_characters_as_they_are_hashed() -> None:
    assert Rule.LENGTH in rules("e\u0301" * 7 + "Ab1-")  # 18 as typed, 11 composed
    assert Rule.LENGTH not in rules("🦉Ab1-" + "äöüßéèà")  # 12 characters, 25 bytes


@pytest.mark.parametrize("profile", [STANDARD, STIG])
@pytest.mark.parametrize(
    ("missing", "password"),
    [
        ("a capital letter", "brass-wheels 7 turn"),
        ("a small letter", "BRASS-WHEELS 7 TURN"),
        ("a digit", "Brass-Wheels x turn"),
        ("a sign such as ! or -", "BrassWheels7turnAgain"),
    ],
)
def test_each_class_is_needed_and_the_missing_one_is_named(profile: Profile, missing: str, password: str) -> None:
    (finding,) = fit(password, profile, NOBODY)
    assert (finding.rule, finding.sentence) == (Rule.CLASSES, f"Add {missing}.")


def test_nist_asks_for_no_classes() -> None:
    assert rules("brass wheels turn round", NIST) == set()


def test_all_missing_classes_are_named_in_one_sentence() -> None:
    (finding,) = fit("brasswheelsturn", STANDARD, NOBODY)
    assert finding.sentence == "Add a capital letter, a digit and a sign such as ! or -."


def test_letters_of_any_script_count() -> None:
    assert rules("Ώρα-καλή 7 φίλε") == set()


@pytest.mark.parametrize(
    "password",
    [
        "aaaaaaaaaaaaaaaa",
        "abcabcabcabcabcabc",
        "abcdefghijklmnop",
        "1234567890123456",
        "fedcba9876543210",
        "orange7!orange7!",
        "AbAbAbAbAbAbAbAb",
    ],
)
def test_repetitions_and_rows_are_refused_whatever_their_length(password: str) -> None:
    assert Rule.PREDICTABLE in rules(password, NIST)


@pytest.mark.parametrize(
    "password",
    [
        "my ADA-LOVELACE 1!x",
        "Lovely-weather 77",
        "xx-CountESS-77 zz",
        "one byron 2 Three!",
        "Analytical-77 xyz!",
        "I like auricle 77!",
        "LÖVELÄCE 77 !xyzq",
    ],
)
def test_parts_of_name_and_mail_and_service_are_refused(password: str) -> None:
    assert rules(password, STANDARD, ADA) >= {Rule.PERSONAL}


@pytest.mark.parametrize("password", ["Canada is big - 77", "An example 77 is -", "The love of 77-cats"])
def test_short_parts_and_other_peoples_names_are_fine(password: str) -> None:
    assert rules(password, STANDARD, Person(("Ada Lo", "abc"), "ada@x-y.org")) == set()
    assert rules(password, STANDARD, NOBODY) == set()


def test_figures_in_an_address_make_no_part() -> None:
    person = Person((), "maria1985@example.org")
    assert rules("Harbour 1985 ! tide", STANDARD, person) == set()
    assert rules("Harbour maria ! 7 tide", STANDARD, person) == {Rule.PERSONAL}


@pytest.mark.parametrize("password", ["x" * 1025, "Tab\there-77 and on", "Brass-Wheels 7 \ud800"])
def test_what_cannot_be_hashed_is_a_finding_and_no_crash(password: str) -> None:
    assert rules(password) == {Rule.CHARACTERS}


def test_findings_are_sentences_without_the_password() -> None:
    for finding in fit("ada", STIG, ADA):
        assert finding.sentence.endswith(".")
        assert "ada" not in finding.sentence


@given(st.text(max_size=60), st.sampled_from(list(ProfileName)))
def test_any_text_gets_an_answer(text: str, name: ProfileName) -> None:
    assert isinstance(fit(text, PROFILES[name], Person((text,), text)), list)


# With what was before


def test_a_first_password_needs_only_be_good() -> None:
    assert Desk().rules(GOOD) == set()


def test_the_current_and_the_last_24_may_not_come_back_and_the_one_before_may() -> None:
    desk = Desk()
    earlier = [f"Meadow {n} - Lantern" for n in range(25)]
    kept = desk.kept(*earlier)
    assert {n for n, password in enumerate(earlier) if Rule.HISTORY in desk.rules(password, kept)} == set(range(24))


def test_what_is_remembered_is_what_is_asked() -> None:
    desk, kept = Desk(), Kept()
    for n in range(30):
        kept = desk.passwords.remembered(kept, desk.hasher.hash(f"Meadow {n} - Lantern"), NOW - 2 * DAY)
    assert len(kept.hashes) == 24
    assert Rule.HISTORY in desk.rules("Meadow 29 - Lantern", kept)
    assert Rule.HISTORY in desk.rules("Meadow 6 - Lantern", kept)
    assert desk.rules("Meadow 5 - Lantern", kept) == set()


def test_earlier_ones_are_found_however_they_are_typed() -> None:
    desk = Desk()
    assert Rule.HISTORY in desk.rules("Cafe\u0301-Wheels 7 turn", desk.kept("Caf\u00e9-Wheels 7 turn"))


def test_a_rehash_makes_a_password_no_younger_and_forgets_nothing() -> None:
    desk = Desk()
    kept = desk.kept(GOOD, OTHER)
    again = kept.rehashed(desk.hasher.hash(GOOD))
    assert (again.changed_at, again.hashes[1:], len(again.hashes)) == (kept.changed_at, kept.hashes[1:], 2)
    assert again.hashes[0] != kept.hashes[0]


def test_stolen_passwords_are_refused_and_an_absent_list_refuses_nobody() -> None:
    desk = Desk(NIST, {GOOD: 3})
    assert desk.rules(GOOD) == {Rule.BREACHED}
    assert desk.rules(OTHER) == set()
    desk.breaches.away = True
    assert desk.rules(GOOD) == set()
    assert Passwords(NIST, desk.hasher, None).check(GOOD, NOBODY, Kept(), NOW) == []


def test_a_password_that_is_refused_anyway_is_asked_about_nowhere_and_costs_no_hash() -> None:
    desk = Desk()
    kept = desk.kept(GOOD, OTHER)
    before = desk.hasher.worked
    assert desk.rules("short", kept) >= {Rule.LENGTH}
    assert (desk.breaches.asked, desk.hasher.worked) == ([], before)


def test_every_earlier_hash_is_compared_whichever_matches() -> None:
    desk = Desk()
    kept = desk.kept(*(f"Meadow {n} - Lantern" for n in range(24)))
    costs = []
    for password in ("Meadow 0 - Lantern", "Meadow 23 - Lantern", "Other 77 - Lantern"):
        before = desk.hasher.worked
        desk.rules(password, kept)
        costs.append(desk.hasher.worked - before)
    assert costs == [24, 24, 24]


@pytest.mark.parametrize(
    ("new", "good"),
    [
        ("Brass-Wheels 7 turns!", False),
        ("BRASS-WHEELS 7 TURn", False),
        ("1Brass-Wheels 7 turn2", False),
        ("Brass-Wheels 9 xyzwvu", False),  # seven
        ("Brass-Wheel3 9 xyzwvu", True),  # eight
        (OTHER, True),
    ],
)
def test_stig_wants_eight_characters_changed(new: str, good: bool) -> None:
    desk = Desk(STIG)
    assert (Rule.CHANGED in desk.rules(new, desk.kept(GOOD), current=GOOD)) is not good
    assert Rule.CHANGED not in Desk(NIST).rules(new, desk.kept(GOOD), current=GOOD)


# Age


@pytest.mark.parametrize("profile", [STANDARD, STIG])
def test_a_password_can_be_changed_a_day_later_and_not_before(profile: Profile) -> None:
    desk = Desk(profile)
    assert desk.rules(OTHER, desk.kept(GOOD, changed_at=NOW - DAY + timedelta(seconds=1))) == {Rule.TOO_SOON}
    assert desk.rules(OTHER, desk.kept(GOOD, changed_at=NOW - DAY)) == set()


def test_nist_lets_people_change_when_they_like() -> None:
    desk = Desk(NIST)
    assert desk.rules(OTHER, desk.kept(GOOD, changed_at=NOW)) == set()
    assert expires(NIST, desk.kept(GOOD, changed_at=NOW - 3650 * DAY)) is None


def test_who_must_change_a_password_need_not_wait() -> None:
    desk = Desk(STIG)
    kept = desk.kept(GOOD, changed_at=NOW, must_change=True)
    assert desk.rules(OTHER, kept) == set()
    assert desk.rules(GOOD, kept) == {Rule.HISTORY}


def test_a_clock_that_was_set_back_opens_nothing() -> None:
    desk = Desk(STIG)
    assert desk.rules(OTHER, desk.kept(GOOD, changed_at=NOW + 3 * DAY)) == {Rule.TOO_SOON}


def test_how_long_to_wait_is_told() -> None:
    desk = Desk(STIG)
    kept = desk.kept(GOOD, changed_at=NOW - timedelta(hours=20, minutes=30))
    (finding,) = desk.passwords.check(OTHER, NOBODY, kept, NOW)
    assert "in 4 hours" in finding.sentence


@pytest.mark.parametrize("profile", [STANDARD, STIG])
def test_after_sixty_days_nothing_goes_on_without_a_new_one(profile: Profile) -> None:
    kept = Desk().kept(GOOD, changed_at=NOW)
    assert expires(profile, kept) == NOW + 60 * DAY
    assert due(profile, kept, NOW + 60 * DAY - timedelta(seconds=1)) is None
    old = due(profile, kept, NOW + 60 * DAY)
    assert old is not None
    assert old.rule is Rule.EXPIRED


def test_a_password_that_somebody_else_chose_must_be_changed_at_once() -> None:
    found = due(NIST, Desk().kept(GOOD, changed_at=NOW, must_change=True), NOW)
    assert found is not None
    assert found.rule is Rule.MUST_CHANGE


def test_choosing_ones_own_ends_the_duty() -> None:
    desk = Desk()
    after = desk.passwords.remembered(desk.kept(GOOD, must_change=True), desk.hasher.hash(OTHER), NOW)
    assert (after.must_change, after.changed_at, due(STANDARD, after, NOW)) == (False, NOW, None)


def test_who_has_no_password_has_none_to_change() -> None:
    assert due(STIG, Kept(), NOW) is None


# Together


def test_all_findings_are_told_at_once() -> None:
    found = fit("ada.lovelace", STIG, ADA)
    with pytest.raises(Invalid) as caught:
        refuse(found)
    assert caught.value.extra["rules"] == ["length", "classes", "personal"]
    assert all(finding.sentence in str(caught.value) for finding in found)


def test_nothing_found_refuses_nothing() -> None:
    refuse([])


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": 7},
        {"length": 65},
        {"history": -1},
        {"changed": 16},
        {"longest": timedelta(hours=24)},
        {"shortest": -DAY, "longest": DAY},
    ],
)
def test_rules_that_nobody_can_keep_are_refused(wrong: dict[str, object]) -> None:
    values = {"length": 15, "classes": True, "shortest": timedelta(hours=24)} | wrong
    with pytest.raises(ValueError, match="A password profile has"):
        Profile(**values)  # type: ignore[arg-type]


# How much differs


def distance(a: str, b: str) -> int:
    """Levenshtein's, by its definition."""
    table = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1]))
    return table[len(a), len(b)]


@given(st.text("abc", max_size=14), st.text("abc", max_size=14), st.integers(0, 9))
def test_the_quick_way_agrees_with_the_definition(old: str, new: str, least: int) -> None:
    assert differs_by(old, new, least) is (distance(old, new) >= least)


def test_long_passwords_are_compared_to_their_ends() -> None:
    old = "".join(chr(97 + n % 26) for n in range(1024))
    assert differs_by(old, old[:-7] + "-------", 8) is False
    assert differs_by(old, old[:-8] + "--------", 8) is True
    assert differs_by(old, "xyz" + old[3:], 8) is False

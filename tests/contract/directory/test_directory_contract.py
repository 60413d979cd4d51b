"""What every directory does: it lets in who proves to be somebody, and says nothing of anybody else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auricle.ports.directory import Check, Directory, canonical_dn
from builders.directory import group_dn

Make = Callable[..., Directory]


def test_the_right_password_tells_who_it_is(make: Make) -> None:
    person = make().sign_in("alice", "alice-pass")
    assert person is not None
    assert (person.login, person.email, person.name) == ("alice", "alice@example.test", "Alice Example")
    assert canonical_dn(person.dn) == "uid=alice,ou=people,dc=example,dc=test"


def test_a_person_is_the_same_by_every_login_and_every_time(make: Make) -> None:
    directory = make()
    found = [directory.sign_in(login, "alice-pass") for login in ("alice", "ALICE", " alice ", "alice@example.test")]
    assert None not in found
    assert len({person.id for person in found if person}) == 1


def test_two_people_have_two_ids(make: Make) -> None:
    alice, bob = make().sign_in("alice", "alice-pass"), make().sign_in("bob", "bob-pass")
    assert alice
    assert bob
    assert alice.id != bob.id


@pytest.mark.parametrize("password", ["wrong", "alice-pas", "alice-pass ", "ALICE-PASS", "bob-pass"])
def test_a_wrong_password_is_nobody(make: Make, password: str) -> None:
    assert make().sign_in("alice", password) is None


@pytest.mark.parametrize("password", ["", "\0", "\u00ad", "\u200b\u00ad", "alice-pass\0", "\0alice-pass", "x" * 4096])
def test_no_password_and_what_could_become_none_is_nobody(make: Make, password: str) -> None:
    assert make().sign_in("alice", password) is None


@pytest.mark.parametrize(
    "login",
    [
        "*",
        "a*",
        "ali*",
        "*)(uid=*",
        "alice)(objectClass=*",
        "alice)(|(uid=*",
        "*))(|(objectClass=*",
        "alice\\2a",
        "\\61lice",
        "alice\0",
        "\0",
        "alice\nbob",
        "",
        "   ",
        "x" * 100_000,
        "uid=alice,ou=people,dc=example,dc=test",
        "nobody",
        "&(uid=alice)",
        "\ud800",
    ],
)
def test_a_login_is_a_value_and_nothing_else(make: Make, login: str) -> None:
    assert make().sign_in(login, "alice-pass") is None


def test_a_login_may_hold_what_filters_are_made_of(make: Make) -> None:
    person = make().sign_in("jane (hr) *", "jane-pass")
    assert person is not None
    assert person.groups == (canonical_dn("cn=R\\26D\\, \\2A (all),ou=groups,dc=example,dc=test"),)


def test_people_and_passwords_need_not_be_ascii(make: Make) -> None:
    person = make().sign_in("zoë", "pässwörd-ß")
    assert person is not None
    assert person.groups == (group_dn("staff"),)


def test_a_login_that_is_two_people_is_nobody(make: Make) -> None:
    assert [make().sign_in("shared@example.test", password) for password in ("one-pass", "two-pass")] == [None, None]
    assert make().sign_in("twin", "one-pass") is not None


def test_a_disabled_account_is_nobody(make: Make) -> None:
    assert make().sign_in("carol", "carol-pass") is None


def test_groups_in_groups_are_found_and_circles_end(make: Make) -> None:
    alice, bob = make().sign_in("alice", "alice-pass"), make().sign_in("bob", "bob-pass")
    assert alice
    assert bob
    assert alice.groups == tuple(group_dn(name) for name in ("backend", "engineers", "staff"))
    assert bob.groups == tuple(group_dn(name) for name in ("circle-1", "circle-2"))


@pytest.mark.parametrize(("depth", "names"), [(1, ("backend",)), (2, ("backend", "engineers"))])
def test_groups_are_followed_as_deep_as_is_said(make: Make, depth: int, names: tuple[str, ...]) -> None:
    alice = make(max_depth=depth).sign_in("alice", "alice-pass")
    assert alice
    assert alice.groups == tuple(group_dn(name) for name in names)


@pytest.mark.parametrize("group", [group_dn("staff"), "CN=Staff, OU=Groups,DC=Example,DC=Test"])
def test_only_members_of_a_required_group_are_let_in(make: Make, group: str) -> None:
    directory = make(required_groups=(group,))
    assert directory.sign_in("alice", "alice-pass") is not None
    assert directory.sign_in("bob", "bob-pass") is None


def test_one_of_several_required_groups_is_enough_and_one_that_is_not_there_lets_nobody_in(make: Make) -> None:
    either = make(required_groups=(group_dn("nothing"), group_dn("circle-2")))
    assert (either.sign_in("alice", "alice-pass"), either.sign_in("bob", "bob-pass") is not None) == (None, True)
    gone = make(required_groups=(group_dn("nothing"),))
    assert [gone.sign_in("alice", "alice-pass"), gone.sign_in("bob", "bob-pass")] == [None, None]


def test_a_test_says_for_each_check_whether_it_passed(make: Make) -> None:
    found = make(required_groups=(group_dn("staff"),)).test_connection()
    assert [finding.check for finding in found] == list(Check)
    assert all(finding.passed and finding.detail.endswith(".") for finding in found)
    missing = make(required_groups=(group_dn("nothing"),)).test_connection()
    assert [finding.check for finding in missing if not finding.passed] == [Check.REQUIRED_GROUP]

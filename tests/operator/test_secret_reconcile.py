"""What becomes of a managed secret, with an API server, a database and an object store in memory."""

from __future__ import annotations

import pytest

from auricle_operator.api.managedsecret import Purpose
from auricle_operator.cluster import JOB, SECRET, SECRETS, TENANT
from auricle_operator.secrets.objects import FAMILY
from builders.operator_secrets import HOME, OUTSIDE, PLACE, VERSIONED, Killed, SecretHouse


@pytest.fixture
def house() -> SecretHouse:
    return SecretHouse()


@pytest.mark.parametrize("purpose", VERSIONED)
def test_a_secret_is_made_once_and_the_same_in_both_places(house: SecretHouse, purpose: Purpose) -> None:
    name = house.keep(purpose)
    house.look(name)
    made = house.version(name, 1)
    assert all(made.values())
    assert house.secrets(PLACE) == {f"auricle-{name}-v1": made}
    assert house.status(name)["current"] == f"auricle-{name}-v1"
    assert house.condition(name)[0] == "True"
    before = len(house.cluster.calls)
    assert house.look(name) is None
    assert {verb for verb, _ in house.cluster.calls[before:]} == {"get", "list"}, "nothing is written when nothing changed"
    for where, secret in ((HOME, f"acme.auricle-{name}.v1"), (PLACE, f"auricle-{name}-v1")):
        found = house.cluster.at(SECRET, secret, where)
        assert found["immutable"]
        assert found["metadata"]["labels"][TENANT] == "acme"


@pytest.mark.parametrize("purpose", OUTSIDE)
def test_the_old_one_works_until_everybody_has_the_new_one_and_the_overlap_is_over(
    house: SecretHouse, purpose: Purpose
) -> None:
    name = house.keep(purpose)
    house.look(name)
    house.follow(name, "files", "runs")
    house.ask(name, "now")
    house.look(name)
    assert house.status(name)["current"] == f"auricle-{name}-v2"
    assert house.status(name)["state"] == "Rolling"
    assert house.works(house.version(name, 1))
    assert house.works(house.version(name, 2))
    house.follow(name, "files")
    house.follow(name, "runs", ready=False)
    house.later(days=9)
    house.look(name)
    assert "runs" in house.condition(name, "Rotating")[2]
    assert "files" not in house.condition(name, "Rotating")[2]
    assert house.works(house.version(name, 1))
    house.follow(name, "runs")
    house.look(name)
    assert house.status(name)["state"] == "Overlapping"
    house.later(hours=23, minutes=59)
    house.look(name)
    assert house.works(house.version(name, 1))
    house.later(minutes=1)
    house.look(name)
    assert not house.works(house.version(name, 1))
    assert house.works(house.version(name, 2))
    assert house.status(name)["state"] == "Stable"
    assert list(house.secrets(PLACE)) == [f"auricle-{name}-v2"]
    assert house.numbers(name) == [2]


def test_the_interval_exchanges_and_logins_take_turns(house: SecretHouse) -> None:
    name = house.keep(Purpose.DATABASE, interval="720h")
    logins = []
    for _ in range(3):
        house.look(name)
        house.follow(name, "files")
        house.look(name)
        logins.append(sorted(house.databases.tenants["acme"].passwords))
        house.later(days=2)
        assert house.look(name) == 28 * 86400.0
        logins.append(sorted(house.databases.tenants["acme"].passwords))
        house.later(days=28)
    assert logins == [["a"], ["a"], ["a", "b"], ["b"], ["a", "b"], ["a"]]


def test_asking_twice_while_it_rolls_exchanges_once(house: SecretHouse) -> None:
    name = house.keep(Purpose.BUCKET)
    house.look(name)
    house.follow(name, "files")
    for value in ("one", "two", "three"):
        house.ask(name, value)
        house.look(name)
    house.follow(name, "files")
    for _ in range(3):
        house.look(name)
        house.later(days=2)
    assert house.numbers(name) == [2]
    assert house.status(name)["asked"] == "three"


def test_asking_during_the_overlap_exchanges_again_afterwards(house: SecretHouse) -> None:
    name = house.keep(Purpose.BUCKET)
    house.look(name)
    house.ask(name, "one")
    house.look(name)
    house.ask(name, "two")
    house.look(name)
    assert house.numbers(name) == [1, 2]
    house.later(days=2)
    house.look(name)
    assert house.numbers(name) == [2, 3]


def test_a_lost_status_changes_nothing(house: SecretHouse) -> None:
    name = house.keep(Purpose.DATABASE)
    house.look(name)
    house.follow(name, "files")
    house.ask(name, "now")
    house.look(name)
    house.follow(name, "files")
    house.look(name)
    before = house.status(name)
    house.cluster.at(SECRETS, name, PLACE).pop("status")
    house.look(name)
    assert house.numbers(name) == [1, 2]
    assert house.status(name) == before


def test_the_bucket_never_overlaps_shorter_than_its_longest_url(house: SecretHouse) -> None:
    name = house.keep(Purpose.BUCKET, overlap="1h", longestUrl="12h")  # as if the CRD's rule were not there
    house.look(name)
    house.ask(name, "now")
    house.look(name)
    house.later(hours=11)
    house.look(name)
    assert house.works(house.version(name, 1))
    house.later(hours=1)
    house.look(name)
    assert not house.works(house.version(name, 1))


def test_an_overlap_is_not_shorter_by_a_part_of_a_second(house: SecretHouse) -> None:
    name = house.keep(Purpose.BUCKET)
    house.look(name)
    house.ask(name, "now")
    house.later(milliseconds=700)
    house.look(name)
    house.later(hours=24, milliseconds=-100)
    house.look(name)
    assert house.works(house.version(name, 1))
    house.later(seconds=1)
    house.look(name)
    assert not house.works(house.version(name, 1))


def test_owners_are_exchanged_at_once_but_never_under_a_job(house: SecretHouse) -> None:
    name = house.keep(Purpose.OWNER)
    house.look(name)
    house.service("migrate", house.status(name)["current"], kind=JOB)
    house.ask(name, "now")
    house.look(name)
    assert house.numbers(name) == [1]
    assert "migrate" in house.condition(name, "Rotating")[2]
    house.cluster.at(JOB, "migrate", PLACE)["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    house.look(name)
    assert house.numbers(name) == [2]
    assert house.works(house.version(name, 2))
    assert not house.works(house.version(name, 1))
    assert house.status(name)["state"] == "Stable"


def test_an_owners_old_password_never_takes_the_new_ones_place_again(house: SecretHouse) -> None:
    name = house.keep(Purpose.OWNER)
    house.look(name)
    house.ask(name, "now")
    awaits = 1
    while "auricle-owner-v2" not in house.secrets(PLACE):
        with pytest.raises(Killed):
            house.look(name, kill_at=awaits)
        awaits += 1
    house.cluster.remove(SECRET, "auricle-owner-v1", PLACE)
    house.look(name)
    assert house.works(house.version(name, 2))
    assert house.numbers(name) == [2]


def test_everybody_knows_a_gateways_new_key_before_it_signs_and_the_old_one_goes(house: SecretHouse) -> None:
    name = house.keep(Purpose.GATEWAY)
    house.look(name)
    house.follow(name, "files")
    house.ask(name, "now")
    house.look(name)
    old = house.version(name, 1)["GATEWAY_KEY"]
    learnt = house.version(name, 2)["GATEWAY_KEY"].split(b",")
    assert learnt[0] == old
    assert len(learnt) == 2
    house.look(name)
    assert house.numbers(name) == [1, 2]
    house.follow(name, "files")
    house.look(name)
    assert house.version(name, 3)["GATEWAY_KEY"].split(b",") == learnt[::-1]
    house.follow(name, "files")
    house.look(name)
    assert house.status(name)["state"] == "Overlapping"
    house.later(days=1)
    house.look(name)
    assert house.version(name, 4)["GATEWAY_KEY"] == learnt[1]
    house.follow(name, "files")
    house.look(name)
    house.later(days=1)
    house.look(name)
    assert house.numbers(name) == [4]
    assert house.status(name)["state"] == "Stable"


def test_who_asks_while_an_old_gateway_key_is_still_believed_gets_another_exchange(house: SecretHouse) -> None:
    name = house.keep(Purpose.GATEWAY)
    house.look(name)
    house.ask(name, "one")
    house.look(name)  # nobody is there to wait for: learnt and used
    assert house.numbers(name) == [1, 2, 3]
    house.look(name)
    house.later(hours=1)
    house.ask(name, "two")
    house.look(name)
    assert house.numbers(name) == [3]
    for _ in range(9):
        house.later(days=2)
        house.look(name)
    (number,) = house.numbers(name)
    assert number == 7, "one dropped the old key, then came three steps"
    assert house.version(name, 7)["GATEWAY_KEY"] not in house.version(name, 3)["GATEWAY_KEY"]


def test_sealing_keeps_every_key_it_ever_had(house: SecretHouse) -> None:
    name = house.keep(Purpose.SEALING)
    house.look(name)
    first = house.version(name, 1)["SEALING_KEYS"]
    for value in ("one", "two"):
        house.ask(name, value)
        for _ in range(3):
            house.look(name)
            house.later(days=2)
    (number,) = house.numbers(name)
    keys = house.version(name, number)["SEALING_KEYS"].split(b",")
    assert len(set(keys)) == 3
    assert keys[2] == first


@pytest.mark.parametrize("purpose", [Purpose.EVENTS, Purpose.EPHEMERAL, Purpose.BUCKET_TOKEN, Purpose.TIMERS, Purpose.SETUP])
def test_what_interrupts_is_exchanged_only_when_asked_and_says_what_it_costs(house: SecretHouse, purpose: Purpose) -> None:
    name = house.keep(purpose, interval="1h")
    house.look(name)
    house.follow(name, "files")
    house.later(days=99)
    house.look(name)
    assert house.numbers(name) == [1]
    house.ask(name, "now")
    house.look(name)
    assert house.status(name)["version"] == 2
    message = house.condition(name, "Rotating")[2]
    assert "files" in message
    assert len(message) > len("Version 2 is handed out. Still without it: files.")


# What somebody else keeps.


def test_what_somebody_else_keeps_is_followed(house: SecretHouse) -> None:
    name = house.keep(Purpose.PROVIDER)
    house.look(name)
    assert house.condition(name)[:2] == ("False", "SourceMissing")
    house.give({"API_KEY": "first"})
    house.look(name)
    assert house.secrets(PLACE) == {"auricle-provider-v1": {"API_KEY": b"first"}}
    house.follow(name, "settings")
    house.give({"API_KEY": "second"})
    house.look(name)
    assert house.status(name)["current"] == "auricle-provider-v2"
    house.follow(name, "settings")
    house.look(name)
    house.later(hours=1)
    house.look(name)
    assert house.secrets(PLACE) == {"auricle-provider-v2": {"API_KEY": b"second"}}
    house.cluster.remove(SECRET, "given", HOME)
    house.look(name)
    assert house.condition(name)[:2] == ("True", "SourceMissing")
    assert house.secrets(PLACE) == {"auricle-provider-v2": {"API_KEY": b"second"}}


@pytest.mark.parametrize("labels", [{"app": "somebody's"}, {TENANT: "globex"}, {TENANT: "acme", FAMILY: "auricle-sealing"}])
def test_nobody_is_given_what_is_not_for_them(house: SecretHouse, labels: dict[str, str]) -> None:
    house.give({"PASSWORD": "of the operator"}, **labels)
    name = house.keep(Purpose.PROVIDER)
    house.look(name)
    assert house.secrets(PLACE) == {}
    assert house.condition(name)[:2] == ("False", "SourceMissing")


def test_what_is_for_all_tenants_is_given_to_each(house: SecretHouse) -> None:
    house.give({"SMTP_PASSWORD": "x"}, **{"auricle.dev/shared": "true"})
    name = house.keep(Purpose.PROVIDER)
    house.look(name)
    assert house.condition(name)[0] == "True"

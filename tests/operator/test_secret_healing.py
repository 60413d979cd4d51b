"""Managed secrets whose copies or masters are lost, whose servers are away, that may not be, and that are taken away."""

from __future__ import annotations

import pytest

from auricle.errors import Retryable
from auricle_operator.api.managedsecret import Purpose
from auricle_operator.cluster import NAMESPACE, SECRET, SECRETS, TENANT
from auricle_operator.secrets.reconcile import forget, teardown
from auricle_operator.secrets.rotation import FORSAKE
from builders.operator_secrets import HOME, OUTSIDE, PLACE, VERSIONED, SecretHouse, drive


@pytest.fixture
def house() -> SecretHouse:
    return SecretHouse()


# Healing.


@pytest.mark.parametrize("purpose", VERSIONED)
def test_a_tenants_copy_comes_back_the_same(house: SecretHouse, purpose: Purpose) -> None:
    name = house.keep(purpose)
    house.look(name)
    before = house.secrets(PLACE)
    house.cluster.remove(SECRET, f"auricle-{name}-v1", PLACE)
    house.look(name)
    assert house.secrets(PLACE) == before
    emptied = house.cluster.at(SECRET, f"auricle-{name}-v1", PLACE)
    emptied.pop("immutable")
    emptied["data"] = {}
    house.look(name)
    assert house.secrets(PLACE) == before
    assert house.cluster.at(SECRET, f"auricle-{name}-v1", PLACE)["immutable"]
    house.cluster.at(SECRET, f"auricle-{name}-v1", PLACE)["metadata"]["labels"] = {}
    house.look(name)
    assert house.secrets(PLACE) == before


@pytest.mark.parametrize("purpose", [*VERSIONED, Purpose.SIGNING])
def test_a_lost_master_comes_back_from_the_copy(house: SecretHouse, purpose: Purpose) -> None:
    name = house.keep(purpose)
    house.ask(name, "when it began")
    house.look(name)
    before = house.secrets(HOME), house.secrets(PLACE), house.status(name)
    house.cluster.remove(SECRET, f"acme.auricle-{name}.v1", HOME)
    house.look(name)
    assert (house.secrets(HOME), house.secrets(PLACE), house.status(name)) == before


def test_a_copy_that_was_altered_is_no_master(house: SecretHouse) -> None:
    name = house.keep(Purpose.DATABASE)
    house.look(name)
    house.cluster.remove(SECRET, "acme.auricle-database.v1", HOME)
    copy = house.cluster.at(SECRET, "auricle-database-v1", PLACE)
    copy["data"] = {"DATABASE_URL": "cG9zdGdyZXNxbDovL2E6c3RvbGVuQGhvc3Qv"}
    house.look(name)
    assert "stolen" not in house.databases.tenants["acme"].passwords.values()
    assert house.numbers(name) == [2]


def test_an_altered_master_comes_back_from_the_copy(house: SecretHouse) -> None:
    name = house.keep(Purpose.SEALING)
    house.look(name)
    before = house.secrets(HOME)
    house.cluster.at(SECRET, "acme.auricle-sealing.v1", HOME)["data"] = {}
    house.look(name)
    assert house.secrets(HOME) == before


@pytest.mark.parametrize("purpose", [p for p in VERSIONED if p is not Purpose.SEALING])
def test_what_is_lost_altogether_is_made_anew(house: SecretHouse, purpose: Purpose) -> None:
    name = house.keep(purpose)
    house.look(name)
    house.follow(name, "files")
    house.cluster.remove(SECRET, f"auricle-{name}-v1", PLACE)
    house.cluster.remove(SECRET, f"acme.auricle-{name}.v1", HOME)
    house.cluster.at(SECRETS, name, PLACE).pop("status")  # the function still tells that there was a first
    house.look(name)
    assert list(house.secrets(PLACE)) == [f"auricle-{name}-v2"]
    assert house.version(name, 1) != house.version(name, 2)


def test_lost_sealing_keys_are_never_replaced_in_silence(house: SecretHouse) -> None:
    name = house.keep(Purpose.SEALING)
    house.look(name)
    kept = house.cluster.at(SECRET, "acme.auricle-sealing.v1", HOME)
    house.cluster.remove(SECRET, "auricle-sealing-v1", PLACE)
    house.cluster.remove(SECRET, "acme.auricle-sealing.v1", HOME)
    for _ in range(2):
        house.ask(name, "rotate")
        house.look(name)
        status, reason, message = house.condition(name)
        assert (status, reason) == ("False", "KeysLost")
        assert "acme.auricle-sealing.v1" in message
        assert house.secrets(PLACE) == {}
    house.cluster.put(kept)
    house.look(name)
    assert house.condition(name)[0] == "True"
    house.cluster.remove(SECRET, "auricle-sealing-v1", PLACE)
    for number in house.numbers(name):
        house.cluster.remove(SECRET, f"acme.auricle-sealing.v{number}", HOME)
        house.cluster.remove(SECRET, f"auricle-sealing-v{number}", PLACE)
    house.look(name)
    assert house.condition(name)[:2] == ("False", "KeysLost")
    house.ask(name, FORSAKE)
    house.look(name)
    assert house.condition(name)[0] == "True"


# What is away, moved, or not allowed.


@pytest.mark.parametrize("purpose", OUTSIDE)
def test_a_server_that_is_away_is_waited_for_and_what_works_goes_on(house: SecretHouse, purpose: Purpose) -> None:
    name = house.keep(purpose)
    house.databases.away = house.stores.away = True
    with pytest.raises(Retryable):
        house.look(name)
    assert house.condition(name)[:2] == ("False", "Waiting")
    assert house.secrets(PLACE) == {}
    house.databases.away = house.stores.away = False
    house.look(name)
    assert house.numbers(name) == [1]
    house.follow(name, "files")
    house.ask(name, "now")
    house.databases.away = house.stores.away = True
    for _ in range(2):
        with pytest.raises(Retryable):
            house.look(name)
        assert house.status(name)["current"] == f"auricle-{name}-v1"
        assert house.condition(name)[0] == "True"
        assert house.status(name)["state"] == "Waiting"
    house.databases.away = house.stores.away = False
    house.look(name)
    assert house.numbers(name) == [1, 2]
    assert house.works(house.version(name, 2))


def test_another_address_of_the_database_reaches_the_functions(house: SecretHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    name = house.keep(Purpose.DATABASE)
    house.look(name)
    old = house.databases.url
    monkeypatch.setattr(house.databases, "url", lambda *about: old(*about).replace("pooler:6432", "elsewhere:5432"))
    house.look(name)
    assert b"elsewhere" in house.version(name, 2)["DATABASE_URL"]
    assert house.numbers(name) == [1, 2]


def test_only_a_tenants_namespace_holds_secrets(house: SecretHouse) -> None:
    name = house.keep(Purpose.BUCKET)
    for labels in ({}, {TENANT: "globex"}):
        house.cluster.at(NAMESPACE, PLACE)["metadata"]["labels"] = labels
        assert house.look(name) is None
        assert house.condition(name)[:2] == ("False", "Refused")
        assert house.secrets(HOME) == {}


@pytest.mark.parametrize(
    ("purpose", "secret"), [(Purpose.DATABASE, "other"), (Purpose.SIGNING, "other"), (Purpose.BUCKET, "auricle-bucket")]
)
def test_two_that_would_undo_each_other_are_not_both_done(house: SecretHouse, purpose: Purpose, secret: str) -> None:
    name = house.keep(purpose)
    house.look(name)
    house.later(hours=1)
    second = house.keep(purpose, name="second", secret=secret)
    house.look(second)
    assert house.condition(second)[:2] == ("False", "Refused")
    assert name in house.condition(second)[2]
    house.look(name)
    assert house.condition(name)[0] == "True"


def test_only_named_consumers_are_waited_for(house: SecretHouse) -> None:
    name = house.keep(Purpose.BUCKET, consumers=["files"])
    house.look(name)
    house.follow(name, "files", "abandoned")
    house.ask(name, "now")
    house.look(name)
    house.follow(name, "files")
    house.look(name)
    assert house.status(name)["state"] == "Overlapping"


def test_a_spec_that_cannot_be_read_is_told(house: SecretHouse) -> None:
    name = house.keep(Purpose.BUCKET, overlap="a day")
    assert house.look(name) is None
    assert house.condition(name)[:2] == ("False", "Refused")


# The end.


def test_taking_one_away_leaves_its_master_which_is_taken_up_again(house: SecretHouse) -> None:
    name = house.keep(Purpose.DATABASE)
    house.look(name)
    masters, copies = house.secrets(HOME), house.secrets(PLACE)
    assert drive(teardown(house.world, house.cluster.at(SECRETS, name, PLACE))) is None
    assert house.secrets(PLACE) == {}
    house.cluster.remove(SECRETS, name, PLACE)
    house.keep(Purpose.DATABASE)
    house.look(name)
    assert (house.secrets(HOME), house.secrets(PLACE)) == (masters, copies)


def test_taking_away_what_somebody_else_keeps_leaves_nothing(house: SecretHouse) -> None:
    house.give({"API_KEY": "x"})
    name = house.keep(Purpose.PROVIDER)
    house.look(name)
    drive(teardown(house.world, house.cluster.at(SECRETS, name, PLACE)))
    assert house.secrets(HOME) == {}
    assert house.cluster.at(SECRET, "given", HOME)


def test_teardown_waits_for_what_somebody_holds(house: SecretHouse) -> None:
    name = house.keep(Purpose.TIMERS)
    house.look(name)
    house.cluster.at(SECRET, "auricle-timers-v1", PLACE)["metadata"]["finalizers"] = ["somebody/holds"]
    assert drive(teardown(house.world, house.cluster.at(SECRETS, name, PLACE))) is not None
    house.cluster.at(SECRET, "auricle-timers-v1", PLACE)["metadata"]["finalizers"] = []
    assert drive(teardown(house.world, house.cluster.at(SECRETS, name, PLACE))) is None


def test_a_tenant_of_which_nothing_stays_loses_its_masters_alone(house: SecretHouse) -> None:
    for purpose in (Purpose.BUCKET, Purpose.SIGNING):
        house.look(house.keep(purpose))
    house.give({"ADMIN": "x"}, **{TENANT: "acme"})
    drive(forget(house.world, "globex"))
    assert len(house.secrets(HOME)) == 2
    drive(forget(house.world, "acme"))
    assert house.secrets(HOME) == {}
    assert house.cluster.at(SECRET, "given", HOME)

"""Whatever happens in whatever order: what a ready function holds works, and in the end there is one version."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.errors import Retryable
from auricle_operator.api.managedsecret import Purpose
from auricle_operator.cluster import SECRET, SECRETS
from builders.operator_secrets import HOME, PLACE, Killed, SecretHouse, stubborn

SERVICES = ("files", "runs", "people")
STEPS = st.one_of(
    st.tuples(st.just("time"), st.sampled_from([1, 60, 60 * 12, 60 * 25, 60 * 24 * 31])),
    st.tuples(st.just("ask"), st.integers(1, 5)),
    st.tuples(st.just("follow"), st.sampled_from(SERVICES)),
    st.tuples(st.just("all-follow"), st.just(0)),
    st.tuples(st.just("stick"), st.sampled_from(SERVICES)),
    st.tuples(st.just("return"), st.sampled_from(SERVICES)),
    st.tuples(st.just("leave"), st.sampled_from(SERVICES)),
    st.tuples(st.just("lose-copy"), st.integers(0, 2)),
    st.tuples(st.just("spoil-copy"), st.integers(0, 2)),
    st.tuples(st.just("lose-master"), st.integers(0, 2)),
    st.tuples(st.just("lose-status"), st.just(0)),
    st.tuples(st.just("away"), st.booleans()),
    st.tuples(st.just("kill"), st.integers(1, 25)),
)


def happen(house: SecretHouse, name: str, what: str, detail: object) -> int:
    """One thing; returns the await at which the next reconcile is killed, 0 for none."""
    number = house.numbers(name)
    match what:
        case "time":
            house.later(minutes=detail)
        case "ask":
            house.ask(name, str(detail))
        case "follow" | "stick" if house.status(name).get("current"):
            house.follow(name, str(detail), ready=what == "follow")
        case "all-follow" if house.status(name).get("current"):
            house.follow(name, *SERVICES)
        case "return" if len(house.secrets(PLACE)) > 1:  # somebody rolls back to what is still there
            house.service(str(detail), min(house.secrets(PLACE), key=lambda n: int(n.rpartition("-v")[2])))
        case "leave":
            house.cluster.objects.pop(("serving.knative.dev/v1", "Service", PLACE, str(detail)), None)
            house.serving.pop(str(detail), None)
        case "lose-copy" | "spoil-copy" | "lose-master" if number:
            _lose(house, name, what, number[int(str(detail)) % len(number)])
        case "lose-status":
            house.cluster.at(SECRETS, name, PLACE).pop("status", None)
        case "away":
            house.databases.away = house.stores.away = bool(detail)
        case "kill":
            return int(str(detail))
    return 0


def _lose(house: SecretHouse, name: str, what: str, number: int) -> None:
    """One of both at a time: with both, nobody can know what it was."""
    copy, master = f"auricle-{name}-v{number}", f"acme.auricle-{name}.v{number}"
    if house.secrets(HOME)[master] != house.secrets(PLACE).get(copy):
        return
    if what == "lose-master":
        house.cluster.remove(SECRET, master, HOME)
    elif what == "lose-copy":
        house.cluster.remove(SECRET, copy, PLACE)
    else:
        house.cluster.at(SECRET, copy, PLACE).pop("immutable", None)
        house.cluster.at(SECRET, copy, PLACE)["data"] = {}


def look(house: SecretHouse, name: str, kill_at: int = 0) -> None:
    try:
        house.look(name, kill_at)
    except (Retryable, Killed):
        return


@pytest.mark.parametrize("purpose", [Purpose.DATABASE, Purpose.BUCKET])
@settings(max_examples=120, deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_what_a_ready_function_holds_always_works(purpose: Purpose, steps: list[tuple[str, object]]) -> None:
    house = SecretHouse()
    name = house.keep(purpose, interval="720h")
    house.look(name)
    house.follow(name, *SERVICES)
    for what, detail in steps:
        kill_at = happen(house, name, what, detail)
        look(house, name, kill_at)
        for service, number in house.serving.items():
            assert house.works(house.version(name, number)), f"{service} holds version {number} after {what} {detail}"
    house.databases.away = house.stores.away = False
    _quiet(house, name)
    assert house.status(name)["state"] == "Stable"
    assert len(house.numbers(name)) == 1
    assert list(house.secrets(PLACE)) == [house.status(name)["current"]]
    bucket = house.stores.buckets[house.world.bucket("acme")]
    assert len(bucket.keys) + len(house.databases.tenants["acme"].passwords) == 1, "nothing else is left open"


@pytest.mark.parametrize("purpose", [Purpose.OWNER, Purpose.GATEWAY, Purpose.SEALING, Purpose.EVENTS])
@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_in_the_end_there_is_one_version(purpose: Purpose, steps: list[tuple[str, object]]) -> None:
    house = SecretHouse()
    name = house.keep(purpose)
    house.look(name)
    house.follow(name, *SERVICES)
    first = house.version(name, 1)
    for what, detail in steps:
        look(house, name, happen(house, name, what, detail))
        at_work = house.status(name).get("current")
        assert not at_work or at_work in house.secrets(PLACE), "what functions are told to take is there"
        if purpose is Purpose.SEALING and at_work:
            newest = house.secrets(PLACE)[at_work]["SEALING_KEYS"]
            assert first["SEALING_KEYS"] in newest, "no key that ever sealed is forgotten"
    house.databases.away = house.stores.away = False
    _quiet(house, name)
    assert house.status(name)["state"] == "Stable"
    assert len(house.numbers(name)) == 1


def _quiet(house: SecretHouse, name: str) -> None:
    """Functions follow, and nobody does anything else."""
    house.cluster.at(SECRETS, name, PLACE)["spec"].pop("interval", None)
    for _ in range(8):
        stubborn(house, name)
        present = [s for s in SERVICES if ("serving.knative.dev/v1", "Service", PLACE, s) in house.cluster.objects]
        house.follow(name, *present)
        stubborn(house, name)
        house.later(hours=26)
    stubborn(house, name)

"""Kill the operator at each await of each reconcile of an exchange: what comes out is the same, and nothing secret gets out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from auricle_operator.api.managedsecret import Purpose
from builders.operator_secrets import HOME, PLACE, Killed, SecretHouse

ACT = Callable[[SecretHouse, str], object]
SERVICES = ("files", "runs")


def _begin(house: SecretHouse, name: str) -> None:
    if name == "provider":
        house.give({"API_KEY": "the-first-key-of-a-provider"})


def _ask(house: SecretHouse, name: str) -> None:
    _move(house, name)
    house.ask(name, "now")
    if name == "provider":
        house.give({"API_KEY": "another-key-of-a-provider"})


def _move(house: SecretHouse, name: str) -> None:
    if name != "signing":
        house.follow(name, *SERVICES)


def _wait(house: SecretHouse, name: str) -> None:
    house.later(days=2)


STORY: list[ACT] = [_begin, _ask, _move, _wait, _move, _wait, _move, _wait, _move]
"""Long enough for the longest exchange (three steps)."""


def _told_through(purpose: Purpose, kill_in: int = -1, kill_at: int = 0) -> tuple[SecretHouse, bool]:
    """The story, killed in that chapter's reconcile at that await; whether there was such an await."""
    house = SecretHouse()
    name = house.keep(purpose)
    reached = False
    for chapter, act in enumerate(STORY):
        act(house, name)
        if chapter == kill_in:
            try:
                house.look(name, kill_at)
            except Killed:
                reached = True
        house.look(name)
    return house, reached


def _shape(house: SecretHouse, name: str) -> dict[str, Any]:
    """Everything but randomness."""
    status = {k: v for k, v in house.status(name).items() if k != "conditions"}
    return {
        "status": status,
        "conditions": [(c["type"], c["status"], c["reason"], c["message"]) for c in house.status(name)["conditions"]],
        "masters": {n: sorted(values) for n, values in house.secrets(HOME).items()},
        "copies": {n: sorted(values) for n, values in house.secrets(PLACE).items()},
        "logins": sorted(house.databases.tenants["acme"].passwords),
        "keys": len(house.stores.buckets[house.world.bucket("acme")].keys),
    }


@pytest.mark.parametrize("purpose", list(Purpose))
def test_killed_anywhere_it_comes_to_the_same(purpose: Purpose) -> None:
    name = purpose.value
    whole, _ = _told_through(purpose)
    wanted = _shape(whole, name)
    assert wanted["status"]["state"] == "Stable"
    assert wanted["status"]["version"] > 1, "the story exchanges"
    kills = 0
    for chapter in range(len(STORY)):
        for kill_at in range(1, 200):
            house, reached = _told_through(purpose, chapter, kill_at)
            assert _shape(house, name) == wanted, f"killed in chapter {chapter} at await {kill_at}"
            if purpose in (Purpose.DATABASE, Purpose.OWNER, Purpose.BUCKET):
                (at_work,) = house.secrets(PLACE).values()
                assert house.works(at_work)
            if not reached:
                break
            kills += 1
    assert kills > 40


@pytest.mark.parametrize("purpose", list(Purpose))
def test_nothing_secret_is_told(purpose: Purpose, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    house, _ = _told_through(purpose)
    secret = {part for values in house.seen_values.values() for value in values.values() for part in _parts(value.decode())}
    assert secret
    told = house.told() + caplog.text + repr(house.world)
    assert not [part for part in secret if part in told]


def _parts(value: str) -> list[str]:
    """What of a value would give it away: of a URL its password, of keys each, of a ring the private halves."""
    if "://" in value:
        return [value, value.partition("@")[0].rpartition(":")[2]]
    if "PRIVATE" in value:
        return [line for line in value.split("\\n") if len(line) > 40 and "-----" not in line and "{" not in line]
    return [value, *value.split(",")]

"""Tenants from their making to their work, with an operator that is killed once on the way."""

from __future__ import annotations

from typing import Any

from auricle.deploy.release import config_map
from auricle_operator.cluster import TENANTS
from auricle_operator.faults import Steps
from builders.operator_tenants import House, condition, run, this_release


class Killed(BaseException):
    """The process is gone."""


class Killer(Steps):
    """Kills the operator at one await or call, counted over its life; what still runs of it does nothing any more."""

    def __init__(self, at: int) -> None:
        super().__init__(0, lambda: None)
        self.at = at

    def step(self) -> None:
        self.count += 1
        if self.at and self.count >= self.at:
            raise Killed

    def spent(self) -> None:
        """The process is started again, and nobody kills it."""
        self.at = 0


def life(house: House, killer: Killer) -> None:
    """A tenant from its making over a new release and a suspension back to work; whoever is killed is started again."""
    house.cluster.before = killer.step
    for change in ({}, {"release": "r2"}, {"release": "r2", "suspended": True}, {"release": "r2"}):
        house.tenant(**change)
        for _ in range(6):
            house.look()
            manifest = house.cluster.at(TENANTS, "acme")
            try:
                run(killer.follow(house.tenants.reconcile(manifest)))
            except Killed:
                killer.spent()
                house.restart()
            house.others_work()
    house.settle(passes=2)


def state(house: House) -> dict[Any, Any]:
    """Everything there is, without what tells only when and how often."""
    said = {}
    for key, manifest in house.cluster.objects.items():
        metadata = {k: v for k, v in manifest["metadata"].items() if k in ("name", "namespace", "labels", "annotations")}
        status = {k: v for k, v in manifest.get("status", {}).items() if k not in ("observedGeneration", "conditions")}
        if "latestCreatedRevisionName" in status:
            status = {}
        said[key] = {**manifest, "metadata": metadata, "status": status}
    return said


def lived(at: int) -> tuple[dict[Any, Any], int]:
    house = House()
    house.cluster.put(config_map(this_release("r2", "9999")))
    killer = Killer(at)
    life(house, killer)
    assert condition(house.cluster.at(TENANTS, "acme"), "Ready")[0] == "True"
    return state(house), killer.count

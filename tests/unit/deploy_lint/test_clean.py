"""Where nothing is wrong, nothing is found; and nothing that anybody writes makes lint fall over."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from auricle.deploy.budget import budget
from auricle.deploy.lint import facts_for, findings
from unit.deploy_lint.an_overlay import PLATFORM, clean, facts, put


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "grouped"])
@pytest.mark.parametrize("name", ["cluster", "dev"])
def test_a_clean_overlay_has_no_findings(name: str, grouped: bool) -> None:
    overlay = clean(grouped)
    facts(overlay=name)(overlay)
    assert [f.sentence for f in findings(overlay.objects, overlay.facts)] == []


def test_what_belongs_to_the_whole_cluster_is_found_from_any_namespace() -> None:
    overlay = clean()
    urgent = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}, "value": 7}
    overlay.objects.append(urgent)
    put("Deployment/gateway", "spec template spec priorityClassName", "urgent")(overlay)
    assert findings(overlay.objects, overlay.facts) == []
    overlay.objects.remove(urgent)
    assert [f.rule for f in findings(overlay.objects, overlay.facts)] == ["dangling-reference"]


def test_what_an_installation_mounts_for_itself_is_its_own_business() -> None:
    overlay = clean()
    own = {"name": "own", "secret": {"secretName": "our-authority", "optional": True}}
    put("Service/runs", "spec template spec volumes +", own)(overlay)
    mount = {"name": "own", "mountPath": "/etc/own", "readOnly": True}
    put("Service/runs", "spec template spec containers 0 volumeMounts +", mount)(overlay)
    assert findings(overlay.objects, overlay.facts) == []


def test_the_rabbitmq_of_the_cluster_beneath_counts() -> None:
    overlay = clean()
    beneath = overlay.one("RabbitmqCluster/rabbit")
    overlay.objects.remove(beneath)
    assert [f.rule for f in findings(overlay.objects, overlay.facts)] == ["delivery-outlasts-the-queue"]
    assert findings(overlay.objects, facts_for("dev", [*PLATFORM, beneath])) == []


def _places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path in an object."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*way, key)
        yield from _places(value[key], (*way, key))


def test_values_of_the_wrong_kind_are_survived() -> None:
    chance = random.Random(7)
    names = ("transcribe", "timers", "every-hour", "default", "gateway", "postgres", "backup", "default-deny", "rabbit")
    for _ in range(60):
        overlay = clean()
        overlay.objects = [o for o in overlay.objects if o["metadata"]["name"] in names]
        here: Any = chance.choice(overlay.objects)
        *way, last = chance.choice([p for p in _places(here) if p[0] not in ("kind", "apiVersion")])
        for step in way:
            here = here[step]
        here[last] = chance.choice([None, "x", 7, [], {}, ["x"], [None], {"a": 1}, True])
        assert isinstance(findings(overlay.objects, overlay.facts), list)
        assert budget(overlay.objects, overlay.facts).table()

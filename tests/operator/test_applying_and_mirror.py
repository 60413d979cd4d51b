"""What is known of the cluster, and what is applied because of it."""

from __future__ import annotations

from typing import Any

import pytest

from auricle_operator.applying import Applying, shown
from auricle_operator.cluster import CONFIG, SECRET, Manifest
from auricle_operator.mirror import Mirror
from builders.operator_cluster import MemoryCluster
from builders.operator_tenants import run

HOME = "home"


def config(name: str = "c", version: int = 1, uid: str = "u", **data: str) -> Manifest:
    metadata = {"name": name, "namespace": HOME, "resourceVersion": str(version), "uid": uid}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def said(name: str, **data: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": HOME}, "data": data}


@pytest.fixture
def cluster() -> MemoryCluster:
    made = MemoryCluster()
    made.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})
    return made


def test_what_is_older_than_what_is_known_is_ignored() -> None:
    mirror = Mirror()
    assert mirror.saw(config(version=5, a="new"))
    assert not mirror.saw(config(version=4, a="old"))
    found = mirror.get(CONFIG, "c", HOME)
    assert found is not None
    assert found["data"] == {"a": "new"}


def test_the_end_of_an_older_object_does_not_take_its_successor_away() -> None:
    mirror = Mirror()
    mirror.saw(config(version=5, uid="second"))
    mirror.lost(config(version=6, uid="first"))
    assert mirror.get(CONFIG, "c", HOME) is not None
    mirror.lost(config(version=7, uid="second"))
    assert mirror.get(CONFIG, "c", HOME) is None


def test_what_went_while_nobody_watched_is_noticed_by_looking_again(cluster: MemoryCluster) -> None:
    mirror = Mirror()
    for name in ("stays", "goes"):
        cluster.put(said(name))
    run(mirror.fill(cluster, (CONFIG, SECRET)))
    cluster.remove(CONFIG, "goes", HOME)
    cluster.put(said("comes"))
    assert [gone["metadata"]["name"] for gone in run(mirror.again(cluster, CONFIG))] == ["goes"]
    assert [there["metadata"]["name"] for there in mirror.all(CONFIG)] == ["comes", "stays"]
    assert run(mirror.again(cluster, CONFIG)) == []


def test_values_of_secrets_are_not_kept() -> None:
    mirror = Mirror()
    mirror.saw({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": HOME}, "data": {"k": "c2VjcmV0"}})
    assert "c2VjcmV0" not in str(mirror.get(SECRET, "s", HOME))


@pytest.mark.parametrize(
    ("found", "wanted", "seen"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, {"a": 1}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"y": 2}}),
        ([{"a": 1, "z": 0}], [{"a": 1}], [{"a": 1}]),
        ([1, 2], [1], [1, 2]),
        ({}, {"a": 1}, {}),
    ],
)
def test_only_what_we_speak_of_is_compared(found: Any, wanted: Any, seen: Any) -> None:
    assert shown(found, wanted) == seen


def test_a_server_that_writes_it_otherwise_is_not_asked_again(cluster: MemoryCluster) -> None:
    """`1000m` comes back as `1`: that is no drift, and the next apply would change nothing."""
    mirror = Mirror()
    applying = Applying(cluster, mirror)
    apply = cluster.apply

    async def rewriting(manifest: Manifest) -> Manifest:
        done = await apply(manifest)
        cluster.at(CONFIG, "c", HOME)["data"]["cpu"] = "1"
        return {**done, "data": {"cpu": "1"}}

    cluster.apply = rewriting  # type: ignore[method-assign]
    assert run(applying.bring([said("c", cpu="1000m")])) == 1
    assert run(applying.bring([said("c", cpu="1000m")])) == 0
    mirror.saw(config(version=99, cpu="2"))
    assert run(applying.bring([said("c", cpu="1000m")])) == 1


def test_of_several_applies_that_fail_all_have_ended_before_the_error_is_told(cluster: MemoryCluster) -> None:
    applying = Applying(cluster, Mirror())
    apply, ended = cluster.apply, []

    async def failing(manifest: Manifest) -> Manifest:
        done = await apply(manifest)
        ended.append(manifest["metadata"]["name"])
        if manifest["metadata"]["name"] == "b":
            raise RuntimeError("b")
        return done

    cluster.apply = failing  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="b"):
        run(applying.bring([said(name) for name in "abc"]))
    assert sorted(ended) == ["a", "b", "c"]


def test_what_is_going_already_is_not_told_to_go_again(cluster: MemoryCluster) -> None:
    applying = Applying(cluster, Mirror())
    going = config("going")
    going["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    assert run(applying.prune([going, config("stays"), config("goes")], [said("stays")])) == 1

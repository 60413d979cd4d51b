"""What every API server of the operator's does: the one in memory as the real one."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from auricle.errors import Permanent
from auricle_operator.cluster import BROKER, CONFIG, NAMESPACE, NETWORK, SECRET, Cluster, Gone, Manifest, owned
from contract.operator_cluster.places import Place

pytestmark = pytest.mark.anyio

HELD = "auricle.dev/held-by-a-test"


def configmap(place: Place, name: str, data: dict[str, str], **metadata: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": place.namespace, **metadata},
        "data": data,
    }


def wall(place: Place, *types: str) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "wall", "namespace": place.namespace},
        "spec": {"podSelector": {}, "policyTypes": list(types)},
    }


def broker(place: Place, retry: int = 3) -> Manifest:
    """Of a class that no controller serves, so that its status is ours alone."""
    return {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Broker",
        "metadata": {
            "name": "quiet",
            "namespace": place.namespace,
            "annotations": {"eventing.knative.dev/broker.class": "Nobodys"},
        },
        "spec": {"delivery": {"retry": retry}},
    }


def secret(place: Place, name: str, value: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": place.namespace},
        "immutable": True,
        "data": {"key": base64.b64encode(value.encode()).decode()},
    }


async def generation(cluster: Cluster, place: Place) -> int:
    found = await cluster.get(BROKER, "quiet", place.namespace)
    assert found is not None
    return int(found["metadata"]["generation"])


async def test_what_was_applied_is_there_and_what_was_not_is_none(place: Place) -> None:
    made = await place.cluster.apply(configmap(place, "settings", {"colour": "blue"}))
    found = await place.cluster.get(CONFIG, "settings", place.namespace)
    assert found == made
    assert found is not None
    assert (found["apiVersion"], found["kind"], found["data"]) == ("v1", "ConfigMap", {"colour": "blue"})
    assert await place.cluster.get(CONFIG, "others", place.namespace) is None


async def test_the_same_said_twice_changes_nothing(place: Place) -> None:
    first = await place.cluster.apply(wall(place, "Ingress"))
    second = await place.cluster.apply(wall(place, "Ingress"))
    assert second["metadata"]["generation"] == first["metadata"]["generation"] == 1
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    third = await place.cluster.apply(wall(place, "Ingress", "Egress"))
    assert third["metadata"]["generation"] == 2
    assert third["metadata"]["uid"] == first["metadata"]["uid"]


async def test_what_webhooks_complete_stays_complete(place: Place) -> None:
    first = await place.cluster.apply(broker(place))
    second = await place.cluster.apply(broker(place))
    assert second["metadata"]["generation"] == first["metadata"]["generation"]


async def test_a_field_that_we_say_no_more_goes(place: Place) -> None:
    await place.cluster.apply(configmap(place, "settings", {"colour": "blue", "size": "7"}, labels={"a": "1", "b": "2"}))
    left = await place.cluster.apply(configmap(place, "settings", {"colour": "blue"}, labels={"a": "1"}))
    assert left["data"] == {"colour": "blue"}
    assert left["metadata"]["labels"] == {"a": "1"}


async def test_what_others_say_beside_it_stays_and_what_they_say_against_it_does_not(place: Place) -> None:
    await place.cluster.apply(configmap(place, "settings", {"colour": "blue"}))
    await place.said(CONFIG, "settings", place.namespace, {"data": {"theirs": "1", "colour": "red"}})
    after = await place.cluster.apply(configmap(place, "settings", {"colour": "blue"}))
    assert after["data"] == {"colour": "blue", "theirs": "1"}


async def test_create_keeps_what_is_there(place: Place) -> None:
    first = await place.cluster.create(secret(place, "master.v1", "first"))
    second = await place.cluster.create(secret(place, "master.v1", "second"))
    assert second["data"] == first["data"] == secret(place, "master.v1", "first")["data"]
    assert second["metadata"]["uid"] == first["metadata"]["uid"]


async def test_an_immutable_secret_is_not_changed_and_its_value_is_not_told(place: Place) -> None:
    await place.cluster.create(secret(place, "master.v1", "first"))
    changed = secret(place, "master.v1", "hidden-value")
    with pytest.raises(Permanent) as applied:
        await place.cluster.apply(changed)
    with pytest.raises(Permanent) as merged:
        await place.cluster.merge(SECRET, "master.v1", place.namespace, {"data": changed["data"]})
    for refusal in (applied, merged):
        assert "Secret" in str(refusal.value)
        assert changed["data"]["key"] not in str(refusal.value)
        assert refusal.value.__cause__ is None
    found = await place.cluster.get(SECRET, "master.v1", place.namespace)
    assert found is not None
    assert found["data"] == secret(place, "master.v1", "first")["data"]


async def test_a_merge_sets_and_takes_away(place: Place) -> None:
    await place.cluster.apply(configmap(place, "settings", {"colour": "blue", "size": "7"}))
    merged = await place.cluster.merge(CONFIG, "settings", place.namespace, {"data": {"size": None, "shape": "round"}})
    assert merged is not None
    assert merged["data"] == {"colour": "blue", "shape": "round"}
    assert await place.cluster.merge(CONFIG, "others", place.namespace, {"data": {"a": "b"}}) is None


async def test_a_merge_that_changes_what_is_wanted_is_a_new_generation(place: Place) -> None:
    await place.cluster.apply(wall(place, "Ingress"))
    merged = await place.cluster.merge(NETWORK, "wall", place.namespace, {"spec": {"policyTypes": ["Egress"]}})
    assert merged is not None
    assert merged["metadata"]["generation"] == 2
    labelled = await place.cluster.merge(NETWORK, "wall", place.namespace, {"metadata": {"labels": {"a": "1"}}})
    assert labelled is not None
    assert labelled["metadata"]["generation"] == 2


async def test_a_status_is_no_new_generation_and_is_replaced_whole(place: Place) -> None:
    await place.cluster.apply(broker(place))
    before = await generation(place.cluster, place)
    condition = {"type": "Ready", "status": "False", "reason": "Waiting", "lastTransitionTime": "2026-11-01T00:00:00Z"}
    await place.cluster.status(BROKER, "quiet", place.namespace, {"observedGeneration": before, "conditions": [condition]})
    found = await place.cluster.get(BROKER, "quiet", place.namespace)
    assert found is not None
    assert found["status"]["conditions"] == [condition]
    await place.cluster.status(BROKER, "quiet", place.namespace, {"observedGeneration": before})
    found = await place.cluster.get(BROKER, "quiet", place.namespace)
    assert found is not None
    assert found["status"] == {"observedGeneration": before}
    assert await generation(place.cluster, place) == before


async def test_an_apply_leaves_the_status_alone(place: Place) -> None:
    await place.cluster.apply(broker(place))
    await place.cluster.status(BROKER, "quiet", place.namespace, {"observedGeneration": 1})
    after = await place.cluster.apply(broker(place, retry=5))
    assert after["status"] == {"observedGeneration": 1}
    assert after["metadata"]["generation"] == 2


async def test_the_status_of_what_is_gone_is_nobodys_business(place: Place) -> None:
    await place.cluster.status(BROKER, "quiet", place.namespace, {"observedGeneration": 1})
    assert await place.cluster.get(BROKER, "quiet", place.namespace) is None


async def test_lists_are_of_a_namespace_and_of_labels(place: Place) -> None:
    for name, labels in (("a", {"who": "us", "what": "x"}), ("b", {"who": "us"}), ("c", {"who": "them"})):
        await place.cluster.apply(configmap(place, name, {"k": name}, labels=labels))

    async def names(namespace: str | None, labels: dict[str, str] | None) -> list[str]:
        found = await place.cluster.list(CONFIG, namespace, labels)
        assert all((m["apiVersion"], m["kind"]) == ("v1", "ConfigMap") for m in found)
        return [m["metadata"]["name"] for m in found if m["metadata"]["namespace"] == place.namespace and len(m["data"]) == 1]

    assert await names(place.namespace, {"who": "us"}) == ["a", "b"]
    assert await names(place.namespace, {"who": "us", "what": "x"}) == ["a"]
    assert await names(None, {"who": "them"}) == ["c"]
    assert {"a", "b", "c"} <= set(await names(place.namespace, None))
    spaces = await place.cluster.list(NAMESPACE)
    assert place.namespace in [space["metadata"]["name"] for space in spaces]


async def test_deleting_twice_is_fine(place: Place) -> None:
    await place.cluster.apply(configmap(place, "settings", {}))
    await place.cluster.delete(CONFIG, "settings", place.namespace)
    await place.cluster.delete(CONFIG, "settings", place.namespace)
    assert await place.cluster.get(CONFIG, "settings", place.namespace) is None


async def test_what_an_owner_owned_goes_with_it(place: Place) -> None:
    owner = await place.cluster.apply(configmap(place, "owner", {}))
    await place.cluster.apply(owned(configmap(place, "thing", {}), owner))
    await place.cluster.apply(configmap(place, "bystander", {}))
    await place.cluster.delete(CONFIG, "owner", place.namespace)
    await place.eventually(lambda: place.cluster.get(CONFIG, "thing", place.namespace), lambda found: found is None)
    assert await place.cluster.get(CONFIG, "bystander", place.namespace) is not None


async def test_a_finalizer_keeps_what_is_being_deleted_until_it_is_taken_away(place: Place) -> None:
    await place.cluster.apply(configmap(place, "settings", {"colour": "blue"}))
    await place.cluster.merge(CONFIG, "settings", place.namespace, {"metadata": {"finalizers": [HELD]}})
    await place.cluster.delete(CONFIG, "settings", place.namespace)
    ending = await place.cluster.get(CONFIG, "settings", place.namespace)
    assert ending is not None
    assert "deletionTimestamp" in ending["metadata"]
    await place.cluster.merge(CONFIG, "settings", place.namespace, {"metadata": {"finalizers": None}})
    assert await place.cluster.get(CONFIG, "settings", place.namespace) is None


async def test_nothing_is_made_in_a_namespace_that_is_not_there(place: Place) -> None:
    astray = configmap(place, "settings", {}, namespace=f"{place.namespace}-no")
    for call in (place.cluster.apply, place.cluster.create):
        with pytest.raises(Gone):
            await call(astray)


async def test_nothing_is_made_in_a_namespace_that_is_ending_and_it_may_be_ended_twice(place: Place) -> None:
    await place.cluster.apply(configmap(place, "held", {}))
    await place.cluster.merge(CONFIG, "held", place.namespace, {"metadata": {"finalizers": [HELD]}})
    await place.cluster.delete(NAMESPACE, place.namespace)
    for call in (place.cluster.apply, place.cluster.create):
        with pytest.raises(Gone):
            await call(configmap(place, "late", {}))

    async def ending() -> bool:
        held = await place.cluster.get(CONFIG, "held", place.namespace)
        return held is not None and "deletionTimestamp" in held["metadata"]

    await place.eventually(ending, bool)
    await place.cluster.delete(NAMESPACE, place.namespace)
    assert await place.cluster.get(NAMESPACE, place.namespace) is not None
    await place.cluster.merge(CONFIG, "held", place.namespace, {"metadata": {"finalizers": None}})
    await place.eventually(lambda: place.cluster.get(NAMESPACE, place.namespace), lambda found: found is None)


async def test_a_pod_that_is_not_there_wrote_nothing(place: Place) -> None:
    assert await place.cluster.logs(place.namespace, "nobody", "main", 10) == ""


async def test_telling_never_fails(place: Place) -> None:
    about = configmap(place, "nothing", {}, namespace=f"{place.namespace}-no")
    await place.cluster.tell(about, "Tried", "to tell of what was never there", warning=True)

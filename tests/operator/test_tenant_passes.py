"""Passes over a tenant: nothing is asked for nothing, drift is healed, and a pass may end anywhere."""

from __future__ import annotations

import base64

import msgspec
import pytest

from auricle.deploy.release import config_map
from auricle_operator.cluster import (
    BROKER,
    CONFIG,
    JOB,
    KSERVICE,
    MANAGER,
    NAMESPACE,
    PING,
    POD,
    SECRET,
    SECRETS,
    TENANT,
    TENANTS,
    TRIGGER,
    Manifest,
    kind_of,
)
from auricle_operator.outside import AccessKey, Login
from auricle_operator.tenants.teardown import REVISION, teardown
from builders.operator_lives import Killed, Killer, lived
from builders.operator_tenants import SYSTEM, House, run, this_release

HOME = "auricle-acme"


@pytest.fixture
def house() -> House:
    made = House()
    made.tenant()
    made.settle()
    return made


# Nothing for nothing, and drift


def test_a_pass_over_a_tenant_that_is_as_it_should_be_asks_nobody_anything(house: House) -> None:
    before = len(house.cluster.calls)
    assert house.pass_() is None
    assert house.cluster.calls[before:] == []


def test_a_restarted_operator_looks_and_leaves_what_is_right(house: House) -> None:
    house.restart()
    before = len(house.cluster.calls)
    house.pass_()
    assert [call for call in house.cluster.calls[before:] if call[0] != "get"] == []


def test_what_somebody_deleted_or_changed_is_as_it_was_after_one_pass(house: House) -> None:
    house.cluster.remove(TRIGGER, "advance", HOME)
    service = house.cluster.at(KSERVICE, "files", HOME)
    image = service["spec"]["template"]["spec"]["containers"][0]["image"]
    service["spec"]["template"]["spec"]["containers"][0]["image"] = "somebody/else:1"
    service["metadata"]["annotations"] = {"their.own/word": "kept"}
    house.pass_()
    assert "advance" in house.cluster.there(TRIGGER, HOME)
    now = house.cluster.at(KSERVICE, "files", HOME)
    assert now["spec"]["template"]["spec"]["containers"][0]["image"] == image
    assert now["metadata"]["annotations"] == {"their.own/word": "kept"}


def test_what_is_not_ours_in_the_namespace_stays(house: House) -> None:
    house.cluster.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "namespace": HOME}, "data": {}})
    house.settle()
    assert "theirs" in house.cluster.there(CONFIG, HOME)


def elsewhere(house: House) -> list[Manifest]:
    """What people put a tenant's label on: a namespace of their own with a Service in it, and a volume."""
    labels = {TENANT: "acme"}
    return [
        house.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "theirs", "labels": labels}}),
        house.cluster.put(
            {
                "apiVersion": KSERVICE.api_version,
                "kind": "Service",
                "metadata": {"name": "site", "namespace": "theirs", "labels": labels},
            }
        ),
        house.cluster.put({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "theirs", "labels": labels}}),
    ]


def test_a_label_makes_nothing_a_tenants_that_lies_elsewhere(house: House) -> None:
    theirs = elsewhere(house)
    house.settle()
    end(house, "delete")
    for manifest in theirs:
        found = house.cluster.at(kind_of(manifest), manifest["metadata"]["name"], manifest["metadata"].get("namespace"))
        assert "deletionTimestamp" not in found["metadata"]


def test_a_phase_is_told_once_as_an_event(house: House) -> None:
    house.settle()
    phases = [reason for _, reason, _ in house.cluster.told]
    assert phases.count("Ready") == 1
    assert len(phases) == len(set(phases))


def test_usage_is_measured_seldom_and_kept_when_a_server_is_away(house: House) -> None:
    status = house.cluster.at(TENANTS, "acme")["status"]
    assert status["usage"]["storageBytes"] == 0
    house.stores.away = True
    house.clock.pass_(3600)
    house.pass_()
    assert house.cluster.at(TENANTS, "acme")["status"]["usage"]["storageBytes"] == 0


# Killed anywhere


def test_an_operator_that_is_killed_at_any_await_ends_with_the_same_state() -> None:
    wanted, count = lived(0)
    assert count > 100  # that many times it gives way; tests/chaos has them all
    for at in range(1, count + 1, 29):
        assert lived(at)[0] == wanted, f"killed at await {at} of {count}"


# The end


def masters(house: House) -> None:
    """What the room of secrets keeps beside the tenant's copies."""
    for name, data in (
        ("auricle-blobs", {"S3_ACCESS_KEY_ID": "key-1", "S3_SECRET_ACCESS_KEY": "x"}),
        ("auricle-sealing", {"SEALING_KEYS": "k"}),
    ):
        metadata = {
            "name": f"acme.{name}.v1",
            "namespace": SYSTEM,
            "labels": {TENANT: "acme", "app.kubernetes.io/managed-by": MANAGER},
        }
        coded = {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
        house.cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": coded})
    run(house.stores.admit(HOME, AccessKey(id="key-1", secret="x")))
    run(house.databases.admit("acme", Login.A, "secret"))


def end(house: House, policy: str, killer: Killer | None = None) -> None:
    """`kubectl delete tenant acme`."""
    house.cluster.before = killer.step if killer else house.cluster.before
    house.tenant(deletionPolicy=policy)
    manifest = house.cluster.at(TENANTS, "acme")
    for _ in range(60):
        house.look()
        try:
            work = teardown(house.world, house.mirror, house.applying, manifest)
            wait = run(killer.follow(work) if killer else work)
        except Killed:
            assert killer is not None
            killer.spent()
            house.restart()
            continue
        for kind in (KSERVICE, TRIGGER, PING, BROKER, SECRETS):
            for name in house.cluster.there(kind, HOME):
                if "deletionTimestamp" in house.cluster.at(kind, name, HOME)["metadata"]:
                    house.cluster.remove(kind, name, HOME)
        if "snapshot-acme" in house.cluster.there(JOB, SYSTEM):
            house.cluster.at(JOB, "snapshot-acme", SYSTEM)["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        if wait is None:
            return
    raise AssertionError("it does not end")


def why(house: House) -> str:
    """It is not gone yet, as `kubectl get tenants -o wide` says it."""
    status = house.cluster.at(TENANTS, "acme")["status"]
    (ready,) = (c for c in status["conditions"] if c["type"] == "Ready")
    assert (status["phase"], ready["status"], ready["reason"]) == ("Deleting", "False", "Deleting")
    return str(ready["message"])


def left(house: House) -> tuple[bool, bool, bool, bool]:
    """Namespace, database, bucket, master keys."""
    return (
        HOME in house.cluster.there(NAMESPACE),
        "acme" in house.databases.tenants,
        HOME in house.stores.buckets,
        any(name.startswith("acme.") for name in house.cluster.there(SECRET, SYSTEM)),
    )


POLICIES = {
    "retain": (False, True, True, True),
    "snapshot": (False, False, True, True),
    "delete": (False, False, False, False),
}


@pytest.mark.parametrize(("policy", "stays"), POLICIES.items())
def test_nothing_is_left_that_should_go_and_nothing_is_gone_that_should_stay(
    house: House, policy: str, stays: tuple[bool, bool, bool, bool]
) -> None:
    masters(house)
    end(house, policy)
    assert left(house) == stays
    assert house.cluster.there(KSERVICE) == house.cluster.there(TRIGGER) == []


def test_credentials_of_a_tenant_that_was_deleted_open_nothing(house: House) -> None:
    masters(house)
    end(house, "retain")
    assert not house.databases.enters("acme", Login.A, "secret")
    assert not house.stores.may(AccessKey(id="key-1", secret="x"), HOME)


def test_functions_end_before_what_they_need(house: House) -> None:
    house.look()
    run(teardown(house.world, house.mirror, house.applying, house.cluster.at(TENANTS, "acme")))
    assert house.cluster.there(PING, HOME) == []
    assert len(house.cluster.there(KSERVICE, HOME)) > 20
    assert HOME in house.cluster.there(NAMESPACE)
    assert why(house).startswith("Its pingsources end: ")


def test_kubernetes_own_words_say_what_holds_a_namespace(house: House) -> None:
    masters(house)
    for kind in (PING, TRIGGER, KSERVICE, BROKER, SECRETS):
        for name in house.cluster.there(kind, HOME):
            house.cluster.remove(kind, name, HOME)
    namespace = house.cluster.at(NAMESPACE, HOME)
    namespace["metadata"]["finalizers"] = ["somebody/else"]
    remains = {"type": "NamespaceContentRemaining", "status": "True", "message": "Some resources are remaining: pods."}
    namespace["status"] = {"conditions": [remains, {"type": "NamespaceDeletionDiscoveryFailure", "status": "False"}]}
    house.look()
    assert run(teardown(house.world, house.mirror, house.applying, house.cluster.at(TENANTS, "acme"))) is not None
    assert why(house) == "Its namespace ends. Some resources are remaining: pods."


@pytest.mark.parametrize("pod", [{"labels": {REVISION: "media-00002"}}, {"deletionTimestamp": "2026-11-22T01:25:57Z"}])
def test_what_a_pod_is_at_is_waited_for(house: House, pod: Manifest) -> None:
    masters(house)
    house.tenant(deletionPolicy="snapshot")
    for kind in (PING, TRIGGER, KSERVICE, BROKER):
        for name in house.cluster.there(kind, HOME):
            house.cluster.remove(kind, name, HOME)
    house.cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "media-1", "namespace": HOME, **pod}})
    manifest = house.cluster.at(TENANTS, "acme")
    for _ in range(3):
        house.look()
        assert run(teardown(house.world, house.mirror, house.applying, manifest)) is not None
    assert house.cluster.there(JOB, SYSTEM) == []  # a dump would not have what it writes
    assert "deletionTimestamp" not in house.cluster.at(NAMESPACE, HOME)["metadata"]
    assert why(house) == "Its pods finish what they are at: media-1."
    house.cluster.remove(POD, "media-1", HOME)
    end(house, "snapshot")
    assert left(house) == POLICIES["snapshot"]


def test_somebody_elses_pod_is_not_waited_for(house: House) -> None:
    house.cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "looking-around", "namespace": HOME}})
    end(house, "delete")
    assert left(house) == POLICIES["delete"]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_teardown_that_is_killed_at_any_await_goes_on_where_it_was(policy: str) -> None:
    def ended(at: int) -> tuple[tuple[bool, bool, bool, bool], int]:
        house = House()
        house.tenant(release=None, domains=None)
        house.settle()
        masters(house)
        killer = Killer(at)
        end(house, policy, killer)
        return left(house), killer.count

    wanted, count = ended(0)
    assert wanted == POLICIES[policy]
    for at in range(1, count + 1):
        assert ended(at)[0] == wanted, f"killed at await {at} of {count}"


def test_a_dump_that_fails_deletes_nothing_and_says_what_to_do(house: House) -> None:
    masters(house)
    house.tenant(deletionPolicy="snapshot")
    for kind in (PING, TRIGGER, KSERVICE, BROKER):
        for name in house.cluster.there(kind, HOME):
            house.cluster.remove(kind, name, HOME)
    manifest = house.cluster.at(TENANTS, "acme")
    for _ in range(3):
        house.look()
        assert run(teardown(house.world, house.mirror, house.applying, manifest)) is not None
        house.cluster.at(JOB, "snapshot-acme", SYSTEM)["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    assert left(house) == (True, True, True, True)
    assert "delete job snapshot-acme" in why(house)
    assert any(
        reason == "SnapshotFailed" and "delete job snapshot-acme" in message for _, reason, message in house.cluster.told
    )


def test_a_tenant_of_the_same_name_takes_up_what_was_retained(house: House) -> None:
    masters(house)
    end(house, "retain")
    again: Manifest = house.tenant()
    assert again
    assert house.settle()["status"]["phase"] == "Ready"
    assert left(house) == (True, True, True, True)


# The same name again


def test_a_name_that_is_used_again_at_once_gets_a_database_and_keys_of_its_own(house: House) -> None:
    """What was provided for the one that is gone is remembered of nobody."""
    masters(house)
    end(house, "delete")
    house.cluster.remove(TENANTS, "acme")
    for namespace, name in [(k[2], k[3]) for k in house.cluster.objects if k[1] == "Secret"]:
        house.cluster.remove(SECRET, name, namespace)
    house.timer_token = b"another"  # the room of secrets makes others, under the same names
    house.tenant()
    house.settle()
    assert left(house)[:3] == (True, True, True)
    tickets = {
        house.cluster.at(PING, name, HOME)["spec"]["ceOverrides"]["extensions"]["ticket"]
        for name in house.cluster.there(PING, HOME)
    }
    assert tickets == {"another"}


def test_a_release_that_was_made_anew_under_its_name_is_rendered_anew(house: House) -> None:
    house.cluster.remove(CONFIG, "release-r1", SYSTEM)
    other = msgspec.structs.replace(
        this_release("r1"), images={**this_release("r1").images, "api": "registry.example/api@sha256:1"}
    )
    house.cluster.put(config_map(other))
    house.settle()
    service = house.cluster.at(KSERVICE, "files", HOME)
    assert service["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/api@sha256:1"

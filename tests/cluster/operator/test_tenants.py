"""Tenants on a real API server with Knative's real webhooks: made, changed, suspended, healed, deleted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from cluster.deployment import Refused, apply, auricle, kubectl, objects, until, until_none
from cluster.operator.platform import SYSTEM
from cluster.operator.running import Operator, conditions, let_go, tenant, wait_for
from cluster.operator.servers import Servers
from cluster.operator.vaults import Vault
from cluster.vault import MEETING, finished, run_of, transcript, uploaded

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]
NAME, HOME = "acme", "auricle-acme"
SECONDS_TO_HEAL = 30
"""What the issue asks for."""


def pods(namespace: str = HOME) -> list[str]:
    return [p["metadata"]["name"] for p in objects("pods", "-n", namespace, "-l", "serving.knative.dev/service")]


def phase(name: str) -> str:
    return str(objects("tenant", name)[0].get("status", {}).get("phase"))


# Made


def test_an_applied_tenant_is_ready_with_broker_and_functions(acme: Vault) -> None:
    (found,) = objects("tenant", NAME)
    said = {c["type"]: c["status"] for c in found["status"]["conditions"]}
    assert {
        said[f"{part}Ready"] for part in ("Namespace", "Secrets", "Database", "Bucket", "Broker", "Functions", "Quota")
    } == {"True"}
    assert (found["status"]["phase"], found["status"]["url"]) == ("Ready", "https://acme.example")
    for kind in ("services.serving.knative.dev", "triggers", "brokers", "pingsources"):
        for item in objects(kind, "-n", HOME):
            ready = [c["status"] for c in item["status"]["conditions"] if c["type"] == "Ready"]
            assert ready == ["True"], f"{kind}/{item['metadata']['name']}"


def test_kubectl_get_tenants_says_the_truth(acme: Vault) -> None:
    line = kubectl("get", "tenants", NAME, "--no-headers").split()
    assert line[:5] == [NAME, "Ready", "True", "https://acme.example", "lane"]
    assert "FunctionsReady" in auricle("tenants", "describe", NAME)


def test_a_recording_becomes_a_transcript_in_the_tenants_own_bucket_and_database(acme: Vault, servers: Servers) -> None:
    with acme.server() as server:
        file = uploaded(server, MEETING)
        assert finished(server, run_of(server, file), 420)["state"] == "succeeded"
        assert b"budget" in transcript(server, file).lower() or len(transcript(server, file)) > 200
        usage = server.call("GET", "/api/usage")
    assert usage


def test_objects_are_walled_and_restricted(acme: Vault) -> None:
    labels = objects("namespace", HOME)[0]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    names = {p["metadata"]["name"] for p in objects("networkpolicies", "-n", HOME)}
    assert {"deny-all", "functions", "names", "to-database-from-functions"} <= names
    with pytest.raises(Refused, match=r"PodSecurity|violates"):
        kubectl("-n", HOME, "run", "root", "--image=x", "--privileged")


# Healed


def gone(kind: str, name: str) -> Callable[[], bool]:
    return lambda: not [i for i in objects(kind, "-n", HOME) if i["metadata"]["name"] == name]


def healed(what: str, true: Callable[[], Any]) -> float:
    began = time.monotonic()
    until(what, true, SECONDS_TO_HEAL, every=0.2)
    return time.monotonic() - began


def test_what_somebody_breaks_is_healed(acme: Vault, record_property: Any) -> None:
    kubectl("-n", HOME, "delete", "trigger", "advance", "--wait=false")
    seconds = {"trigger": healed("the Trigger is back", lambda: conditions("trigger", "advance", HOME).get("Ready"))}

    (service,) = objects("services.serving.knative.dev", "files", "-n", HOME)
    image = service["spec"]["template"]["spec"]["containers"][0]["image"]
    kubectl(
        "-n",
        HOME,
        "patch",
        "ksvc",
        "files",
        "--type=json",
        "-p",
        json.dumps([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "dev.local/other:1"}]),
    )

    def again() -> bool:
        (found,) = objects("services.serving.knative.dev", "files", "-n", HOME)
        return bool(found["spec"]["template"]["spec"]["containers"][0]["image"] == image)

    seconds["service"] = healed("the Service has its image again", again)

    (managed,) = objects("managedsecret", "database", "-n", HOME)
    name = managed["status"]["current"]
    before = objects("secret", name, "-n", HOME)[0]["data"]
    kubectl("-n", HOME, "delete", "secret", name)  # it is immutable: emptying it is deleting it
    seconds["secret"] = healed("the Secret is back", lambda: objects("secret", name, "-n", HOME)[0]["data"] == before)
    print(f"healed after {seconds}")
    wait_for("tenant", NAME, seconds=180, Ready="True")


# Changed, suspended


def test_a_change_rolls_and_the_vault_answers_all_the_while(acme: Vault) -> None:
    def answers() -> int:
        return int(acme.ask("GET", "/health").status)

    until("the vault is awake", lambda: answers() == 200, 120)
    kubectl("patch", "tenant", NAME, "--type=merge", "-p", json.dumps({"spec": {"quotas": {"concurrentRuns": 3}}}))
    seen = set()
    end = time.monotonic() + 600
    while conditions("tenant", NAME).get("Ready", {}).get("status") != "True" or not seen:
        seen.add(answers())
        assert time.monotonic() < end
        time.sleep(0.5)
    assert seen == {200}
    (service,) = objects("services.serving.knative.dev", "files", "-n", HOME)
    config = service["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    assert objects("configmap", config, "-n", HOME)[0]["data"]["MAX_RUNS"] == "3"


def test_a_suspended_vault_sleeps_and_refuses_and_comes_back(acme: Vault) -> None:
    auricle("tenants", "suspend", NAME)
    until("it is suspended", lambda: phase(NAME) == "Suspended", 600, 2)
    assert objects("pingsources", "-n", HOME) == []
    until("no function has a pod", lambda: not pods(), 300, 2)
    refused = until("the door answers", lambda: acme.ask("GET", "/api/files"), 120)
    assert (refused.status, json.loads(refused.data)["type"]) == (503, "urn:auricle:problem:suspended")
    auricle("tenants", "resume", NAME)
    wait_for("tenant", NAME, seconds=600, Ready="True")
    until("it is at work again", lambda: acme.ask("GET", "/health").status == 200, 120)


# Killed


def test_an_operator_that_is_killed_in_the_middle_ends_where_it_would_have(operator: Operator, servers: Servers) -> None:
    """At some awaits of a real life; tests/chaos has all of them, in memory."""
    for at in (3, 9, 17, 26, 40):
        name = f"killed-{at}"
        operator.stop()
        apply(tenant(name, plan="lane"))
        operator.start(die_at=at)
        operator.died(60)
        operator.start()
        wait_for("tenant", name, seconds=120, Ready="True")
        (found,) = objects("tenant", name)
        assert found["status"]["versions"]["secrets"] == {"bucket": 1, "database": 1, "owner": 1}
        removed(name)


def removed(name: str, policy: str = "delete", seconds: float = 240) -> None:
    kubectl("patch", "tenant", name, "--type=merge", "-p", json.dumps({"spec": {"deletionPolicy": policy}}))
    let_go(name)
    until_none(f"{name} is still there", lambda: [i for i in names("tenants") if i == name], seconds)


def names(*words: str) -> list[str]:
    return [item["metadata"]["name"] for item in objects(*words)]


# Deleted


@pytest.mark.parametrize(
    ("policy", "database", "bucket"), [("retain", True, True), ("snapshot", False, True), ("delete", False, False)]
)
def test_nothing_is_left_that_should_go_and_nothing_is_gone_that_should_stay(
    operator: Operator, servers: Servers, policy: str, database: bool, bucket: bool
) -> None:
    name = f"ends-{policy}"
    apply(tenant(name, plan="lane"))
    wait_for("tenant", name, seconds=180, Ready="True")
    store = servers.store.client()
    store.put_object(Bucket=f"auricle-{name}", Key="uploads/one", Body=b"bytes")
    removed(name, policy)
    assert f"auricle-{name}" not in names("namespaces")
    assert (databases(servers, name), f"auricle-{name}" in buckets(servers)) == (database, bucket)
    masters = [n for n in names("secrets", "-n", SYSTEM) if n.startswith(f"{name}.")]
    assert bool(masters) == (policy != "delete")
    if policy == "snapshot":
        keys = [o["Key"] for o in store.list_objects_v2(Bucket=f"auricle-{name}")["Contents"]]
        assert [key for key in keys if key.startswith("snapshots/") and key.endswith(".dump")]
        assert "uploads/one" in keys
    if policy == "retain":  # and it comes back with what it had
        apply(tenant(name, plan="lane"))
        wait_for("tenant", name, seconds=180, Ready="True")
        assert store.get_object(Bucket=f"auricle-{name}", Key="uploads/one")["Body"].read() == b"bytes"
        removed(name, "delete")


def databases(servers: Servers, name: str) -> bool:
    from sqlalchemy import text

    from auricle.runtime.database import engine_for

    engine = engine_for(servers.database_url, 1)
    try:
        with engine.connect() as connection:
            found = connection.execute(
                text("select datname from pg_database where datname like :like"), {"like": f"%{name.replace('-', '%')}"}
            )
            return bool(found.all())
    finally:
        engine.dispose()


def buckets(servers: Servers) -> list[str]:
    return [b["Name"] for b in servers.store.client().list_buckets()["Buckets"]]


def test_a_vault_whose_data_would_go_is_not_deleted_by_mistake(operator: Operator) -> None:
    apply(tenant("careful", plan="lane", deletionPolicy="delete"))
    wait_for("tenant", "careful", seconds=180, Ready="True")
    with pytest.raises(Refused, match="confirm-deletion"):
        kubectl("delete", "tenant", "careful", "--wait=false")
    removed("careful")

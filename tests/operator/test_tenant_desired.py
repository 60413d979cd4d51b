"""What a tenant's namespace shall hold: state in, state out, for every branch of the decision."""

from __future__ import annotations

from copy import deepcopy

import pytest

from auricle.deploy.catalogue import catalogue
from auricle.deploy.release import config_map
from auricle.errors import Permanent
from auricle_operator.api.conditions import stamp
from auricle_operator.cluster import (
    BROKER,
    CONFIG,
    JOB,
    KSERVICE,
    NAMESPACE,
    NETWORK,
    PING,
    RESOURCE_QUOTA,
    SECRETS,
    TRIGGER,
)
from builders.operator_tenants import (
    HOME,
    MIGRATE,
    MIN,
    House,
    annotations,
    condition,
    now,
    pod,
    service,
    settings,
    this_release,
)


@pytest.fixture
def house() -> House:
    return House()


# Without functions


def test_a_tenant_without_a_release_is_a_namespace_with_a_database_a_bucket_and_their_keys(house: House) -> None:
    house.tenant(release=None, domains=None)
    assert house.settle()["status"]["phase"] == "Ready"
    assert house.cluster.there(KSERVICE) == house.cluster.there(BROKER) == house.cluster.there(JOB) == []
    assert house.cluster.there(SECRETS, HOME) == ["bucket", "database", "owner"]
    assert ("acme" in house.databases.tenants, HOME in house.stores.buckets) == (True, True)


def test_its_namespace_is_walled_and_restricted(house: House) -> None:
    house.tenant()
    house.settle()
    labels = house.cluster.at(NAMESPACE, HOME)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert labels["auricle.dev/tenant"] == "acme"
    walls = {name: house.cluster.at(NETWORK, name, HOME)["spec"] for name in house.cluster.there(NETWORK, HOME)}
    assert walls["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert {"functions", "names", "to-database-from-functions", "to-object-store", "broker-ingress"} <= set(walls)
    (way,) = walls["to-object-store"]["egress"]
    assert way["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "auricle-system"}


# One part after another


def test_functions_wait_for_keys_then_for_the_schema(house: House) -> None:
    house.tenant()
    house.pass_()
    house.cluster.become_ready(NAMESPACE)
    house.pass_()
    assert condition(now(house), "FunctionsReady") == ("Unknown", "Waiting")
    assert house.cluster.there(KSERVICE) == house.cluster.there(JOB) == []
    for name in house.cluster.there(SECRETS, HOME):
        secret = house.cluster.at(SECRETS, name, HOME)
        house.made(secret, f"{secret['spec']['secret']}-v1")
    house.pass_()
    assert (house.cluster.there(JOB), house.cluster.there(KSERVICE)) == ([MIGRATE], [])
    assert now(house)["status"]["phase"] == "Migrating"
    house.others_work()
    house.pass_()
    assert len(house.cluster.there(KSERVICE, HOME)) == len(catalogue())


def test_functions_wait_for_a_database_that_is_away(house: House) -> None:
    house.databases.away = True
    house.tenant()
    house.settle(passes=3)
    assert condition(now(house), "DatabaseReady") == ("Unknown", "Away")
    assert house.cluster.there(KSERVICE) == []
    assert house.pass_() == 10.0
    house.databases.away = False
    assert house.settle()["status"]["phase"] == "Ready"


def test_a_migration_that_failed_leaves_the_release_before_at_work_and_says_what_to_do(house: House) -> None:
    house.tenant()
    house.settle()
    before = pod(house, "files")["containers"][0]["image"]
    house.cluster.put(config_map(this_release("r2", "0099")))
    house.tenant(release="r2")
    house.pass_()
    house.cluster.at(JOB, "migrate-0099", HOME)["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    house.pass_()
    tenant = now(house)
    assert (tenant["status"]["phase"], condition(tenant, "FunctionsReady")) == ("Degraded", ("False", "MigrationFailed"))
    assert "delete job migrate-0099" in next(c["message"] for c in tenant["status"]["conditions"] if c["type"] == "Ready")
    assert pod(house, "files")["containers"][0]["image"] == before
    assert len(house.cluster.there(TRIGGER, HOME)) == 9
    assert tenant["status"]["versions"]["release"] == "r1"


def test_a_release_with_the_same_schema_rolls_at_once_and_an_older_one_runs_no_migration(house: House) -> None:
    house.tenant()
    house.settle()
    house.cluster.put(config_map(this_release("r0", "0005")))
    house.tenant(release="r0")
    house.settle()
    assert now(house)["status"]["versions"]["release"] == "r0"
    assert "migrate-0005" not in house.cluster.there(JOB)


def test_settings_that_old_revisions_read_stay_until_everything_is_rolled(house: House) -> None:
    house.tenant()
    house.settle()
    (old,) = [n for n in house.cluster.there(CONFIG, HOME) if n.startswith("auricle-settings")]
    house.tenant(quotas={"concurrentRuns": 3})
    house.pass_()
    assert len([n for n in house.cluster.there(CONFIG, HOME) if n.startswith("auricle-settings")]) == 2
    house.others_work()
    house.settle()
    assert old not in house.cluster.there(CONFIG, HOME)
    assert settings(house)["MAX_RUNS"] == "3"


def test_a_new_version_of_a_secret_reaches_every_service_that_names_it(house: House) -> None:
    house.tenant()
    house.settle()
    assert "auricle-database-v1" in str(pod(house, "files"))
    house.made(house.cluster.at(SECRETS, "database", HOME), "auricle-database-v2")
    house.pass_()
    assert "auricle-database-v2" in str(pod(house, "files"))
    assert "auricle-database" not in str(pod(house, "transcribe"))


def test_keys_of_sign_ins_keep_their_names(house: House) -> None:
    house.tenant()
    house.settle()
    volumes = {v["name"]: v["secret"]["secretName"] for v in pod(house, "identity")["volumes"] if "secret" in v}
    assert volumes["public-keys"] == "auricle-public-keys"


def test_a_secret_that_cannot_be_exchanged_stops_no_release(house: House) -> None:
    house.tenant()
    house.settle()
    secret = house.cluster.at(SECRETS, "bucket", HOME)
    secret["status"]["conditions"] = [{"type": "Ready", "status": "False", "message": "the store is full"}]
    house.tenant(displayName="ACME", quotas={"concurrentRuns": 9})
    house.pass_()
    assert condition(now(house), "SecretsReady") == ("False", "Failing")
    assert settings(house)["MAX_RUNS"] == "9"


def test_taking_the_release_away_takes_functions_and_broker_away(house: House) -> None:
    house.tenant()
    house.settle()
    house.tenant(release=None)
    house.settle()
    assert house.cluster.there(KSERVICE) == house.cluster.there(TRIGGER) == house.cluster.there(BROKER) == []
    assert "acme" in house.databases.tenants


# Once everything is there


def test_owners_are_invited_once_everything_is_there_and_again_when_they_are_others(house: House) -> None:
    house.tenant(admins=["ada@acme.example"])
    house.pass_()
    house.cluster.become_ready(NAMESPACE)
    house.pass_()
    assert not [name for name in house.cluster.there(JOB) if name.startswith("invite")]
    house.settle()
    (first,) = [name for name in house.cluster.there(JOB, HOME) if name.startswith("invite")]
    container = house.cluster.at(JOB, first, HOME)["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "INVITE_OWNERS", "value": "ada@acme.example"} in container["env"]
    assert "auricle-database-v1" in str(container["env"])
    house.tenant(admins=["ada@acme.example", "bob@acme.example"])
    house.settle()
    assert len([name for name in house.cluster.there(JOB, HOME) if name.startswith("invite")]) == 2


def test_who_was_invited_hinders_no_later_change(house: House) -> None:
    house.tenant(admins=["ada@acme.example"])
    house.settle()
    house.tenant(admins=["ada@acme.example"], quotas={"concurrentRuns": 3})  # other settings: a Job cannot be changed
    house.settle()
    assert now(house)["status"]["phase"] == "Ready"
    assert len([name for name in house.cluster.there(JOB, HOME) if name.startswith("invite")]) == 1


def test_what_the_api_server_refuses_for_good_is_told(house: House) -> None:
    house.tenant()
    house.settle()

    def refuses() -> None:
        if house.cluster.calls[-1] == ("patch", "services"):
            raise Permanent("Service auricle-acme/files is refused: no.")

    house.cluster.before = refuses
    house.tenant(quotas={"concurrentRuns": 3})
    house.pass_()
    ready = {c["type"]: c for c in now(house)["status"]["conditions"]}["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "Refused")
    assert "is refused: no." in ready["message"]
    house.cluster.before = lambda: None
    house.settle()
    assert now(house)["status"]["phase"] == "Ready"


def test_nothing_is_taken_away_before_every_tenant_is_past_what_reads_it(house: House) -> None:
    house.cluster.put(config_map(this_release("r2", "9999", "c1")))
    house.tenant("acme")
    house.settle("acme")
    house.tenant("late")
    house.settle("late")
    house.tenant("data", release=None, domains=None)  # has no functions, so it reads nothing
    house.tenant("acme", release="r2")
    house.settle("acme")
    assert now(house)["status"]["versions"]["release"] == "r2"
    assert "contract-c1" not in house.cluster.there(JOB)
    house.tenant("late", release="r2")
    house.settle("late")
    house.settle("acme")
    assert "contract-c1" in house.cluster.there(JOB, HOME)
    assert "contract-c1" in house.cluster.there(JOB, "auricle-late")


# What it cannot do


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"release": "r9"}, "CannotRender", "no release “r9”"),
        ({"plan": "huge"}, "CannotRender", "no plan “huge”"),
    ],
)
def test_what_a_tenant_names_and_is_not_there_changes_nothing(
    house: House, spec: dict[str, str], reason: str, words: str
) -> None:
    house.tenant()
    house.settle()
    there = {key: deepcopy(thing.get("spec")) for key, thing in house.cluster.objects.items() if HOME in key}
    house.tenant(**spec)
    house.settle()
    (said,) = [c for c in now(house)["status"]["conditions"] if c["type"] == "FunctionsReady"]
    assert (said["reason"], words in said["message"]) == (reason, True)
    # Its walls and quota, too.
    assert condition(now(house), "SecretsReady") == ("True", "Made")
    assert {key: thing.get("spec") for key, thing in house.cluster.objects.items() if HOME in key} == there
    assert now(house)["status"]["versions"]["release"] == "r1"


def test_somebody_elses_namespace_is_not_taken_over(house: House) -> None:
    house.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})
    house.tenant()
    house.pass_()
    assert condition(now(house), "Ready") == ("False", "NamespaceTaken")
    assert "auricle.dev/tenant" not in house.cluster.at(NAMESPACE, HOME)["metadata"].get("labels", {})


def test_a_spec_that_cannot_be_read_says_so_and_leaves_everything(house: House) -> None:
    house.tenant()
    house.settle()
    there = len(house.cluster.objects)
    now(house)["spec"]["domains"] = "acme.example"
    house.pass_()
    assert condition(now(house), "Ready") == ("False", "CannotRead")
    assert len(house.cluster.objects) == there


def test_a_service_that_is_not_ready_is_named_with_its_reason(house: House) -> None:
    house.tenant()
    house.settle()
    since = stamp(house.clock())
    failing = {"type": "Ready", "status": "False", "reason": "RevisionFailed", "message": "the image cannot be pulled"}
    service(house, "prepare")["status"]["conditions"] = [{**failing, "lastTransitionTime": since}]
    house.pass_()
    assert (now(house)["status"]["phase"], condition(now(house), "FunctionsReady")[0]) == (
        "Rolling",
        "Unknown",
    )  # it may yet be
    house.clock.pass_(120)
    house.pass_()
    (said,) = [c for c in now(house)["status"]["conditions"] if c["type"] == "FunctionsReady"]
    assert (said["status"], said["reason"], said["message"]) == (
        "False",
        "RevisionFailed",
        "Service prepare: the image cannot be pulled",
    )
    assert now(house)["status"]["phase"] == "Degraded"


def test_a_quota_that_is_used_up_is_told_with_its_numbers(house: House) -> None:
    house.tenant()
    house.settle()
    quota = house.cluster.at(RESOURCE_QUOTA, "auricle", HOME)
    quota["status"] = {"hard": {"pods": "200", "requests.cpu": "16"}, "used": {"pods": "12", "requests.cpu": "16000m"}}
    house.pass_()
    (said,) = [c for c in now(house)["status"]["conditions"] if c["type"] == "QuotaReady"]
    assert (said["reason"], "requests.cpu (16000m of 16)" in said["message"], "pods" in said["message"].split(".")[0]) == (
        "Exhausted",
        True,
        False,
    )


# Suspension


def test_a_suspended_tenant_sleeps_and_its_functions_know_it(house: House) -> None:
    house.tenant(scale={"files": {"min": 2, "max": 5}})
    house.settle()
    assert annotations(house, "files")[MIN] == "2"
    house.tenant(suspended=True, scale={"files": {"min": 2, "max": 5}})
    house.settle()
    assert now(house)["status"]["phase"] == "Suspended"
    assert {annotations(house, name)[MIN] for name in house.cluster.there(KSERVICE, HOME)} == {"0"}
    assert settings(house)["SUSPENDED"] == "true"
    assert house.cluster.there(PING) == []
    assert len(house.cluster.there(TRIGGER, HOME)) == 9  # what is queued stays queued
    house.tenant(suspended=False)
    house.settle()
    assert (now(house)["status"]["phase"], len(house.cluster.there(PING, HOME)) > 0) == ("Ready", True)

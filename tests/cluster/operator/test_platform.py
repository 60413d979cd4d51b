"""Overlay `tenants` whole: the operator as a pod with its own account and role, shared servers, one gateway for all hosts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config

from auricle.cli.client import Server, ServerError
from cluster.deployment import apply, auricle, kubectl, objects, until
from cluster.operator.installed import (
    DOMAIN,
    SYSTEM,
    Platform,
    asked,
    installed,
    names_lead_to,
    operator_at_work,
    secret_values,
    wait_phase,
)
from cluster.operator.running import conditions, tenant, wait_for
from cluster.vault import MEETING, finished, run_of, transcript, uploaded

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]
NAMES = ("acme", "beta")
ADMIN = "grace@example.org"
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
MOUNTED = 120
"""Seconds until kubelet has brought a changed ConfigMap or Secret to the gateway."""


def host(name: str) -> str:
    return f"{name}.{DOMAIN}"


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """Installed as the guide says, with two tenants; KEEP=1 leaves it there, and takes up what it left."""
    made = installed()
    keep = os.environ.get("KEEP") == "1"
    if not (keep and made.find()):
        assert not operator_at_work(), f"There is an operator in {SYSTEM}: this suite needs the namespace to itself"
        made.up()
        made.release("lane")
        apply(*(tenant(n, release="lane", plan="small", domains=[host(n)], admins=[ADMIN]) for n in NAMES))
    with names_lead_to(made):
        for name in NAMES:
            wait_for("tenant", name, seconds=600, Ready="True")
        yield made
    if not keep:
        made.down()


@pytest.fixture(scope="module")
def owners(platform: Platform) -> dict[str, Server]:
    """Of each vault its owner, by a token made through the gateway."""
    for name in NAMES:
        until(f"{name} is reached", lambda name=name: asked(host(name), "/health").status == 200, MOUNTED, 2)
    return {name: platform.owner(name, host(name)) for name in NAMES}


# Installed


def test_the_operator_runs_as_a_pod_under_its_own_account_and_the_strictest_rules(platform: Platform) -> None:
    pod = platform.pod("auricle-operator")
    assert pod["spec"]["serviceAccountName"] == "auricle-operator"
    assert [c["restartCount"] for c in pod["status"]["containerStatuses"]] == [0]
    labels = objects("namespace", SYSTEM)[0]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert "forbidden" not in platform.logs("auricle-operator").lower()
    assert "Traceback" not in platform.logs("auricle-operator")


def test_each_tenant_s_conditions_hold_and_its_jobs_are_done(platform: Platform) -> None:
    for name in NAMES:
        said = {c: found["status"] for c, found in conditions("tenant", name).items()}
        assert set(said.values()) == {"True"}, said
        assert {"DomainsReady", "FunctionsReady", "BrokerReady", "QuotaReady"} <= set(said)
        jobs = objects("jobs", "-n", f"auricle-{name}")
        assert {j["metadata"]["name"].partition("-")[0] for j in jobs} >= {"migrate", "invite"}
        until("all jobs are done", lambda jobs=jobs, name=name: _done(name), 180, 2)


def _done(name: str) -> bool:
    return all(j["status"].get("succeeded") for j in objects("jobs", "-n", f"auricle-{name}"))


def test_an_owner_who_was_named_is_invited_by_a_link_to_the_tenant_s_own_host(platform: Platform) -> None:
    (job,) = [j for j in objects("jobs", "-n", "auricle-acme") if j["metadata"]["name"].startswith("invite")]
    until("the invitation is made", lambda: _done("acme"), 180, 2)
    said = kubectl("-n", "auricle-acme", "logs", f"job/{job['metadata']['name']}")
    assert ADMIN in said
    assert f"https://{host('acme')}/" in said


# Whose vault


def test_each_host_reaches_its_own_tenant_only(owners: dict[str, Server]) -> None:
    for name, server in owners.items():
        assert server.call("GET", "/api/me")["email"] == f"ada@{host(name)}"
        (other,) = set(NAMES) - {name}
        stranger = Server(f"https://{host(other)}", server._headers["Authorization"].removeprefix("Bearer "))
        with pytest.raises(ServerError) as refused:
            stranger.call("GET", "/api/files")
        assert refused.value.status == 401


def test_an_unknown_host_has_no_vault(owners: dict[str, Server]) -> None:
    answer = asked(host("nobody"), "/api/files")
    assert (answer.status, json.loads(answer.data)["type"]) == (404, "urn:auricle:problem:not-found")


def test_a_recording_becomes_a_transcript_and_its_bytes_lie_in_its_tenant_s_bucket(
    owners: dict[str, Server], platform: Platform
) -> None:
    server = owners["acme"]
    file = uploaded(server, MEETING)
    assert finished(server, run_of(server, file), 420)["state"] == "succeeded"
    assert b"budget" in transcript(server, file).lower()
    location = server._request("GET", f"/api/files/{file}/content", None, {}).headers["Location"]
    assert location.startswith(f"https://{host('acme')}/auricle-acme/")
    assert asked(host("acme"), location.removeprefix(f"https://{host('acme')}")).data == MEETING.read_bytes()
    for name, path in (("beta", location), ("acme", location.replace("/auricle-acme/", "/auricle-beta/"))):
        answer = asked(host(name), path.removeprefix(f"https://{host('acme')}"))
        assert (answer.status, json.loads(answer.data)["type"]) == (404, "urn:auricle:problem:not-found")
    assert list(owners["beta"].pages("/api/files")) == []


def test_what_is_dropped_into_a_bucket_is_told_to_that_tenant_by_way_of_the_gateway(
    owners: dict[str, Server], platform: Platform
) -> None:
    prefix = owners["beta"].call("POST", "/api/drops", {"name": "any.flac"})["prefix"]
    (managed,) = objects("managedsecret", "bucket", "-n", "auricle-beta")
    keys = secret_of("auricle-beta", managed["status"]["current"])
    (store,) = platform.get("svc", "object-store")
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{store['spec']['clusterIP']}:9000",
        aws_access_key_id=keys["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    client.put_object(Bucket="auricle-beta", Key=f"{prefix}dropped.flac", Body=MEETING.read_bytes())
    until("the notification makes a file", lambda: [f["name"] for f in owners["beta"].pages("/api/files")], 90, 1)
    assert [f["name"] for f in owners["beta"].pages("/api/files")] == ["dropped.flac"]


def secret_of(namespace: str, name: str) -> dict[str, str]:
    import base64

    (found,) = objects("secret", name, "-n", namespace)
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


# Changed


def test_a_new_domain_leads_to_the_vault_and_no_gateway_is_restarted(owners: dict[str, Server], platform: Platform) -> None:
    before = gateways(platform)
    assert asked(host("second"), "/api/files").status == 404
    change("beta", domains=[host("beta"), host("second")])
    began = time.monotonic()
    until("the new name is known", lambda: asked(host("second"), "/api/files").status == 401, MOUNTED)
    print(f"a changed domain: {time.monotonic() - began:.0f} s")
    assert asked(host("beta"), "/api/files").status == 401
    assert gateways(platform) == before


def gateways(platform: Platform) -> list[tuple[str, int]]:
    pods = platform.pods("app.kubernetes.io/name=gateway")
    return sorted((p["metadata"]["uid"], p["status"]["containerStatuses"][0]["restartCount"]) for p in pods)


def change(name: str, **spec: object) -> None:
    kubectl("patch", "tenant", name, "--type=merge", "-p", json.dumps({"spec": spec}))


def test_a_suspended_host_says_so_to_people_and_programs_and_its_neighbour_works_on(owners: dict[str, Server]) -> None:
    auricle("tenants", "suspend", "beta")
    wait_phase("beta", "Suspended", 600)
    page = until("the page", lambda: refused_page(host("beta")), MOUNTED)
    assert b"This vault is suspended" in page.data
    said = asked(host("beta"), "/api/files")
    assert (said.status, json.loads(said.data)["type"]) == (503, "urn:auricle:problem:suspended")
    assert owners["acme"].call("GET", "/api/files")["items"]
    auricle("tenants", "resume", "beta")
    wait_phase("beta", "Ready", 600)
    until("it is back", lambda: asked(host("beta"), "/api/files").status == 401, MOUNTED, 2)


def refused_page(name: str) -> object:
    answer = asked(name, "/", Accept=BROWSER)
    return answer if answer.status == 503 and b"suspended" in answer.data else None


def test_an_operator_that_is_killed_comes_back_and_goes_on(owners: dict[str, Server], platform: Platform) -> None:
    logged.append(platform.logs("auricle-operator"))
    before = platform.pod("auricle-operator")["metadata"]["uid"]
    platform.kubectl("delete", "pod", "-l", "app.kubernetes.io/name=auricle-operator", "--grace-period=0", "--force")
    change("acme", displayName="ACME", quotas={"concurrentRuns": 3})
    until("another pod is ready", lambda: ready_operator(platform) not in ("", before), 180, 1)
    wait_for("tenant", "acme", seconds=300, Ready="True")
    assert owners["acme"].call("GET", "/api/files")["items"]


logged: list[str] = []
"""What operators wrote that are no more."""


def ready_operator(platform: Platform) -> str:
    """The uid of the operator's pod, once it is Ready."""
    for pod in platform.pods("app.kubernetes.io/name=auricle-operator"):
        held = {c["type"] for c in pod["status"].get("conditions", ()) if c["status"] == "True"}
        if "Ready" in held and "deletionTimestamp" not in pod["metadata"]:
            return str(pod["metadata"]["uid"])
    return ""


def test_no_secret_stands_in_any_log_status_or_event(owners: dict[str, Server], platform: Platform) -> None:
    values = secret_values(SYSTEM, *(f"auricle-{name}" for name in NAMES))
    assert len(values) > 30
    said = {
        "the operator's log": "".join((*logged, platform.logs("auricle-operator"))),
        "the gateway's log": platform.logs("gateway"),
        "statuses": json.dumps([o for kind in ("tenants", "managedsecrets") for o in objects(kind, "-A")]),
        "events": json.dumps(objects("events", "-A")),
    }
    assert all(len(text) > 500 for text in said.values())
    assert [(what, where) for what, text in said.items() for value, where in values.items() if value in text] == []


# Two operators


def peers() -> dict[str, int]:
    """Operators that are awake, and the number of each; the highest works."""
    (found,) = objects("clusterkopfpeerings.kopf.dev", "auricle-operator")
    return {name: said["priority"] for name, said in found.get("status", {}).items()}


def at_work(platform: Platform, pod: str) -> bool:
    """Whether an operator does anything: each waits when it starts, until it has seen who else is awake."""
    said = platform.kubectl("logs", pod)
    return said.count("Resuming operations") > said.count("Pausing operations")


def test_of_two_operators_one_works_and_when_it_is_killed_the_other_takes_over(
    owners: dict[str, Server], platform: Platform
) -> None:
    logged.append(platform.logs("auricle-operator"))
    platform.components = ["operator-pair"]
    platform.update()
    until("both are awake", lambda: len(peers()) == 2 and not platform.unavailable(), 180, 1)
    *_, (_, waiting), (_, working) = sorted((number, name) for name, number in peers().items())
    until(
        "one works, and the other one does not",
        lambda: (at_work(platform, working), at_work(platform, waiting)) == (True, False),
    )
    change("acme", quotas={"concurrentRuns": 4})
    wait_for("tenant", "acme", seconds=300, Ready="True")
    platform.kubectl("delete", "pod", working, "--grace-period=0", "--force")
    change("acme", quotas={"concurrentRuns": 5})
    until("the other one works", lambda: at_work(platform, waiting), 120, 1)
    began = time.monotonic()
    wait_for("tenant", "acme", seconds=300, Ready="True")
    print(f"the other one took over and was done after {time.monotonic() - began:.0f} s")
    (service,) = objects("services.serving.knative.dev", "api", "-n", "auricle-acme")
    config = service["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    assert objects("configmap", config, "-n", "auricle-acme")[0]["data"]["MAX_RUNS"] == "5"


# Ended


def test_a_tenant_ends_with_a_dump_of_its_database_in_its_bucket(owners: dict[str, Server], platform: Platform) -> None:
    change("beta", deletionPolicy="snapshot")
    kubectl("delete", "tenant", "beta", "--wait=false")
    until("beta is gone", lambda: [t["metadata"]["name"] for t in objects("tenants")] == ["acme"], 400, 2)
    root = secret_of(SYSTEM, "object-store")
    (store,) = platform.get("svc", "object-store")
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{store['spec']['clusterIP']}:9000",
        aws_access_key_id=root["MINIO_ROOT_USER"],
        aws_secret_access_key=root["MINIO_ROOT_PASSWORD"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    keys = [found["Key"] for found in client.list_objects_v2(Bucket="auricle-beta")["Contents"]]
    assert [key for key in keys if key.startswith("snapshots/") and key.endswith(".dump")]
    until("its host is nobody's", lambda: asked(host("beta"), "/api/files").status == 404, MOUNTED, 2)
    assert owners["acme"].call("GET", "/api/files")["items"]

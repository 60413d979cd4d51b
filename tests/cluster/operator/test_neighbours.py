"""Five tenants side by side on one database server, one object store and one Knative: one of them tries to reach another.

First with its own walls down, so that it gets to every door: what holds then holds without network policies. Then with them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cluster import elsewhere
from cluster.deployment import apply, kubectl, objects, until
from cluster.operator.running import Operator, let_go, tenant, wait_for
from cluster.operator.vaults import Vault

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
NAMES = [f"side-{n}" for n in range(1, 6)]

ATTEMPTS = r"""
import hashlib, json, os, urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from sqlalchemy.engine import make_url
import pg8000.native

other, namespace, ingress = os.environ["OTHER"], "auricle-" + os.environ["OTHER"], os.environ["INGRESS"]
http = urllib3.PoolManager(timeout=20, retries=False)
done = {}

def attempt(name):
    def run(act):
        try:
            done[name] = str(act())
        except Exception as error:
            code = error.args[0].get("C", "") if error.args and isinstance(error.args[0], dict) else ""
            done[name] = f"{type(error).__name__} {code}".strip()
    return run

url = make_url(os.environ["DATABASE_URL"])
def session(database):
    return pg8000.native.Connection(url.username, password=url.password, host=url.host, port=url.port, database=database, timeout=20)

@attempt("own database")
def _(): return session(url.database).run("select 1")
@attempt("their database")
def _(): return session(os.environ["THEIR_DATABASE"]).run("select count(*) from files")
@attempt("the server's own database")
def _(): return session("postgres").run("select usename from pg_shadow")
@attempt("their roles' passwords")
def _(): return session(url.database).run("select rolpassword from pg_authid")

def s3(method, path):
    address = os.environ["S3_ENDPOINT"] + path
    request = AWSRequest(method, address, headers={"x-amz-content-sha256": hashlib.sha256(b"").hexdigest()})
    keys = Credentials(os.environ["S3_ACCESS_KEY_ID"], os.environ["S3_SECRET_ACCESS_KEY"])
    S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
    return http.request(method, address, headers=dict(request.headers)).status

@attempt("own bucket")
def _(): return s3("GET", "/" + os.environ["S3_BUCKET"] + "/none")
@attempt("list their bucket")
def _(): return s3("GET", "/" + namespace)
@attempt("read from their bucket")
def _(): return s3("GET", "/" + namespace + "/uploads/x")
@attempt("write into their bucket")
def _(): return s3("PUT", "/" + namespace + "/uploads/x")
@attempt("list all buckets")
def _(): return namespace in http.request("GET", os.environ["S3_ENDPOINT"] + "/").data.decode()

def ask(path, service="api", **headers):
    host = f"{service}.{namespace}.svc.cluster.local"
    return http.request("GET", f"http://{ingress}{path}", headers={"Host": host, **headers}).status

@attempt("their files with my token")
def _(): return ask("/api/files", Authorization="Bearer " + os.environ["TOKEN"])
@attempt("their files with my idea of who I am")
def _(): return ask("/api/files", **{"X-Auricle-Client-Certificate-Subject": "CN=owner", "X-Auricle-Client-Signature": "0:" + "0" * 64})

@attempt("Kubernetes")
def _(): return open("/var/run/secrets/kubernetes.io/serviceaccount/token").read()[:3]
print(json.dumps(done))
"""

WANTED = {
    "own database": "[[1]]",
    "own bucket": "404",
    "their database": "DatabaseError 42501",
    "the server's own database": "DatabaseError 42501",
    "their roles' passwords": "DatabaseError 42501",
    "list their bucket": "403",
    "read from their bucket": "403",
    "write into their bucket": "403",
    "list all buckets": "False",
    "their files with my token": "401",
    "their files with my idea of who I am": "401",
    "Kubernetes": "FileNotFoundError",
}


BEHIND_WALLS = dict.fromkeys(("their files with my token", "their files with my idea of who I am"), "ConnectTimeoutError")
OF_A_FUNCTION = {"auricle.dev/function": "files", "auricle.dev/image": "api"}


@pytest.fixture(scope="module")
def side_by_side(operator: Operator) -> Iterator[list[Vault]]:
    """All functions of five tenants, a Service per image; they end while the suites go on."""
    began = time.monotonic()
    apply(*(tenant(name, release="lane", plan="lane-small", domains=[f"{name}.example"]) for name in NAMES))
    for name in NAMES:
        wait_for("tenant", name, seconds=1500, Ready="True")
    print(f"five tenants with all their functions are Ready after {time.monotonic() - began:.0f} s")
    yield [Vault(name, grouped="api") for name in NAMES]
    let_go(*NAMES)


def test_five_tenants_with_all_functions_run_side_by_side(side_by_side: list[Vault]) -> None:
    for vault in side_by_side:
        assert until(f"{vault.tenant} answers", lambda vault=vault: vault.ask("GET", "/health").status == 200, 180)


@pytest.fixture(scope="module")
def attempts(side_by_side: list[Vault]) -> dict[str, str]:
    """What a pod of the first tenant holds that was taken over."""
    mine, theirs = side_by_side[:2]
    database = theirs.secret("database")["DATABASE_URL"].rpartition("/")[2].partition("?")[0]
    (config,) = [c for c in objects("configmap", "-n", mine.namespace) if c["metadata"]["name"].startswith("auricle-settings")]
    return {
        **{key: config["data"][key] for key in ("S3_ENDPOINT", "S3_BUCKET")},
        **mine.secret("database"),
        **mine.secret("bucket"),
        "OTHER": theirs.tenant,
        "THEIR_DATABASE": database,
        "INGRESS": mine.ingress,
        "TOKEN": mine.owner_token(),
    }


def test_one_reaches_nothing_of_another(side_by_side: list[Vault], attempts: dict[str, str]) -> None:
    mine, theirs = side_by_side[:2]
    with walls_down(mine):
        assert inside(mine, attempts) == WANTED
    with theirs.server() as server:
        assert server.call("GET", "/api/dead-letters")["items"] == []


def test_nor_does_it_get_to_their_doors(side_by_side: list[Vault], attempts: dict[str, str], walls_hold: None) -> None:
    mine, theirs = side_by_side[:2]
    assert inside(mine, attempts) == {**WANTED, **BEHIND_WALLS}
    until("they answer", lambda: theirs.ask("GET", "/health").status == 200, 180)
    (pod, *_) = objects("pod", "-n", theirs.namespace, "-l", "serving.knative.dev/service=api")
    ends = {
        "their function": (pod["status"]["podIP"], 8080),
        "its queue-proxy": (pod["status"]["podIP"], 8012),
        "their broker": (f"default-broker-ingress.{theirs.namespace}.svc.cluster.local", 80),
    }
    taken = elsewhere.begun(elsewhere.python_pod(mine.namespace, "taken", OF_A_FUNCTION))
    try:
        assert taken.reaches({"my broker": ("default-broker-ingress", 80)}) == {"my broker"}
        with walls_down(mine):  # theirs stand
            assert taken.reaches(ends) == set()
    finally:
        kubectl("-n", mine.namespace, "delete", "pod", "taken", "--wait=false")


@contextmanager
def walls_down(vault: Vault) -> Iterator[None]:
    """Nothing holds that tenant's pods back from the inside."""
    apply(elsewhere.policy(vault.namespace, "opened", policyTypes=["Egress"], egress=[{}]))
    try:
        yield
    finally:
        kubectl("-n", vault.namespace, "delete", "networkpolicy", "opened")


def inside(vault: Vault, environment: dict[str, str]) -> dict[str, str]:
    """What a pod of the tenant comes to, with all that its functions hold."""
    command = ["python", "-c", ATTEMPTS]
    held = [{"name": key, "value": value} for key, value in environment.items()]
    pod = elsewhere.python_pod(vault.namespace, "try", OF_A_FUNCTION, command, env=held)
    pod["spec"]["serviceAccountName"] = "api"
    apply(pod)

    def ended() -> bool:
        return objects("pod", "try", "-n", vault.namespace)[0]["status"]["phase"] in ("Succeeded", "Failed")

    until("the attempts are over", ended, 300)
    said = kubectl("-n", vault.namespace, "logs", "try")
    kubectl("-n", vault.namespace, "delete", "pod", "try")
    found: dict[str, str] = json.loads(said.strip().splitlines()[-1])
    return found

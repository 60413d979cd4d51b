"""Which host leads to whose vault, and which keys the gateway is given for it."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from auricle_operator.api.conditions import Truth
from auricle_operator.api.rules import API_VERSION
from auricle_operator.cluster import CONFIG, SECRET, SECRETS, TENANTS, Manifest
from auricle_operator.gateway import CERTIFICATE, CERTIFICATES, HOSTS, KEYS, certificates, hosts, reconcile_gateway
from auricle_operator.outside import Databases, ObjectStores
from auricle_operator.settings import Settings
from auricle_operator.world import World
from builders.nginx_gateway import certificate
from builders.operator_cluster import MemoryCluster

SETTINGS = Settings()
SYSTEM = SETTINGS.namespace


def tenant(name: str, *domains: str, born: int = 1, **spec: Any) -> Manifest:
    """A Tenant as the API server has it."""
    metadata = {"name": name, "creationTimestamp": f"2026-01-{born:02}T00:00:00Z"}
    return {
        "apiVersion": API_VERSION,
        "kind": "Tenant",
        "metadata": metadata,
        "spec": {"release": "r1", "domains": list(domains), **spec},
    }


def mapped(*tenants: Manifest) -> dict[str, str]:
    """What nginx reads."""
    return cast(dict[str, str], hosts(tenants, SETTINGS)[0]["data"])


# Whose host


def test_each_domain_leads_to_its_tenant_s_namespace_and_bucket() -> None:
    found = mapped(tenant("acme", "acme.example", "vault.acme.example"), tenant("beta", "beta.example"))
    assert found == {
        "acme.example": "open auricle-acme auricle-acme",
        "vault.acme.example": "open auricle-acme auricle-acme",
        "beta.example": "open auricle-beta auricle-beta",
    }


def test_prefixes_are_the_installation_s() -> None:
    made, _ = hosts([tenant("acme", "acme.example")], Settings(namespace="ops", prefix="vault-", bucket_prefix="b."))
    assert made["data"] == {"acme.example": "open vault-acme b.acme"}
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == (HOSTS, "ops")


def test_hosts_of_a_plan_with_a_service_per_image_say_so() -> None:
    both = [tenant("acme", "acme.example", plan="small"), tenant("beta", "beta.example", plan="standard")]
    assert hosts(both, SETTINGS, {"small"})[0]["data"] == {
        "acme.example": "open auricle-acme auricle-acme grouped",
        "beta.example": "open auricle-beta auricle-beta",
    }


def test_a_suspended_tenant_s_hosts_say_so() -> None:
    assert mapped(tenant("acme", "acme.example", suspended=True)) == {"acme.example": "suspended auricle-acme auricle-acme"}


def test_without_a_release_a_domain_is_claimed_and_leads_nowhere() -> None:
    waiting = tenant("acme", "acme.example", release=None)
    assert mapped(waiting) == {}
    _, findings = hosts([waiting, tenant("beta", "acme.example", born=2)], SETTINGS)
    assert findings["beta"].status is Truth.FALSE


@pytest.mark.parametrize("reversed_", [False, True])
def test_a_domain_of_two_is_the_older_one_s_and_the_younger_is_told(reversed_: bool) -> None:
    both = [tenant("zeta", "shared.example", born=1), tenant("acme", "shared.example", "acme.example", born=2)]
    made, findings = hosts(reversed(both) if reversed_ else both, SETTINGS)
    assert made["data"]["shared.example"] == "open auricle-zeta auricle-zeta"
    assert made["data"]["acme.example"] == "open auricle-acme auricle-acme"
    assert findings["zeta"].status is Truth.TRUE
    assert (findings["acme"].status, findings["acme"].reason) == (Truth.FALSE, "DomainTaken")
    assert findings["acme"].message == (
        "shared.example belongs to the tenant zeta, which is older: remove it from spec.domains of one of the two."
    )


def test_of_two_of_the_same_second_the_first_by_name_has_it() -> None:
    assert mapped(tenant("b", "x.example"), tenant("a", "x.example")) == {"x.example": "open auricle-a auricle-a"}


def test_whoever_is_being_deleted_claims_nothing_any_more() -> None:
    going = tenant("acme", "x.example")
    going["metadata"]["deletionTimestamp"] = "2026-02-01T00:00:00Z"
    made, findings = hosts([going, tenant("beta", "x.example", born=2)], SETTINGS)
    assert made["data"] == {"x.example": "open auricle-beta auricle-beta"}
    assert list(findings) == ["beta"]


# By which keys


def managed(namespace: str, purpose: str, current: str, name: str = "") -> Manifest:
    """A ManagedSecret with its status."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ManagedSecret",
        "metadata": {"name": name or purpose, "namespace": namespace},
        "spec": {"purpose": purpose, "source": {"generate": {}}, "secret": f"auricle-{purpose}"},
        "status": {"current": current},
    }


def secret(namespace: str, name: str, labels: dict[str, str] | None = None, **values: str) -> Manifest:
    """A Secret."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


@pytest.fixture
def cluster() -> MemoryCluster:
    """Two tenants with their keys."""
    made = MemoryCluster(lambda: datetime(2026, 1, 1, tzinfo=UTC))
    made.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    for name in ("acme", "beta"):
        made.put(tenant(name, f"{name}.example"))
        made.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"auricle-{name}"}})
        made.put(secret(f"auricle-{name}", "auricle-gateway-v1", GATEWAY_KEY=f"key-of-{name}"))
        made.put(secret(f"auricle-{name}", "auricle-bucket-token-v1", BUCKET_TOKEN=f"token-of-{name}"))
        made.put(secret(f"auricle-{name}", "auricle-database-v1", DATABASE_URL="postgresql://never"))
        made.put(managed(f"auricle-{name}", "gateway", "auricle-gateway-v1"))
        made.put(managed(f"auricle-{name}", "bucket-token", "auricle-bucket-token-v1"))
        made.put(managed(f"auricle-{name}", "database", "auricle-database-v1"))
    return made


def reconciled(cluster: MemoryCluster, *grouped: str) -> dict[str, str]:
    """What `gateway-keys` holds after a reconcile, but for where it came from."""
    world = World(
        cluster=cluster,
        databases=cast(Databases, None),
        stores=cast(ObjectStores, None),
        settings=SETTINGS,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )
    asyncio.run(reconcile_gateway(world, grouped))
    data = cluster.at(SECRET, KEYS, SYSTEM)["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items() if name != "from"}


def calls(cluster: MemoryCluster) -> list[tuple[str, str]]:
    """What one more reconcile asks for."""
    cluster.calls.clear()
    reconciled(cluster)
    return cluster.calls


def test_the_gateway_has_each_tenant_s_own_keys_and_nothing_else(cluster: MemoryCluster) -> None:
    assert reconciled(cluster) == {
        "gateway-key.auricle-acme": "key-of-acme",
        "gateway-key.auricle-beta": "key-of-beta",
        "bucket-token.auricle-acme": "auricle-acme token-of-acme",
        "bucket-token.auricle-beta": "auricle-beta token-of-beta",
    }
    assert cluster.at(CONFIG, HOSTS, SYSTEM)["data"]["acme.example"] == "open auricle-acme auricle-acme"


def test_where_nothing_changed_nothing_is_written_and_no_tenant_s_secret_is_read(cluster: MemoryCluster) -> None:
    reconciled(cluster)
    asked = calls(cluster)
    assert {verb for verb, _ in asked} == {"get", "list"}
    assert len(asked) == 7  # three lists, and our own objects


def test_a_plan_that_becomes_grouped_is_followed_without_reading_a_secret_again(cluster: MemoryCluster) -> None:
    reconciled(cluster)
    cluster.calls.clear()
    assert reconciled(cluster, "standard")["bucket-token.auricle-acme"] == "auricle-acme grouped token-of-acme"
    assert [verb for verb, _ in cluster.calls].count("get") == 4  # our own objects
    assert reconciled(cluster)["bucket-token.auricle-acme"] == "auricle-acme token-of-acme"


def test_a_rotated_key_is_taken_and_a_healed_one_put_back(cluster: MemoryCluster) -> None:
    reconciled(cluster)
    cluster.put(secret("auricle-acme", "auricle-gateway-v2", GATEWAY_KEY="newer,key-of-acme"))
    cluster.put(managed("auricle-acme", "gateway", "auricle-gateway-v2"))
    assert reconciled(cluster)["gateway-key.auricle-acme"] == "newer,key-of-acme"
    cluster.at(SECRET, KEYS, SYSTEM)["data"]["gateway-key.auricle-beta"] = base64.b64encode(b"forged").decode()
    assert reconciled(cluster)["gateway-key.auricle-beta"] == "key-of-beta"


def test_a_tenant_that_was_made_anew_under_its_name_has_its_new_keys(cluster: MemoryCluster) -> None:
    reconciled(cluster)
    cluster.remove(SECRETS, "gateway", "auricle-acme")
    cluster.put(secret("auricle-acme", "auricle-gateway-v1", GATEWAY_KEY="another"))
    cluster.put(managed("auricle-acme", "gateway", "auricle-gateway-v1"))
    assert reconciled(cluster)["gateway-key.auricle-acme"] == "another"


def test_emptied_objects_are_filled_again(cluster: MemoryCluster) -> None:
    before = reconciled(cluster)
    cluster.at(SECRET, KEYS, SYSTEM)["data"] = {"from": "!"}
    cluster.remove(CONFIG, HOSTS, SYSTEM)
    assert reconciled(cluster) == before
    assert len(cluster.at(CONFIG, HOSTS, SYSTEM)["data"]) == 2


def test_of_a_suspended_tenant_no_notification_is_passed_on(cluster: MemoryCluster) -> None:
    cluster.put(tenant("acme", "acme.example", suspended=True))
    assert "bucket-token.auricle-acme" not in reconciled(cluster)
    assert "bucket-token.auricle-beta" in reconciled(cluster)


def test_a_deleted_tenant_s_keys_go(cluster: MemoryCluster) -> None:
    reconciled(cluster)
    cluster.remove(TENANTS, "acme")
    assert not [name for name in reconciled(cluster) if "acme" in name]
    assert list(cluster.at(CONFIG, HOSTS, SYSTEM)["data"]) == ["beta.example"]


def test_keys_that_are_not_made_yet_are_waited_for(cluster: MemoryCluster) -> None:
    cluster.put(managed("auricle-acme", "gateway", ""))
    cluster.remove(SECRET, "auricle-gateway-v1", "auricle-beta")
    assert not [name for name in reconciled(cluster) if name.startswith("gateway-key")]


def test_secrets_of_other_namespaces_and_names_are_nobody_s(cluster: MemoryCluster) -> None:
    cluster.put(managed("auricle-acme", "gateway", "auricle-strange-v1", name="second"))
    cluster.put(secret("auricle-acme", "auricle-strange-v1", GATEWAY_KEY="strange"))
    cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}})
    cluster.put(managed("elsewhere", "gateway", "auricle-gateway-v1"))
    cluster.put(secret("elsewhere", "auricle-gateway-v1", GATEWAY_KEY="strange"))
    assert "strange" not in str(reconciled(cluster))


@pytest.mark.parametrize("at", range(1, 20))
def test_killed_at_any_moment_it_comes_to_the_same(cluster: MemoryCluster, at: int) -> None:
    whole = MemoryCluster()
    whole.objects = {**cluster.objects}
    wanted = reconciled(whole)
    world = World(
        cluster=cluster,
        databases=cast(Databases, None),
        stores=cast(ObjectStores, None),
        settings=SETTINGS,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )
    running = reconcile_gateway(world)
    for _ in range(at):
        try:
            running.send(None)
        except StopIteration:
            break
    running.close()
    assert reconciled(cluster) == wanted


# By which certificates


def tls(folder: Path, name: str, born: str = "2026-01-01T00:00:00Z") -> Manifest:
    """A TLS Secret as cert-manager makes it."""
    pair = certificate(folder, name)
    found = secret(SYSTEM, folder.name, {CERTIFICATE: "gateway"})
    found["metadata"]["creationTimestamp"] = born
    for key, path in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
        found["data"][key] = base64.b64encode(path.read_bytes()).decode()
    return found


def test_certificates_are_found_by_the_names_they_hold(tmp_path: Path) -> None:
    own, star = tls(tmp_path / "own", "acme.example"), tls(tmp_path / "star", "*.example")
    made = certificates(
        [own, star, secret(SYSTEM, "empty"), secret(SYSTEM, "junk", **{"tls.crt": "x", "tls.key": "y"})], SETTINGS
    )
    assert made["metadata"]["name"] == CERTIFICATES
    assert made["data"] == {"acme.example.crt": own["data"]["tls.crt"], "acme.example.key": own["data"]["tls.key"]}


def test_of_two_certificates_for_a_name_the_later_one_counts(tmp_path: Path) -> None:
    later = tls(tmp_path / "a", "acme.example", "2026-02-01T00:00:00Z")
    earlier = tls(tmp_path / "b", "acme.example")
    assert certificates([later, earlier], SETTINGS)["data"]["acme.example.crt"] == later["data"]["tls.crt"]


def test_only_labelled_certificates_are_gathered(cluster: MemoryCluster, tmp_path: Path) -> None:
    cluster.put(tls(tmp_path / "own", "acme.example"))
    cluster.put(secret(SYSTEM, "plain", **{"tls.crt": "x", "tls.key": "y"}))
    reconciled(cluster)
    assert sorted(cluster.at(SECRET, CERTIFICATES, SYSTEM)["data"]) == ["acme.example.crt", "acme.example.key"]

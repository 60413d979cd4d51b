"""What of a tenant's namespace may go where: to the servers that tenants share, wherever those are, and outside by its plan."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from auricle.deploy.release import config_map
from auricle_operator.cluster import NETWORK
from auricle_operator.settings import Settings
from auricle_operator.tenants.walls import walls
from builders.operator_tenants import HOME, House, this_release
from builders.operator_tenants import now as told


def ways(policy: str, **settings: Any) -> list[dict[str, Any]]:
    """Rules of one of the policies."""
    found = {m["metadata"]["name"]: m["spec"]["egress"] for m in walls(Settings(**settings), ["migrate"])}
    rules: list[dict[str, Any]] = found[policy]
    return rules


def space(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def server(name: str) -> dict[str, Any]:
    return {**space("auricle-system"), "podSelector": {"matchLabels": {"app.kubernetes.io/name": name}}}


def at(port: int) -> list[dict[str, Any]]:
    return [{"port": port, "protocol": "TCP"}]


def test_servers_beside_the_operator_are_reached_at_their_pods_and_ports() -> None:
    assert ways("to-object-store") == [{"to": [server("object-store")], "ports": at(9000)}]
    assert ways("to-database-from-jobs") == [{"to": [server("postgres")], "ports": at(5432)}]
    pooled = ways("to-database-from-functions", pooler_host="pgbouncer.auricle-system.svc.cluster.local:6432")
    assert pooled == [{"to": [server("postgres")], "ports": at(5432)}, {"to": [server("pgbouncer")], "ports": at(6432)}]


def test_a_service_of_another_namespace_is_reached_through_all_of_that_namespace() -> None:
    for name in ("pg-rw.databases.svc.cluster.local:5432", "pg-rw.databases.svc"):
        assert ways("to-database-from-functions", database_host=name) == [{"to": [space("databases")]}]


@pytest.mark.parametrize(
    ("host", "cidr", "port"),
    [
        ("192.0.2.7:5433", "192.0.2.7/32", 5433),
        ("192.0.2.7", "192.0.2.7/32", 5432),
        ("[2001:db8::7]:5432", "2001:db8::7/128", 5432),
    ],
)
def test_a_server_with_an_address_is_reached_there_alone(host: str, cidr: str, port: int) -> None:
    assert ways("to-database-from-jobs", database_host=host) == [{"to": [{"ipBlock": {"cidr": cidr}}], "ports": at(port)}]


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [("https://s3.example.com", 443), ("http://s3.example.com", 80), ("https://s3.example.com:8443/", 8443)],
)
def test_a_name_outside_is_reached_at_its_port_and_what_clouds_tell_their_machines_is_not(endpoint: str, port: int) -> None:
    ((way),) = ways("to-object-store", store_endpoint=endpoint)
    assert way["ports"] == at(port)
    assert [to["ipBlock"]["cidr"] for to in way["to"]] == ["0.0.0.0/0", "::/0"]
    assert "169.254.0.0/16" in way["to"][0]["ipBlock"]["except"]


def test_only_a_plan_with_other_houses_lets_mail_and_sign_in_out() -> None:
    house = House()
    house.plan("open", components=["other-houses"])
    house.tenant()
    house.settle()
    closed = set(house.cluster.there(NETWORK, HOME))
    house.tenant(plan="open")
    house.settle()
    assert set(house.cluster.there(NETWORK, HOME)) - closed == {"to-other-houses", "to-mail-server", "to-breach-list"}
    house.tenant()
    house.settle()
    assert set(house.cluster.there(NETWORK, HOME)) == closed


def test_a_plan_s_component_or_patch_that_does_not_fit_is_said_and_changes_nothing() -> None:
    house = House()
    house.plan("odd", components=["redis"])
    wrong = {"target": {"kind": "ResourceQuota"}, "patch": [{"op": "replace", "path": "/spec/none/x", "value": "1"}]}
    house.plan("torn", patches=[wrong])
    house.tenant()
    house.settle()
    there = house.cluster.there(NETWORK, HOME)
    house.plan("open", components=["other-houses"])
    before = this_release("r0")
    older = msgspec.structs.replace(before, components={k: v for k, v in before.components.items() if k != "other-houses"})
    house.cluster.put(config_map(older))
    for plan, release, words in (
        ("odd", "r1", "Invalid enum value 'redis'"),
        ("torn", "r1", "does not fit ResourceQuota auricle"),
        ("open", "r0", "release r0 is too old to have it"),
    ):
        house.tenant(plan=plan, release=release)
        house.settle()
        (said,) = [c for c in told(house)["status"]["conditions"] if c["type"] == "FunctionsReady"]
        assert (said["reason"], words in said["message"]) == ("CannotRender", True), said
        assert house.cluster.there(NETWORK, HOME) == there

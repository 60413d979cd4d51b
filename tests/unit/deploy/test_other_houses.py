"""Who may reach the outside: the functions that ask other houses, by a component that somebody chose, and nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from auricle.contract.function import registry
from auricle.deploy.catalogue import load
from auricle.deploy.render import GROUPS
from auricle.ports.certificates import CertificateCheckers
from auricle.ports.directory import Directories
from auricle.ports.oidc import OidcProviders
from auricle.runtime.rooms import IMAGES

MANIFESTS = Path(__file__).parents[3] / "manifests"
(POLICY,) = yaml.safe_load_all((MANIFESTS / "components" / "other-houses" / "network.yaml").read_text())


def asking() -> set[str]:
    """Every function that has somebody outside to ask."""
    load()
    ports = {OidcProviders, Directories, CertificateCheckers}
    return {route.function for route in registry.routes if ports & set(route.signature.kinds())}


def selected() -> set[str]:
    (expression,) = POLICY["spec"]["podSelector"]["matchExpressions"]
    assert (expression["key"], expression["operator"]) == ("auricle.dev/function", "In")
    return set(expression["values"])


def test_just_the_functions_that_ask_other_houses_reach_the_outside() -> None:
    together = {GROUPS.get(IMAGES[name], name) for name in asking() if name != "identity"}
    assert selected() == asking() | together
    assert asking() == {"identity", "settings"}


def test_nobody_reaches_the_outside_unless_the_component_was_chosen() -> None:
    base: list[Any] = [
        thing for path in (MANIFESTS / "base" / "policies").glob("*.yaml") for thing in yaml.safe_load_all(path.read_text())
    ]
    policies = [thing for thing in base if thing and thing.get("kind") == "NetworkPolicy"]
    assert any(policy["spec"]["podSelector"] == {} and "Egress" in policy["spec"]["policyTypes"] for policy in policies)
    peers = [to for policy in policies for rule in policy["spec"].get("egress", []) for to in rule.get("to", [])]
    assert not [to for to in peers if "ipBlock" in to]


def test_what_clouds_tell_their_machines_is_not_outside() -> None:
    (rule,) = POLICY["spec"]["egress"]
    assert {net for to in rule["to"] for net in to["ipBlock"]["except"]} >= {"169.254.0.0/16"}
    assert {port["port"] for port in rule["ports"]} == {80, 389, 443, 636}

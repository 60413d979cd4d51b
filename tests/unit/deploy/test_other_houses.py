"""Who may reach the outside: the functions that ask others there, by a component that somebody chose, and nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from auricle.contract.function import registry
from auricle.deploy.catalogue import catalogue, load
from auricle.deploy.render import GROUPS
from auricle.identity.passwords import Passwords
from auricle.ports.certificates import CertificateCheckers
from auricle.ports.directory import Directories
from auricle.ports.oidc import OidcProviders

MANIFESTS = Path(__file__).parents[3] / "manifests"


def policies(path: str) -> list[dict[str, Any]]:
    """Network policies in a file or folder."""
    found = MANIFESTS / path
    files = found.glob("*.yaml") if found.is_dir() else [found]
    things = [thing for file in files for thing in yaml.safe_load_all(file.read_text())]
    return [thing for thing in things if thing and thing.get("kind") == "NetworkPolicy"]


OUTSIDE = {policy["metadata"]["name"]: policy["spec"] for policy in policies("components/other-houses/network.yaml")}


def asking(*ports: type) -> set[str]:
    """Every function with a route that has one of `ports`."""
    load()
    return {route.function for route in registry.routes if set(ports) & set(route.signature.kinds())}


def sharing(functions: set[str]) -> set[str]:
    """The Services that serve them where functions share one."""
    images = {entry.name: entry.image for entry in catalogue()}
    return {GROUPS.get(images[name], images[name].value) for name in functions}


def selected(policy: str, key: str) -> set[str]:
    (expression,) = OUTSIDE[policy]["podSelector"]["matchExpressions"]
    assert (expression["key"], expression["operator"]) == (key, "In")
    return set(expression["values"])


def ports(policy: str) -> set[int]:
    (rule,) = OUTSIDE[policy]["egress"]
    return {port["port"] for port in rule["ports"]}


def test_just_the_functions_that_ask_other_houses_reach_them() -> None:
    who = asking(OidcProviders, Directories, CertificateCheckers)
    assert who == {"identity", "settings"}
    assert selected("to-other-houses", "auricle.dev/function") == who | sharing(who - {"identity"})
    assert ports("to-other-houses") == {80, 389, 443, 636}


def test_just_those_that_hold_the_mail_servers_password_reach_it() -> None:
    functions = {entry.name for entry in catalogue() if "smtp_password" in entry.secrets}
    assert "letters" in functions
    jobs = {path.stem for path in (MANIFESTS / "base/jobs").rglob("*.yaml") if "SMTP_PASSWORD" in path.read_text()}
    assert selected("to-mail-server", "app.kubernetes.io/name") == functions | sharing(functions) | jobs
    assert ports("to-mail-server") == {25, 465, 587}


def test_whoever_sets_passwords_may_ask_whether_they_have_leaked() -> None:
    let_out = selected("to-other-houses", "auricle.dev/function")
    who = asking(Passwords)
    assert selected("to-breach-list", "auricle.dev/function") == who - let_out
    assert sharing(who - let_out) <= let_out
    assert ports("to-breach-list") == {443}


def test_nobody_reaches_the_outside_unless_the_component_was_chosen() -> None:
    base = policies("base/policies")
    assert any(policy["spec"]["podSelector"] == {} and "Egress" in policy["spec"]["policyTypes"] for policy in base)
    peers = [to for policy in base for rule in policy["spec"].get("egress", []) for to in rule.get("to", [])]
    assert not [to for to in peers if "ipBlock" in to]


def test_what_clouds_tell_their_machines_is_not_outside() -> None:
    rules = [
        rule
        for component in ("other-houses", "other-servers")
        for policy in policies(f"components/{component}/network.yaml")
        for rule in policy["spec"]["egress"]
    ]
    assert rules
    for rule in rules:
        assert {net for to in rule["to"] for net in to["ipBlock"]["except"]} >= {"169.254.0.0/16"}


def test_servers_outside_the_cluster_are_reached_by_whoever_reaches_those_inside() -> None:
    """The ways to a server of ours and those to somebody else's have the same beginnings."""

    def sources(path: str, port: int) -> set[tuple[str, str]]:
        found = set()
        for policy in policies(path):
            for rule in policy["spec"].get("egress", ()):
                if port in {said["port"] for said in rule.get("ports", ())}:
                    selector = policy["spec"]["podSelector"]
                    found |= {(key, value) for key, value in selector.get("matchLabels", {}).items()}
                    for said in selector.get("matchExpressions", ()):
                        found |= {(said["key"], value) for value in said.get("values", ["api", "identity", "media", "speech"])}
        return found

    ours = sources("components/postgres/network.yaml", 5432) | sources("components/monitoring/network.yaml", 5432)
    ours |= sources("base/operator/network.yaml", 5432)
    theirs = sources("components/other-servers/network.yaml", 5432)
    assert ours - theirs == {("app.kubernetes.io/name", "pgbouncer")}  # stays where its database is
    store = sources("components/object-store/network.yaml", 9000)
    found = {value for _, value in sources("components/other-servers/network.yaml", 443)}
    assert {value for _, value in store} <= found

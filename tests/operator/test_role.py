"""The operator's role: the table of what it touches, and nothing beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from auricle_operator.cluster import KINDS, Kind
from auricle_operator.role import FRAMEWORK, HOME, role, rules

Right = tuple[str, str, str]
"""(group, resource, verb)."""


def test_the_role_allows_exactly_what_the_table_says() -> None:
    everywhere, at_home = (granted(made["rules"]) for made in role() if "rules" in made)
    assert everywhere == wanted(kind for kind in (*KINDS, *FRAMEWORK) if not kind.home)
    assert at_home == wanted(kind for kind in KINDS if kind.home)


def test_it_hands_out_no_rights_and_enters_no_pod() -> None:
    allowed = granted(rule for made in role() for rule in made.get("rules", ()))
    assert not [right for right in allowed if "*" in right]
    assert not {group for group, _, _ in allowed} & {"rbac.authorization.k8s.io", "admissionregistration.k8s.io"}
    assert {(resource, verb) for group, resource, verb in allowed if not group and resource.startswith("pods")} == {
        ("pods", "list"),
        ("pods/log", "get"),
    }
    assert not {verb for _, _, verb in allowed} & {"impersonate", "bind", "escalate", "deletecollection", "update"}


def test_nobody_but_the_operator_has_the_role() -> None:
    bindings = [made for made in role() if "roleRef" in made]
    assert [binding["roleRef"]["kind"] for binding in bindings] == ["ClusterRole", "Role"]
    for binding in bindings:
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "auricle-operator", "namespace": HOME}]


def test_kinds_with_the_same_verbs_share_a_rule_and_a_status_is_patched() -> None:
    first, second = (Kind("a.dev/v1", name, name, True, ("get",), status=name == "two") for name in ("one", "two"))
    assert rules([first, second]) == [
        {"apiGroups": ["a.dev"], "resources": ["one", "two"], "verbs": ["get"]},
        {"apiGroups": ["a.dev"], "resources": ["two/status"], "verbs": ["patch"]},
    ]


def granted(said: Iterable[dict[str, Any]]) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in said
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def wanted(kinds: Iterable[Kind]) -> set[Right]:
    found = set()
    for kind in kinds:
        found |= {(kind.group, kind.plural, verb) for verb in kind.verbs}
        found |= {(kind.group, f"{kind.plural}/status", "patch")} if kind.status else set()
    return found

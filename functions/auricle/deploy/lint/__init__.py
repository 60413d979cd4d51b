"""What is wrong with manifests that schemas and webhooks do not see, for whoever writes or applies them.

`findings(objects, facts)` is pure: the output of `kubectl kustomize` in, sentences out. Rules are small functions in the
modules of this package; `RULES` is the table of them, and a rule's docstring is its documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from auricle.deploy.lint import (
    connections,
    containers,
    delivery,
    features,
    gpu,
    graph,
    keys,
    network,
    quotas,
    references,
    scaling,
    schedules,
    secrets,
    security,
    timeouts,
)
from auricle.deploy.lint.facts import EventKind, Facts, facts_for, knative_settings
from auricle.deploy.lint.places import Finding
from auricle.deploy.lint.rules import RULES, Rule
from auricle.deploy.lint.world import World

MODULES = (
    keys,
    scaling,
    timeouts,
    containers,
    security,
    secrets,
    features,
    gpu,
    delivery,
    graph,
    schedules,
    references,
    quotas,
    network,
    connections,
)
"""Where rules are; importing them fills the table."""


def findings(objects: Sequence[Mapping[str, Any]], facts: Facts) -> list[Finding]:
    """Everything that is wrong with `objects`, by object. Pure; objects of unknown kinds are left alone."""
    world = World(objects, facts)
    found = [finding for rule in RULES.values() for finding in rule.findings(world)]
    return sorted(found, key=lambda f: (f.object, f.path, f.rule))


__all__ = ["RULES", "EventKind", "Facts", "Finding", "Rule", "facts_for", "findings", "knative_settings"]

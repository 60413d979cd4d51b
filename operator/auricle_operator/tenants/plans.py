"""Plans: the numbers of a tenant (pods, memory, quota), as kustomize patches in a ConfigMap. Numbers never stand in code."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal

import msgspec
import yaml

from auricle.deploy.components import Component, patches_of
from auricle.errors import Invalid
from auricle_operator.cluster import Manifest
from auricle_operator.tenants.keys import Exchange

LABEL = "auricle.dev/plan"
KEY = "plan.yaml"


class Speech(StrEnum):
    """What speech functions run on."""

    DEMO = "demo"  # processors, and the models of the image
    CPU = "cpu"
    GPU = "gpu"


class Plan(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a tenant of it gets. `patches` are kustomize's, applied to everything in the namespace."""

    about: str = ""
    grouped: bool = False
    """One Service per image instead of one per function: fewer, and colder."""
    speech: Speech = Speech.DEMO
    components: tuple[Literal["other-houses"], ...] = ()
    """Of manifests/components those that a tenant has if its plan says so."""
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    patches: tuple[Any, ...] = ()
    exchange: dict[str, Exchange] = msgspec.field(default_factory=dict)
    """Purpose of a secret → how often it is exchanged."""

    def component(self) -> Component:
        """As something to apply."""
        return Component(settings=self.settings, patches=patches_of(self.patches))


def grouped(configs: Iterable[Manifest]) -> frozenset[str]:
    """Of ConfigMaps the plans with one Service per image. One that cannot be read has no functions, either."""
    found = set()
    for config in configs:
        if LABEL in config["metadata"].get("labels", {}):
            with suppress(Invalid):
                found |= {config["metadata"]["labels"][LABEL]} if decoded(config).grouped else set()
    return frozenset(found)


def decoded(found: Manifest) -> Plan:
    """The plan in a ConfigMap."""
    try:
        return _read(found["data"][KEY])
    except (KeyError, yaml.YAMLError, msgspec.MsgspecError) as error:
        raise Invalid(f"ConfigMap {found['metadata']['name']} holds no plan that can be read: {error}.") from error


@lru_cache(maxsize=64)  # asked for at every pass of every tenant, and YAML is slow
def _read(text: str) -> Plan:
    return msgspec.convert(yaml.safe_load(text), Plan)

"""How a type says what its fields alone cannot: rules in CEL, which the API server checks before anything is stored."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

GROUP = "auricle.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class Rule(msgspec.Struct, frozen=True):
    """One `x-kubernetes-validations` entry: `cel` is true of what is allowed, `message` says what to do otherwise.

    Fields with a default are always there (the API server fills them in before it checks), so only optional ones want `has()`.
    One that names `oldSelf` is checked when something changes; it must stand where something always is (`schema` sees to it).
    """

    cel: str
    message: str


class Column(msgspec.Struct, frozen=True):
    """One column of `kubectl get`. Those of priority 1 appear with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


class Written(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A part of a resource. Unknown fields are ignored: a newer CRD may know more than this operator."""

    RULES: ClassVar[tuple[Rule, ...]] = ()


def as_applied(part: Written) -> dict[str, Any]:
    """A status as server-side apply takes it, without empty maps: where something stood before, the API server makes null of
    one, and refuses that (seen with Kubernetes 1.34)."""
    return _without_empty_maps(msgspec.to_builtins(part))


def _without_empty_maps(value: dict[str, Any]) -> dict[str, Any]:
    kept = {key: _without_empty_maps(inner) if isinstance(inner, dict) else inner for key, inner in value.items()}
    return {key: inner for key, inner in kept.items() if inner != {}}


def about(text: str, *, unique: bool | str = False, **constraints: Any) -> msgspec.Meta:
    """A field's description, as `kubectl explain` shows it, and its constraints (`ge`, `pattern`, `max_length`, …).

    A list may be `unique`: True where its items are a set, or the name of the field that tells its items apart.
    """
    kept: dict[str, Any] = {}
    if unique is True:
        kept = {"x-kubernetes-list-type": "set"}
    elif unique:
        kept = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [unique]}
    return msgspec.Meta(description=text, extra_json_schema=kept, **constraints)


LONGEST_NAME = 40
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=LONGEST_NAME)]
"""A DNS label, short enough that names made of it stay below 63 letters."""
ObjectName = Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)]
"""Name of any object of Kubernetes; empty for none."""
Label = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
"""Value of a label."""
Duration = Annotated[str, msgspec.Meta(pattern=r"^([0-9]{1,6}(h|m|s))+$", max_length=20)]
"""As Go writes it: `2160h`, `1h30m`, `90s`. No longer than CEL can reckon with."""
Quantity = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$", max_length=20)]
"""As Kubernetes writes bytes: `500Gi`."""

NAMED = Rule(
    f"self.metadata.name.size() <= {LONGEST_NAME} && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    f"The name has more than {LONGEST_NAME} letters, or others than a-z, 0-9 and hyphens: other names are made of it.",
)
"""Of a whole resource: namespaces, buckets, databases and labels take its name into theirs."""

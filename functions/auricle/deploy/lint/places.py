"""Walking through Kubernetes objects without losing the way: a `Place` is a value and the path to it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, for a person."""

    rule: str
    object: str
    """`Kind/name`"""
    path: str
    sentence: str
    """What is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a rule found: where, what is wrong (continues the object's name), what to do about it."""

    place: Place
    wrong: str
    remedy: str

    def finding(self, rule: str) -> Finding:
        """As it is shown: `Kind/name is wrong so. Do this.`"""
        label = self.place.label
        return Finding(rule=rule, object=label, path=self.place.path, sentence=f"{label} {self.wrong}. {self.remedy}.")


@dataclass(frozen=True, slots=True)
class Place:
    """A value inside an object; `place / "spec" / "template"` goes deeper, and nothing is there when nothing is there."""

    root: Mapping[str, Any]
    path: str = ""
    value: Any = None

    @classmethod
    def top(cls, item: Mapping[str, Any]) -> Place:
        """The whole object."""
        return cls(item, "", item)

    def __truediv__(self, key: str) -> Place:
        """The place beneath `key`."""
        value = self.value.get(key) if isinstance(self.value, Mapping) else None
        step = f"[{key}]" if "." in key or "/" in key else f".{key}" if self.path else key
        return Place(self.root, f"{self.path}{step}", value)

    def each(self) -> Iterator[Place]:
        """The items of a list of mappings."""
        if isinstance(self.value, Sequence) and not isinstance(self.value, str):
            for number, item in enumerate(self.value):
                yield Place(self.root, f"{self.path}[{number}]", item)

    def fault(self, wrong: str, remedy: str) -> Fault:
        """Something is wrong here."""
        return Fault(self, wrong, remedy)

    @property
    def present(self) -> bool:
        """Whether anything is said here."""
        return self.value is not None

    @property
    def text(self) -> str:
        """The value as text; empty when there is none."""
        return "" if self.value is None else str(self.value)

    @property
    def mapping(self) -> Mapping[str, Any]:
        """The value as a mapping; empty when it is none."""
        return self.value if isinstance(self.value, Mapping) else {}

    @property
    def texts(self) -> dict[str, str]:
        """The value as names and texts, as labels are; empty when it is no mapping."""
        return {str(key): str(value) for key, value in self.mapping.items()}

    @property
    def words(self) -> list[str]:
        """The value as a list of texts; empty when it is no list."""
        listed = isinstance(self.value, Sequence) and not isinstance(self.value, str)
        return [str(word) for word in self.value if word is not None] if listed else []

    @property
    def number(self) -> float | None:
        """The value as a number; None when it is none."""
        return number(self.value)

    @property
    def kind(self) -> str:
        """The object's kind."""
        return str(self.root.get("kind", ""))

    @property
    def group(self) -> str:
        """The object's API group; empty for the core."""
        return str(self.root.get("apiVersion", "")).rpartition("/")[0]

    @property
    def name(self) -> str:
        """The object's name."""
        return (Place.top(self.root) / "metadata" / "name").text

    @property
    def namespace(self) -> str:
        """The object's namespace; empty when the overlay sets none."""
        return (Place.top(self.root) / "metadata" / "namespace").text

    @property
    def label(self) -> str:
        """`Kind/name`"""
        return f"{self.kind}/{self.name}"

    @property
    def labels(self) -> dict[str, str]:
        """The object's labels."""
        return (Place.top(self.root) / "metadata" / "labels").texts

    def annotation(self, key: str) -> Place:
        """An annotation of the object."""
        return Place.top(self.root) / "metadata" / "annotations" / key


_SUFFIXES = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}
_QUANTITY = re.compile(r"^([0-9]+(?:\.[0-9]+)?)([a-zA-Z]*)$")
_ISO = re.compile(
    r"^P(?=[0-9T])(?:(\d+(?:\.\d+)?)D)?(?:T(?=[0-9])(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?$"
)
_GO = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_GO_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def number(value: Any) -> float | None:
    """A number that may be written as text, as annotations are."""
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def quantity(value: Any) -> float | None:
    """A Kubernetes quantity (`250m`, `512Mi`) in its unit (cores, bytes, pieces)."""
    found = _QUANTITY.match(str(value))
    return float(found[1]) * _SUFFIXES[found[2]] if found and found[2] in _SUFFIXES else None


def iso_seconds(value: Any) -> float | None:
    """An ISO 8601 duration (`PT0.5S`, `PT6H`) in seconds, as Knative Eventing reads it."""
    found = _ISO.match(str(value))
    if not found:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def go_seconds(value: Any) -> float | None:
    """A Go duration (`90s`, `1h`, `1m30s`) in seconds, as Knative Serving reads it."""
    text = str(value)
    parts = _GO.findall(text)
    return sum(float(n) * _GO_UNITS[u] for n, u in parts) if parts and "".join(n + u for n, u in parts) == text else None

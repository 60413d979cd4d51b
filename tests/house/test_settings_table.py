"""Whatever administrators can set stands in one table, is checked where it is typed, and is read anew where it is used."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import auricle
from auricle.admin.configuration.changing import unknown
from auricle.admin.configuration.sections import SECTIONS
from auricle.contract.function import registry
from auricle.deploy.catalogue import load
from auricle.runtime.configured import DEFAULTS
from auricle.runtime.settings import Settings

load()


def sections() -> set[str]:
    """Every section that some module of the package has, as `module:NAME`."""
    root = Path(auricle.__path__[0]).parent
    found = set()
    for path in root.rglob("*.py"):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        found |= {f"{module}:{name}" for name in re.findall(r"^(\w+)(?:: .*)? = Section\(", path.read_text(), re.MULTILINE)}
    return found


def test_every_section_has_its_row() -> None:
    assert {row.section for row in SECTIONS.values()} == sections()
    assert {name: row.resolved().name for name, row in SECTIONS.items()} == {name: name for name in SECTIONS}


def test_every_section_of_one_has_values_of_the_environment() -> None:
    assert set(DEFAULTS) <= set(SECTIONS)
    for name, row in SECTIONS.items():
        if row.several or row.place:
            continue
        value = DEFAULTS[name](Settings())
        assert isinstance(value, row.resolved().type)
        assert msgspec.convert(msgspec.to_builtins(value), row.resolved().type) == value


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_what_a_section_shows_it_takes_back(name: str) -> None:
    kind = SECTIONS[name].resolved().type
    shown = msgspec.to_builtins(DEFAULTS[name](Settings())) if name in DEFAULTS else {}
    assert list(unknown(shown, msgspec.inspect.type_info(kind))) == []
    assert list(unknown({"no_such": 1}, msgspec.inspect.type_info(kind))) == ["no_such"]


def test_tests_of_sections_are_routes() -> None:
    declared = {f"{route.method} {route.path}" for route in registry.routes}
    assert {row.test for row in SECTIONS.values() if row.test} <= declared


def test_what_is_set_elsewhere_has_routes_there() -> None:
    written = {route.path for route in registry.routes if route.method == "PUT"}
    for row in SECTIONS.values():
        assert not row.place or any(path.startswith(row.place) for path in written)


def test_rows_say_what_they_are_about() -> None:
    assert all(row.about.endswith(".") and len(row.about) > 20 for row in SECTIONS.values())

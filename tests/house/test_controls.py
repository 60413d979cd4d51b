"""The table of controls in functions/README.md promises nothing that is not there."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from auricle.deploy.controls import CONTROLS, Control, controls

TESTS = Path(__file__).parents[1]
FAMILIES = ("AC", "AU", "IA", "SC", "SI")


@pytest.mark.parametrize("control", controls(), ids=lambda control: control.id)
def test_a_control_names_modules_and_tests_that_exist(control: Control) -> None:
    assert control.modules
    assert control.tests
    assert [name for name in control.modules if find_spec(name) is None] == []
    for test in control.tests:
        place, _, name = test.partition("::")
        tree = ast.parse((TESTS / place).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


def test_controls_stand_once_in_the_order_of_the_catalogue() -> None:
    ids = [control.id for control in controls()]
    keys = [(name[:2], *map(int, re.findall(r"\d+", name))) for name in ids]
    assert {name[:2] for name in ids} == set(FAMILIES)
    assert keys == sorted(set(keys))
    assert CONTROLS.is_file()


def test_every_control_says_what_holds_in_a_sentence() -> None:
    assert all(control.how.endswith(".") and control.title for control in controls())

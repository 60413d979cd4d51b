"""The table of holes names every case, and files that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import auricle

HERE = Path(__file__).parent
ROWS = [line.split(" | ") for line in (HERE / "README.md").read_text().splitlines() if line.startswith("| ")][2:]


def test_every_case_has_its_row() -> None:
    defined = [
        node.name
        for path in HERE.glob("test_*.py")
        if path != Path(__file__)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert sorted(row[1].strip("`") for row in ROWS) == sorted(defined)


def test_what_closes_them_is_there() -> None:
    package = Path(auricle.__path__[0])
    named = {name for row in ROWS for name in re.findall(r"`([a-z_0-9/]+\.py)`", row[2])}
    assert [name for name in sorted(named) if not (package / name).exists()] == []
    assert all(re.search(r"[a-z]", row[2]) for row in ROWS)

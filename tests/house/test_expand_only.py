"""Migrations that `migrate` runs only add: functions of the release before still run beside them (`schema/env.py`)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from auricle.runtime.database import CONTRACTIONS, SCHEMA

EXPANSIONS = sorted((SCHEMA / "versions").glob("*.py"))
TAKES_AWAY = re.compile(
    r"\bdrop\s+(table|column|index|constraint|type|view|function|trigger|sequence|schema|extension|not\s+null\s+default)\b"
    r"|\brename\s+(to|column|constraint)\b|\bset\s+not\s+null\b|\balter\s+column\s+\S+\s+(set\s+data\s+)?type\b"
    r"|\btruncate\s+(table\s+)?(?!on\b)\w|\bdelete\s+from\b",
    re.IGNORECASE,
)
CALLS = re.compile(r"drop_\w+|rename_table|batch_alter_table")


def takings(source: str) -> Iterator[str]:
    """What a migration takes away when it is run forwards, as line numbers and words."""
    tree = ast.parse(source)
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "downgrade":
            continue
        for node in ast.walk(statement):
            yield from _call(node) if isinstance(node, ast.Call) else _words(node)


def _words(node: ast.AST) -> Iterator[str]:
    """SQL; what functions of the database will do one day is their own business."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        for one in re.split(r"(?=\bcreate\s+(?:or\s+replace\s+)?function\b)", node.value, flags=re.IGNORECASE):
            body = re.sub(r"create\s+(or\s+replace\s+)?function.*?\$\$.*?\$\$", "", one, flags=re.IGNORECASE | re.DOTALL)
            if found := TAKES_AWAY.search(body):
                yield f"{node.lineno}: {found[0]}"


def _call(node: ast.Call) -> Iterator[str]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    given = {word.arg: word.value for word in node.keywords}
    if CALLS.fullmatch(name):
        yield f"{node.lineno}: {name}"
    if name == "alter_column":
        narrows = {"new_column_name", "type_"} & set(given)
        if narrows or not _is(given.get("nullable"), True):
            yield f"{node.lineno}: alter_column {', '.join(sorted(narrows))}"
    if name == "add_column":
        yield from (f"{node.lineno}: add_column without a default" for column in node.args[1:] if _demands(column))


def _demands(column: ast.expr) -> bool:
    """Whether rows of older functions would be refused for want of it."""
    given = {word.arg: word.value for word in column.keywords} if isinstance(column, ast.Call) else {}
    return not _is(given.get("nullable", ast.Constant(True)), True) and "server_default" not in given


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("path", EXPANSIONS, ids=lambda path: path.stem)
def test_an_expansion_takes_nothing_away(path: Path) -> None:
    assert list(takings(path.read_text())) == []


def test_there_are_expansions() -> None:
    assert len(EXPANSIONS) >= 13


TAKING = {
    "a table": 'op.drop_table("files")',
    "a column": 'op.drop_column("files", "name")',
    "an index": 'op.drop_index("files_by_name", "files")',
    "a name": 'op.rename_table("files", "things")',
    "a column's name": 'op.alter_column("files", "name", new_column_name="title")',
    "a column's type": 'op.alter_column("files", "name", type_=sa.Integer(), nullable=True)',
    "the right to say nothing": 'op.alter_column("files", "name", nullable=False)',
    "a default": 'op.alter_column("files", "name", server_default=None)',
    "a column by SQL": 'op.execute("alter table files drop column name")',
    "a table by SQL": 'op.execute("DROP TABLE IF EXISTS files")',
    "a name by SQL": 'op.execute("alter table files rename to things")',
    "a type by SQL": 'op.execute("alter table files alter column name type int")',
    "rows by SQL": 'op.execute("delete from files")',
    "all rows by SQL": 'op.execute("truncate files")',
    "the right to say nothing by SQL": 'op.execute("alter table files alter column name set not null")',
    "older functions' rows": 'op.add_column("files", sa.Column("more", sa.Text(), nullable=False))',
}


@pytest.mark.parametrize("what", TAKING)
def test_what_takes_away_is_noticed(what: str) -> None:
    assert list(takings(f"def upgrade():\n    {TAKING[what]}\n")) != []
    assert list(takings(f"def downgrade():\n    {TAKING[what]}\n")) == []


ADDING = {
    "a column": 'op.add_column("files", sa.Column("more", sa.Text(), nullable=True))',
    "a column with a default": 'op.add_column("f", sa.Column("n", sa.Text(), server_default="", nullable=False))',
    "a right to say nothing": 'op.alter_column("files", "name", nullable=True)',
    "a guard": 'op.execute("create trigger keep before delete on files for each row execute function keep()")',
    "a function": 'op.execute("create function f() returns void as $$ begin delete from files; end $$ language plpgsql")',
}


@pytest.mark.parametrize("what", ADDING)
def test_what_adds_is_let_be(what: str) -> None:
    assert list(takings(f"def upgrade():\n    {ADDING[what]}\n")) == []


def test_a_contraction_says_that_it_is_one_and_lies_apart() -> None:
    for path in CONTRACTIONS.glob("*.py"):
        assert (ast.get_docstring(ast.parse(path.read_text())) or "").startswith("Contract:"), path.name
    assert CONTRACTIONS.parent == SCHEMA
    assert not any("contract" in path.stem for path in EXPANSIONS)

"""Everything committed that is made from the code: the OpenAPI file, the tables in the READMEs, the functions' manifests.

`python -m auricle.deploy.documents` writes them; with `--check` it fails when one is out of step.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from auricle.access.permissions import written_table
from auricle.contract.function import registry
from auricle.deploy import generated
from auricle.deploy.catalogue import catalogue, first_line, load
from auricle.deploy.controls import controls
from auricle.deploy.openapi import document
from auricle.runtime import figures, metrics
from auricle.runtime.settings import Settings

PACKAGE = Path(__file__).parent.parent
ROOT = PACKAGE.parent.parent
OPENAPI = PACKAGE / "openapi.json"
README = PACKAGE.parent / "README.md"


def main(check: bool) -> int:
    """Write what is out of step, or say what is; returns how many were."""
    wanted = {OPENAPI: openapi_text(), README: with_tables(README.read_text()), **generated.files()}
    return generated.settle(wanted, generated.superfluous(), check=check, command="python -m auricle.deploy.documents")


def openapi_text() -> str:
    """The OpenAPI document as it is committed."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=1).decode() + "\n"


def with_tables(text: str) -> str:
    """`text` with every `<!-- table:NAME -->…<!-- end -->` block made anew."""
    for name, table in TABLES.items():
        block = re.compile(rf"(<!-- table:{name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not block.search(text):
            raise LookupError(f"functions/README.md has no place for the table {name!r}")
        made = table()
        text = block.sub(lambda found, made=made: found[1] + made + found[2], text)  # type: ignore[misc]
    return text


def functions_table() -> str:
    """Every function: what it hears or serves, in which image, with which secrets."""
    rows = []
    for entry in catalogue():
        heard = ", ".join(f"`{k}={v}`" for k, v in (entry.filter or {}).items())
        if entry.filter == {}:
            heard = "dead letters"
        served = ", ".join(f"`{path}`" for path in entry.paths)
        secrets = ", ".join(s.upper() for s in entry.secrets) or "none"
        rows.append((f"`{entry.name}`", entry.summary, entry.image, entry.scale, heard or served, secrets))
    return _table(("function", "what it does", "image", "scale", "hears or serves", "secrets"), rows)


def events_table() -> str:
    """Every event type: who hears it."""
    load()
    heard: dict[type, list[str]] = {}
    for stage in registry.stages.values():
        for kind in (*stage.on, *stage.replies):
            heard.setdefault(kind, [])
        for kind in stage.on:
            heard[kind].append(f"`{stage.function}`")
    rows = [
        (f"`{kind.TYPE}`", first_line(kind.__doc__), ", ".join(sorted(names)) or "whoever listens")  # type: ignore[attr-defined]
        for kind, names in sorted(heard.items(), key=lambda item: item[0].TYPE)  # type: ignore[attr-defined]
    ]
    return _table(("event", "what happened", "heard by"), rows)


def settings_table() -> str:
    """Every setting: variable, default, meaning (the text beneath the field)."""
    (body,) = [n for n in ast.parse(inspect.getsource(Settings)).body if isinstance(n, ast.ClassDef)]
    rows = []
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            assert isinstance(text.value, ast.Constant)
            default = getattr(Settings(), field.target.id)
            shown = f"`{default}`" if default != "" else ""
            rows.append((f"`{field.target.id.upper()}`", shown, " ".join(str(text.value.value).split())))
    return _table(("variable", "default", "meaning"), rows)


def metrics_table() -> str:
    """Every metric: its kind, its labels, what it says."""
    rows = [
        (f"`{series.name}`", series.kind.value, ", ".join(f"`{label}`" for label in series.labels), series.help)
        for series in (*metrics.PROCESS_SERIES, *figures.SERIES)
    ]
    return _table(("metric", "kind", "labels", "what it says"), rows)


def controls_table() -> str:
    """Every control: what holds, what makes it hold, and what shows it."""
    rows = [
        (
            f"**{control.id}** {control.title}",
            control.how,
            ", ".join(f"`{name.removeprefix('auricle.')}`" for name in control.modules),
            "; ".join(f"`{test.partition('::')[0]}`: {_read(test.partition('::')[2])}" for test in control.tests),
        )
        for control in controls()
    ]
    return _table(("control", "what holds", "by", "shown by"), rows)


def _read(test: str) -> str:
    """A test's name as the sentence that it is."""
    return test.removeprefix("test_").replace("_", " ")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


TABLES: dict[str, Callable[[], str]] = {
    "functions": functions_table,
    "events": events_table,
    "settings": settings_table,
    "metrics": metrics_table,
    "controls": controls_table,
    "permissions": written_table,
}

if __name__ == "__main__":
    raise SystemExit(1 if main(check="--check" in sys.argv) and "--check" in sys.argv else 0)

"""Which function serves a path: one order, whether our own gateway looks it up or nginx reads it from a generated file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Row(NamedTuple):
    """One template of the table. A part is a word, or None where the template has a hole (`{file_id}`)."""

    parts: tuple[str | None, ...]
    function: str


def rows(routes: Mapping[str, str]) -> list[Row]:
    """`routes` (template → function) with the most specific first: words before holes, from left to right."""
    found = {Row(parts(template), function) for template, function in routes.items()}
    return sorted(found, key=lambda row: (tuple((p is None, p or "") for p in row.parts), row.function))


def parts(path: str) -> tuple[str | None, ...]:
    """The words of a path or template; slashes at its ends do not count."""
    return tuple(None if part.startswith("{") else part for part in path.strip("/").split("/"))


def fits(row: Row, asked: tuple[str | None, ...]) -> bool:
    """Whether the path that consists of `asked` is one of the row's."""
    return len(row.parts) == len(asked) and all(t in (None, a) for t, a in zip(row.parts, asked, strict=True))

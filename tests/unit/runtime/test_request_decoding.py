"""Queries as they are decoded: what may be said several times, and what once."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from auricle.contract.choices import Permission, Scale
from auricle.contract.function import Route, Signature
from auricle.contract.http import Query
from auricle.errors import Invalid
from auricle.runtime import decoding

Few = Annotated[tuple[int, ...], msgspec.Meta(max_length=3)]


class Asked(Query, frozen=True, kw_only=True):
    word: str = ""
    listed: list[str] = msgspec.field(default_factory=list)
    numbers: Few = ()
    either: tuple[str, ...] | None = None
    tuple_like: str = "a name says nothing"


def handler(asked: Asked) -> None:
    """Of no route."""


def asked(query: str) -> Asked:
    signature = Signature.of(handler)
    route = Route(
        function="f",
        name="n",
        method="GET",
        path="/x",
        permission=Permission.PUBLIC,
        status=200,
        scale=Scale.INTERACTIVE,
        handler=handler,
        signature=signature,
        path_parameters=(),
        query="asked",
    )
    found: Asked = decoding.values(route, Request(EnvironBuilder(query_string=query).get_environ()))["asked"]
    return found


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        ("word=a", "word", "a"),
        ("listed=a", "listed", ["a"]),
        ("listed=a&listed=b", "listed", ["a", "b"]),
        ("numbers=1&numbers=2", "numbers", (1, 2)),
        ("either=a&either=b", "either", ("a", "b")),
        ("tuple_like=a", "tuple_like", "a"),
    ],
)
def test_a_list_takes_what_is_said_once_or_several_times(query: str, field: str, value: object) -> None:
    assert getattr(asked(query), field) == value


@pytest.mark.parametrize("query", ["word=a&word=b", "tuple_like=a&tuple_like=b"])
def test_anything_else_is_said_once(query: str) -> None:
    with pytest.raises(Invalid, match=r"2 times; say it once"):
        asked(query)


def test_a_bound_of_a_list_holds() -> None:
    with pytest.raises(Invalid, match="query is not right"):
        asked("numbers=1&numbers=2&numbers=3&numbers=4")

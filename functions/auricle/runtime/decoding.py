"""What a request says, as the values that its route takes: path, query, headers, and a body of JSON or a form."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, NoReturn, Union, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
from flask import Request

from auricle.contract.function import Route
from auricle.contract.http import Form
from auricle.errors import Invalid, NotFound, Rejected, TooLarge
from auricle.runtime.limits import MAX_BODY

FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 32


def path_value(route: Route, name: str, text: str) -> Any:
    """What stands at a place of the path; `NotFound` where that can name nothing."""
    try:
        return msgspec.convert(text, route.signature.parameters[name], strict=False)
    except msgspec.ValidationError:
        raise NotFound(f"There is no such {name.removesuffix('_id').replace('_', ' ')}: {text!r} is not an id.") from None


def values(route: Route, request: Request) -> dict[Any, Any]:
    """What the request says beside its path, decoded."""
    parameters, found = route.signature.parameters, dict[Any, Any]()
    if route.query:
        found[route.query] = _query(parameters[route.query], request)
    if route.body:
        found[route.body] = _body(parameters[route.body], request)
    return found | {name: request.headers.get(header) for name, header in route.headers.items()}


def account_named(route: Route, given: Mapping[Any, Any]) -> str | None:
    """The account as it was typed, where somebody is asked for by name."""
    return getattr(given[route.body], "email", None) if route.body else None


def _query(kind: Any, request: Request) -> Any:
    several = _several(kind)
    found: dict[str, Any] = {}
    for name, texts in request.args.lists():
        if len(texts) > 1 and name not in several:
            raise Invalid(f"The query says {name} {len(texts)} times; say it once.")
        found[name] = texts if name in several else texts[0]
    return _converted(found, kind, "query")


@cache
def _several(kind: Any) -> frozenset[str]:
    """The fields of a query that may be said more than once."""
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind) if _is_list(field.type))


def _is_list(kind: Any) -> bool:
    if get_origin(kind) is Annotated:
        return _is_list(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return any(_is_list(part) for part in get_args(kind))
    return (get_origin(kind) or kind) in (list, tuple)


def received(request: Request) -> bytes:
    """The whole body; `TooLarge` beyond `MAX_BODY` bytes."""
    if (request.content_length or 0) > MAX_BODY:
        raise TooLarge(f"A request body has at most {MAX_BODY} bytes. Media goes up in parts: POST /api/uploads.")
    data = request.get_data()
    if len(data) > MAX_BODY:
        raise TooLarge(f"A request body has at most {MAX_BODY} bytes.")
    return data


def _body(kind: Any, request: Request) -> Any:
    data = received(request)
    if issubclass(kind, Form):
        return _form(kind, request, data)
    if data and request.mimetype not in ("application/json", ""):
        raise _Unsupported(f"Send JSON (Content-Type: application/json), not {request.mimetype}.")
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except msgspec.ValidationError as error:
        _complain("body", error)
    except msgspec.DecodeError as error:
        raise Invalid(f"The body is not JSON: {error}.") from None


def _form(kind: type[Form], request: Request, data: bytes) -> Any:
    """A form's fields, each at most once (RFC 6749, 3.2)."""
    if request.mimetype != FORM:
        raise _Unsupported(f"Send a form (Content-Type: {FORM}), not {request.mimetype or 'anything else'}.")
    try:
        pairs = parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Invalid(f"The form cannot be read, or has more than {MOST_FIELDS} fields.") from None
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise Invalid("The form says one thing twice.")
    return _converted(dict(pairs), kind, "form")


class _Unsupported(Rejected):
    """Another media type than the one that is read here."""

    status = 415
    title = "Unsupported media type"


def _converted(found: Mapping[str, Any], kind: Any, where: str) -> Any:
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        _complain(where, error)


def _complain(where: str, error: msgspec.ValidationError) -> NoReturn:
    """The decoder's complaint as a sentence with the place."""
    message, _, place = str(error).partition(" - at ")
    field = place.strip("`").removeprefix("$").removeprefix(".")
    at = f" at {field}" if field else ""
    raise Invalid(f"The {where} is not right{at}: {message}.", field=field or None) from None

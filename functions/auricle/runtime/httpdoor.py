"""The HTTP door: routes, authenticates, authorises, decodes, opens the unit of work, encodes, translates errors.

Routes are plain Python: values in, values out. Writes with an `Idempotency-Key` have their effect once.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, NoReturn
from urllib.parse import quote

import msgspec
from flask import Request, Response
from sqlalchemy import Column, Connection, DateTime, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text, Uuid, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge
from werkzeug.http import parse_etags
from werkzeug.routing import Map, Rule

from auricle.access.actions import authenticate
from auricle.access.model import Principal
from auricle.access.store import TokenStore
from auricle.contract.choices import Permission
from auricle.contract.function import Route
from auricle.contract.http import Download, Redirect, Reply, Stream
from auricle.errors import AuricleError, Denied, Invalid, NotFound, Rejected, TooLarge
from auricle.runtime.limits import MAX_BODY
from auricle.runtime.outbox import OutboxBus
from auricle.runtime.problems import MEDIA_TYPE, Problem, problem_of
from auricle.runtime.telemetry import trace_id, traced
from auricle.runtime.wiring import Wiring, needs_unit
from auricle.schema import metadata

log = logging.getLogger(__name__)
IDEMPOTENT_FOR = timedelta(hours=24)
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("principal_id", Uuid, nullable=False),
    Column("route", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("status", Integer),
    Column("headers", JSONB),
    Column("body", LargeBinary),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("principal_id", "route", "key"),
)


class HttpDoor:
    """The door of some routes."""

    def __init__(self, routes: Iterable[Route], wiring: Wiring) -> None:
        """`wiring` provides what the routes' signatures name."""
        self._wiring = wiring
        self._map = Map(strict_slashes=False, merge_slashes=False)
        for route in routes:
            path = route.path.replace("{", "<").replace("}", ">")
            self._map.add(Rule(path, methods=[route.method], endpoint=route))

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        with traced(request.headers.get("traceparent")):
            try:
                route, path = self._match(request)
                response = self._serve(route, path, request)
            except HTTPException as error:
                response = problem_response(_foreign(error))
            except AuricleError as error:
                response = problem_response(problem_of(error))
            except Exception as error:
                log.exception("%s %s failed", request.method, request.path)
                response = problem_response(problem_of(error))
            response.headers["X-Request-Id"] = trace_id() or ""
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            response.headers.setdefault("Cache-Control", "no-store")
            return response

    def _match(self, request: Request) -> tuple[Route, Mapping[str, str]]:
        adapter = self._map.bind("", url_scheme="http")
        method = "GET" if request.method == "HEAD" else request.method
        try:
            return adapter.match(request.path, method)
        except MethodNotAllowed:
            raise
        except HTTPException:
            raise NotFound(f"There is nothing at {request.path}. The interface is described at /api/docs.") from None

    def _serve(self, route: Route, path: Mapping[str, str], request: Request) -> Response:
        given: dict[Any, Any] = {}
        for name in route.path_parameters:
            given[name] = _path_value(route, name, path[name])
        if route.query:
            given[route.query] = _query(route.signature.parameters[route.query], request)
        if route.body:
            given[route.body] = _body(route.signature.parameters[route.body], request)
        for name, header in route.headers.items():
            given[name] = request.headers.get(header)
        if route.permission is Permission.PUBLIC and not needs_unit(route.signature):
            return self._run(route, request, given)  # /health answers while the database is away
        with self._wiring.database.work() as connection:
            bus = self._wiring.bus(connection)
            given |= {Connection: connection, OutboxBus: bus}
            principal = self._principal(route, request, connection)
            if principal is not None:
                given[Principal] = principal
            response = self._once(route, request, connection, principal, given)
        self._wiring.outbox.flush(bus.sent)
        return response

    def _principal(self, route: Route, request: Request, connection: Connection) -> Principal | None:
        if route.permission is Permission.PUBLIC:
            return None
        principal = authenticate(request.headers.get("Authorization"), TokenStore(connection))
        if not principal.may(route.permission):
            raise Denied(
                f"This token may not do that: it lacks the scope {route.permission.value}.", scope=route.permission.value
            )
        return principal

    def _once(
        self, route: Route, request: Request, connection: Connection, principal: Principal | None, given: dict[Any, Any]
    ) -> Response:
        """Run the route; a repeated `Idempotency-Key` gives the answer of the first time."""
        key = request.headers.get("Idempotency-Key")
        if not key or principal is None or request.method not in WRITES:
            return self._run(route, request, given)
        if len(key) > 200:
            raise Invalid("An Idempotency-Key has at most 200 characters.")
        asked = hashlib.sha256(request.full_path.encode() + b"\0" + request.get_data()).digest()
        mine = (
            idempotency_keys.c.principal_id == principal.id,
            idempotency_keys.c.route == f"{route.method} {route.path}",
            idempotency_keys.c.key == key,
        )
        connection.execute(idempotency_keys.delete().where(*mine, idempotency_keys.c.created_at < func.now() - IDEMPOTENT_FOR))
        first = insert(idempotency_keys).values(
            principal_id=principal.id, route=f"{route.method} {route.path}", key=key, request_hash=asked
        )
        # The unique row is the lock: a second request waits here until the first has committed or failed.
        if connection.execute(first.on_conflict_do_nothing().returning(idempotency_keys.c.key)).first() is None:
            row = connection.execute(select(idempotency_keys).where(*mine)).one()
            if row.request_hash != asked:
                raise Invalid("This Idempotency-Key was used for a different request. Use a new key for a new request.")
            return Response(row.body, row.status, row.headers)
        response = self._run(route, request, given)
        connection.execute(
            idempotency_keys.update()
            .where(*mine)
            .values(status=response.status_code, headers=dict(response.headers), body=response.get_data())
        )
        return response

    def _run(self, route: Route, request: Request, given: dict[Any, Any]) -> Response:
        value = route.handler(**self._wiring.arguments(route.signature.parameters, given))
        return encoded(value, route.status, request)


def encoded(value: Any, status: int, request: Request) -> Response:
    """The response that a route's value is."""
    if value is None:
        return Response(status=204 if status == 200 else status)
    if isinstance(value, Redirect):
        return Response(status=302, headers={"Location": value.url})
    if isinstance(value, Stream):
        live = {"X-Accel-Buffering": "no", "Cache-Control": "no-cache"}
        return Response(value.chunks, 200, live, mimetype=value.content_type)
    if isinstance(value, Download):
        response = Response(value.content, 200, content_type=value.content_type)
        if value.filename:
            response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(value.filename)}"
        return response
    headers: dict[str, str] = {}
    if isinstance(value, Reply):
        status, headers = value.status, dict(value.headers)
        if value.location:
            headers["Location"] = value.location
        if value.etag:
            headers |= {"ETag": f'"{value.etag}"', "Cache-Control": "private, no-cache"}
            if request.method in ("GET", "HEAD") and parse_etags(request.headers.get("If-None-Match")).contains(value.etag):
                return Response(status=304, headers=headers)
        value = value.value
        if value is None:
            return Response(status=status, headers=headers)
    return Response(msgspec.json.encode(value), status, headers, content_type="application/json")


def problem_response(problem: Problem) -> Response:
    """The problem as an answer."""
    response = Response(problem.encoded(trace=trace_id()), problem.status, content_type=MEDIA_TYPE)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="auricle"'
    return response


def _foreign(error: HTTPException) -> Problem:
    """werkzeug's refusals in our words."""
    if isinstance(error, RequestEntityTooLarge):
        return problem_of(TooLarge(f"A request body has at most {MAX_BODY} bytes. Media goes up in parts: POST /api/uploads."))
    detail = error.description or error.name
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        detail = f"Here you can {', '.join(sorted(set(error.valid_methods) - {'OPTIONS'}))}."
    name = type(error).__name__.lower()
    return Problem(type=f"urn:auricle:problem:{name}", title=error.name, status=error.code or 500, detail=detail)


def _path_value(route: Route, name: str, text: str) -> Any:
    try:
        return msgspec.convert(text, route.signature.parameters[name], strict=False)
    except msgspec.ValidationError:
        raise NotFound(f"There is no such {name.removesuffix('_id').replace('_', ' ')}: {text!r} is not an id.") from None


def _query(kind: Any, request: Request) -> Any:
    known = {f.encode_name: f for f in msgspec.structs.fields(kind)}
    found: dict[str, Any] = {}
    for name, values in request.args.lists():
        many = (name in known and "tuple" in str(known[name].type).lower()) or (
            name in known and "list" in str(known[name].type).lower()
        )
        if len(values) > 1 and not many:
            raise Invalid(f"The query says {name} {len(values)} times; say it once.")
        found[name] = values if many else values[0]
    return _converted(found, kind, "query")


def _body(kind: Any, request: Request) -> Any:
    if (request.content_length or 0) > MAX_BODY:
        raise TooLarge(f"A request body has at most {MAX_BODY} bytes. Media goes up in parts: POST /api/uploads.")
    data = request.get_data()
    if len(data) > MAX_BODY:
        raise TooLarge(f"A request body has at most {MAX_BODY} bytes.")
    if data and request.mimetype not in ("application/json", ""):
        raise _Unsupported(f"Send JSON (Content-Type: application/json), not {request.mimetype}.")
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except msgspec.ValidationError as error:
        _complain("body", error)
    except msgspec.DecodeError as error:
        raise Invalid(f"The body is not JSON: {error}.") from None


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

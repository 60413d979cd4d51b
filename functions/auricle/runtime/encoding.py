"""What a route's value, or a problem, is as an answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
from flask import Request, Response
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge
from werkzeug.http import parse_etags

from auricle.contract.http import Download, Redirect, Reply, Stream
from auricle.errors import TooLarge
from auricle.runtime.limits import MAX_BODY
from auricle.runtime.problems import MEDIA_TYPE, Problem, problem_of
from auricle.runtime.telemetry import trace_id


def encoded(value: Any, status: int, request: Request) -> Response:
    """The response that a route's value is."""
    if value is None:
        return Response(status=204 if status == 200 else status)
    if isinstance(value, Redirect):
        return Response(status=302, headers={"Location": value.url})
    if isinstance(value, Stream):
        live = {"X-Accel-Buffering": "no", "Cache-Control": "no-cache"}
        return _saved(Response(value.chunks, 200, live, content_type=value.content_type), value.filename)
    if isinstance(value, Download):
        return _saved(Response(value.content, 200, content_type=value.content_type), value.filename)
    headers = Headers()
    if isinstance(value, Reply):
        status, headers = value.status, Headers(dict(value.headers))
        for line in value.cookies:
            headers.add("Set-Cookie", line)
        if value.location:
            headers["Location"] = value.location
        if value.etag:
            headers.update({"ETag": f'"{value.etag}"', "Cache-Control": "private, no-cache"})
            if request.method in ("GET", "HEAD") and _unchanged(request, value.etag):
                return Response(status=304, headers=headers)
        value = value.value
        if value is None:
            return Response(status=status, headers=headers)
    return Response(msgspec.json.encode(value), status, headers, content_type="application/json")


def _saved(response: Response, filename: str | None) -> Response:
    if filename:
        response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(filename)}"
    return response


def _unchanged(request: Request, etag: str) -> bool:
    """Whether the caller has this version: compared weakly (RFC 9110, 13.1.2), since a gateway that compresses marks it W/."""
    return parse_etags(request.headers.get("If-None-Match")).contains_weak(etag)


def problem_response(problem: Problem) -> Response:
    """The problem as an answer."""
    response = Response(problem.encoded(trace=trace_id()), problem.status, content_type=MEDIA_TYPE)
    response.headers.update(problem.headers)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="auricle"'
    return response


def foreign(error: HTTPException) -> Problem:
    """werkzeug's refusals in our words."""
    if isinstance(error, RequestEntityTooLarge):
        return problem_of(TooLarge(f"A request body has at most {MAX_BODY} bytes. Media goes up in parts: POST /api/uploads."))
    detail = error.description or error.name
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        detail = f"Here you can {', '.join(sorted(set(error.valid_methods) - {'OPTIONS'}))}."
    name = type(error).__name__.lower()
    return Problem(type=f"urn:auricle:problem:{name}", title=error.name, status=error.code or 500, detail=detail)

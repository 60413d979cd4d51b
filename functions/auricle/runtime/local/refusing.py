"""The house's errors as plain WSGI answers, for what is refused before any function is reached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from auricle.errors import AuricleError
from auricle.runtime.problems import MEDIA_TYPE, problem_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def refuse(error: AuricleError, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The problem document of `error` as an answer to the request `environ`."""
    problem = problem_of(error)
    body = problem.encoded()
    headers = [
        ("Content-Type", MEDIA_TYPE),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if problem.retry_after is not None:
        headers.append(("Retry-After", str(problem.retry_after)))
    start_response(f"{problem.status} {problem.title}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]  # its bytes would be taken for the next answer

"""With `--isolate`: requests go on to the function's own process, bodies and streams through our hands as they come."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import urllib3

from auricle.errors import AuricleError, NotFound, Retryable
from auricle.runtime import pathtable
from auricle.runtime.local.refusing import refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
)
WAKE_SECONDS = 125.0
"""Longest wait for a function's process to start: what a pool's `ready_seconds` allows, and a little."""
QUIET_SECONDS = 120.0
"""Longest silence of a function; a stream says something every 15 s."""
KEEP_WARM_SECONDS = 20.0
"""How often a long answer says that it still runs; idle processes are stopped after 60 s."""
PIECE = 65536
PROBES = ("/healthz", "/readyz")
_GONE = "This function's process is starting again. Try once more in a moment."


class Warm(msgspec.Struct, frozen=True):
    """The broker's answer to `POST /activate/<function>`."""

    url: str


class Proxy:
    """A WSGI application that finds the function of a path, has the broker wake it, and passes the request on."""

    def __init__(self, routes: Mapping[str, str], broker: str) -> None:
        """`routes`: path template → function; `broker`: the broker's address."""
        self._rows = pathtable.rows(routes)
        self._broker = broker
        self._pool = urllib3.PoolManager(maxsize=32, retries=False)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass one request on. Probes ask about this process."""
        if environ["PATH_INFO"] in PROBES:
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
            return [b"ok\n"]
        try:
            return self._pass_on(self.function_of(environ["PATH_INFO"]), environ, start_response)
        except AuricleError as error:
            return refuse(error, environ, start_response)

    def function_of(self, path: str) -> str:
        """The function that serves `path`: of several templates that fit, the one with words where others have holes."""
        asked = pathtable.parts(path)
        for row in self._rows:
            if pathtable.fits(row, asked):
                return row.function
        raise NotFound(f"There is nothing at {path}. The interface is described at /api/docs.")

    def _pass_on(self, function: str, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            answer = self._ask(self._wake(function), environ)
        except urllib3.exceptions.NewConnectionError:  # it had just gone to sleep or died: nothing was sent yet
            answer = self._try(self._wake(function), environ)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Retryable(_GONE) from error
        headers = [(k, v) for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP]
        start_response(f"{answer.status} {answer.reason or 'OK'}", headers)
        return _Body(answer, lambda: self._keep_warm(function))

    def _keep_warm(self, function: str) -> None:
        """Say that the function's process is still in use: the broker sees deliveries, not what passes through here."""
        try:
            self._wake(function)
        except Retryable as error:
            log.info("%s may go to sleep: %s", function, error)

    def _try(self, url: str, environ: WSGIEnvironment) -> urllib3.BaseHTTPResponse:
        try:
            return self._ask(url, environ)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Retryable(_GONE) from error

    def _wake(self, function: str) -> str:
        """The address of a process of `function` that is ready."""
        try:
            answer = self._pool.request(
                "POST", f"{self._broker}/activate/{function}", timeout=urllib3.Timeout(connect=2, read=WAKE_SECONDS)
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            log.warning("the broker did not answer when asked to wake %s: %s", function, error)
            raise Retryable("The broker, which starts functions, is away. Try once more in a moment.") from error
        if answer.status != 200:
            log.error("the broker answered %d when asked to wake %s", answer.status, function)
            raise Retryable(f"The function {function} could not be started. `auricle status` and its log say why.")
        return msgspec.json.decode(answer.data, type=Warm).url

    def _ask(self, url: str, environ: WSGIEnvironment) -> urllib3.BaseHTTPResponse:
        target = url.rstrip("/") + quote(environ["PATH_INFO"].encode("latin-1"), safe="/%:@!$&'()*+,;=~-._")
        if environ.get("QUERY_STRING"):
            target += f"?{environ['QUERY_STRING']}"
        return self._pool.request(
            environ["REQUEST_METHOD"],
            target,
            headers=_headers(environ),
            body=_body(environ),
            preload_content=False,
            redirect=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=2, read=QUIET_SECONDS),
        )


class _Body:
    """An answer as it comes. The server closes it, also when the listener leaves, and thereby tells the function."""

    def __init__(self, answer: urllib3.BaseHTTPResponse, keep_warm: Callable[[], None]) -> None:
        self._answer = answer
        self._keep_warm = keep_warm

    def __iter__(self) -> Iterator[bytes]:
        warm = time.monotonic()
        for piece in self._answer.stream(PIECE, decode_content=False):  # chunk by chunk where there are chunks
            yield piece
            if time.monotonic() - warm > KEEP_WARM_SECONDS:
                self._keep_warm()
                warm = time.monotonic()

    def close(self) -> None:
        self._answer.close()


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    found = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
    kept = {name: value for name, value in found.items() if name.lower() not in HOP_BY_HOP}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            kept[name.replace("_", "-")] = environ[name]
    return kept


def _body(environ: WSGIEnvironment) -> Any:
    return environ["wsgi.input"] if environ.get("CONTENT_LENGTH") not in (None, "", "0") else None

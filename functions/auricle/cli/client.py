"""Talking to an Auricle server from the command line: the public HTTP interface and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import urlencode, urljoin

import click
import msgspec
import urllib3

TRIES = 5
"""How often a request or a part is tried while a connection fails or the server says 503."""


AWAY = (502, 503)
SUSPENDED = "urn:auricle:problem:suspended"


class ServerError(click.ClickException):
    """The server refused; the message is its sentence, and all that a terminal shows of it."""

    def __init__(self, status: int, detail: str, type: str = "") -> None:
        """`status` is the HTTP status, 0 when there was no answer at all; `type` the problem's."""
        super().__init__(detail)
        self.status = status
        self.suspended = type == SUSPENDED


class Server:
    """One server and the token to use there."""

    def __init__(self, url: str, token: str) -> None:
        """`url` is the server's address, `token` a personal or an access token."""
        self.url = url.rstrip("/") + "/"
        self._headers = {"Authorization": f"Bearer {token}"}
        retry = _Tries(
            TRIES,
            backoff_factor=0.3,
            status_forcelist=AWAY,
            allowed_methods=None,
            redirect=False,
            raise_on_status=False,  # the last answer has a sentence to print
        )
        self._pool = urllib3.PoolManager(retries=retry, timeout=urllib3.Timeout(connect=5, read=60), maxsize=8)

    def signed_in(self, email: str, password: str, code: Callable[[], str]) -> Server:
        """The same server as a person: for what no token may do. `code` asks for the second factor's, where one is owed."""
        answer = self.call("POST", "/api/session", {"email": email, "password": password})
        if answer["answer"] == "pending":
            if answer["enrol"]:
                raise ServerError(403, "A second factor is required of you. Open the site and set one up first.")
            answer = Server(self.url, answer["pending"]).call("POST", "/api/mfa/verify", {"code": code()})
        return Server(self.url, answer["access_token"])

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """A JSON call; raises `ServerError` with the server's own sentence."""
        answer = self._request(method, path, body, query)
        return msgspec.json.decode(answer.data) if answer.data else None

    def text(self, path: str, **query: Any) -> bytes:
        """The bytes of a document, wherever they are stored; the token stays with us."""
        answer = self._request("GET", path, None, query)
        if answer.status == 302:
            answer = self._pool.request("GET", urljoin(self.url, answer.headers["Location"]))
            if answer.status >= 400:
                raise _refused(answer)
        return bytes(answer.data)

    def stream(self, path: str, **query: Any) -> Iterator[bytes]:
        """The bytes of an answer of any length, as they come."""
        asked = {k: v for k, v in query.items() if v is not None}
        url = urljoin(self.url, path.lstrip("/")) + (f"?{urlencode(asked)}" if asked else "")
        try:
            answer = self._pool.request("GET", url, headers=self._headers, preload_content=False)
            if answer.status >= 400:
                answer.read(cache_content=True)
                raise _refused(answer)
            yield from answer.stream(2**16)
        except urllib3.exceptions.HTTPError as error:
            raise ServerError(0, "The answer broke off. Ask again.") from error

    def _request(self, method: str, path: str, body: Any, query: Mapping[str, Any]) -> urllib3.BaseHTTPResponse:
        asked = {k: v for k, v in query.items() if v is not None}
        url = urljoin(self.url, path.lstrip("/")) + (f"?{urlencode(asked)}" if asked else "")
        headers = dict(self._headers)
        if method != "GET":
            headers["Idempotency-Key"] = os.urandom(16).hex()  # so that a retry after a lost answer has no second effect
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = msgspec.json.encode(body)
        try:
            answer = self._pool.request(method, url, body=data, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise ServerError(0, f"No answer from {self.url}. Is it running? `auricle up` starts one.") from error
        if answer.status >= 400:
            raise _refused(answer)
        return answer

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list."""
        cursor = None
        while True:
            page = self.call("GET", path, cursor=cursor, **query)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def events(self, last_id: str | None = None) -> Generator[tuple[str, str, Any], None, None]:
        """(id, type, data) of what happens, for ever; a broken line is taken up where it broke."""
        while True:
            headers = {**self._headers, "Accept": "text/event-stream"}
            if last_id:
                headers["Last-Event-ID"] = last_id
            url = urljoin(self.url, "api/events")
            try:
                patience = urllib3.Timeout(connect=5, read=60)
                answer = self._pool.request("GET", url, headers=headers, preload_content=False, timeout=patience)
                if answer.status != 200:
                    answer.read(cache_content=True)
                    if answer.status in AWAY and _problem(answer).get("type") != SUSPENDED:
                        continue
                    raise _refused(answer)
                try:
                    for last_id, kind, data in _parsed(answer):
                        yield last_id, kind, data
                finally:
                    answer.close()  # whoever has heard enough keeps no function awake
            except urllib3.exceptions.HTTPError:
                continue

    def upload(
        self, path: Path, options: Mapping[str, Any], name: str | None, sent: Callable[[int, int], None]
    ) -> dict[str, Any]:
        """Put a file into the vault, in parts; `sent(bytes, of)` as they go. Returns the file."""
        size = path.stat().st_size
        new = self.call("POST", "/api/uploads", {"name": name or path.name, "size": size, "options": dict(options)})
        urls = {part["number"]: part["url"] for part in new["parts"]}
        part_size = new["part_size"]
        count = -(-size // part_size)
        with path.open("rb") as source:
            for number in range(1, count + 1):
                if number not in urls:
                    numbers = list(range(number, min(count, number + 49) + 1))
                    more = self.call("POST", f"/api/uploads/{new['id']}/parts", {"numbers": numbers})
                    urls |= {part["number"]: part["url"] for part in more["parts"]}
                self._put_part(urls[number], source, (number - 1) * part_size, part_size)
                sent(min(size, number * part_size), size)
        self.call("POST", f"/api/uploads/{new['id']}/complete")
        return dict(self.call("GET", f"/api/files/{new['file_id']}"))

    def _put_part(self, url: str, source: BinaryIO, offset: int, length: int) -> None:
        source.seek(offset)
        data = source.read(length)
        try:
            answer = self._pool.request("PUT", url, body=data)
        except urllib3.exceptions.HTTPError as error:
            raise ServerError(0, "The upload broke off and could not be resumed. Try again.") from error
        if answer.status >= 300:
            raise _refused(answer)


def _parsed(answer: urllib3.BaseHTTPResponse) -> Iterator[tuple[str, str, Any]]:
    """The events of a text/event-stream body."""
    fields: dict[str, str] = {}
    buffer = b""
    for block in answer.stream(4096, decode_content=True):
        buffer += block
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            if not line:
                if "data" in fields:
                    yield fields.get("id", ""), fields.get("event", "message"), msgspec.json.decode(fields["data"])
                fields = {}
            elif not line.startswith(b":"):
                name, _, value = line.decode().partition(": ")
                fields[name] = value


class _Tries(urllib3.Retry):
    """As often as it says, but for a deployment that is suspended: it will not be there in a moment."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Self:
        """Raises the library's error when there is no other try."""
        if response is not None and _problem(response).get("type") == SUSPENDED:
            raise urllib3.exceptions.MaxRetryError(_pool, url or "")
        return super().increment(method, url, response, error, _pool, _stacktrace)


def _problem(answer: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    """The problem document that the server answered, if it is one."""
    try:
        return msgspec.json.decode(answer.data, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _refused(answer: urllib3.BaseHTTPResponse) -> ServerError:
    """The server's own sentence."""
    problem = _problem(answer)
    status = f"The server answered {answer.status} {answer.reason or ''}.".replace(" .", ".")
    return ServerError(answer.status, str(problem.get("detail", status)), str(problem.get("type", "")))

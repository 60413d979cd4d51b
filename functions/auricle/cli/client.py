"""Talking to an Auricle server from the command line: the public HTTP interface and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode, urljoin

import msgspec
import urllib3

TRIES = 5
"""How often a request or a part is tried while a connection fails or the server says 503."""


class ServerError(Exception):
    """The server refused; the message is its sentence."""

    def __init__(self, status: int, detail: str) -> None:
        """`status` is the HTTP status, 0 when there was no answer at all."""
        super().__init__(detail)
        self.status = status


class Server:
    """One server and the token to use there."""

    def __init__(self, url: str, token: str) -> None:
        """`url` is the server's address, `token` begins with `aur_`."""
        self.url = url.rstrip("/") + "/"
        self._headers = {"Authorization": f"Bearer {token}"}
        retry = urllib3.Retry(TRIES, backoff_factor=0.3, status_forcelist=(502, 503), allowed_methods=None, redirect=False)
        self._pool = urllib3.PoolManager(retries=retry, timeout=urllib3.Timeout(connect=5, read=60), maxsize=8)

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
                raise ServerError(answer.status, _sentence(answer))
        return bytes(answer.data)

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
            raise ServerError(answer.status, _sentence(answer))
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

    def events(self, last_id: str | None = None) -> Iterator[tuple[str, str, Any]]:
        """(id, type, data) of what happens, for ever; a broken line is taken up where it broke."""
        while True:
            headers = {**self._headers, "Accept": "text/event-stream"}
            if last_id:
                headers["Last-Event-ID"] = last_id
            url = urljoin(self.url, "api/events")
            try:
                answer = self._pool.request("GET", url, headers=headers, preload_content=False, timeout=urllib3.Timeout(5, 60))
                if answer.status != 200:
                    answer.read()
                    raise ServerError(answer.status, _sentence(answer))
                for last_id, kind, data in _parsed(answer):
                    yield last_id, kind, data
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
            raise ServerError(answer.status, _sentence(answer))


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


def _sentence(answer: urllib3.BaseHTTPResponse) -> str:
    try:
        return str(msgspec.json.decode(answer.data)["detail"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"The server answered {answer.status} {answer.reason or ''}.".replace(" .", ".")

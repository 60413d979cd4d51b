"""The HTTP client of the broker: one request at a time per connection, connections kept open, no surprises.

A request is sent once. Whether to send it again is the deliveries' decision.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

import h11

from auricle.runtime.limits import MAX_BODY
from auricle.runtime.local.broker.verdict import Answer

IDLE_LINKS = 32
"""Connections kept open per server."""
CONNECT_SECONDS = 5.0
HEADERS_BYTES = 64 * 2**10


class ConnectionLost(Exception):
    """No whole answer came: nobody listens, or the other side went away, or what it said is not HTTP."""


class HttpClient:
    """Requests to servers on plain HTTP. Belongs to one loop."""

    def __init__(self) -> None:
        self._idle: defaultdict[tuple[str, int], list[_Link]] = defaultdict(list)

    async def request(self, method: str, url: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> Answer:
        """The answer. Raises `ConnectionLost`; waits for ever, so callers bound the time."""
        host, port, target = _target(url)
        link = self._kept(host, port) or await _connected(host, port)
        length = [("content-length", str(len(body)))] if body or method != "GET" else []
        fields = [("host", f"{host}:{port}"), *headers, *length]
        try:
            answer = await link.exchange(method, target, fields, body)
        except BaseException:
            link.close()  # also when the caller's time is up: the other side sees that nobody waits any more
            raise
        if link.reusable() and len(self._idle[host, port]) < IDLE_LINKS:
            self._idle[host, port].append(link)
        else:
            link.close()
        return answer

    def forget(self, url: str) -> None:
        """Close what is open to a server that is gone."""
        host, port, _ = _target(url)
        for link in self._idle.pop((host, port), []):
            link.close()

    def close(self) -> None:
        """Close everything."""
        for links in self._idle.values():
            for link in links:
                link.close()
        self._idle.clear()

    def _kept(self, host: str, port: int) -> _Link | None:
        links = self._idle.get((host, port), [])
        while links:
            link = links.pop()
            if link.alive:
                return link
        return None


class _Link(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.alive = False
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADERS_BYTES)
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._head: h11.Response | None = None
        self._body = bytearray()

    async def exchange(self, method: str, target: str, fields: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """Send a request, wait for the answer."""
        if self._transport is None or not self.alive:
            raise ConnectionLost("the connection is closed")
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            head = h11.Request(method=method, target=target, headers=_encoded(fields))
            sent = (self._http.send(head), self._http.send(h11.Data(data=body)), self._http.send(h11.EndOfMessage()))
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            raise ConnectionLost(f"the request cannot be sent: {error}") from error
        self._transport.write(b"".join(part for part in sent if part))
        return await self._waiting

    def reusable(self) -> bool:
        """Whether another request may follow; makes ready for it."""
        if not self.alive or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._head, self._waiting = None, None
        self._body.clear()
        return True

    def close(self) -> None:
        """Hang up."""
        self.alive = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self.alive = transport, True

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:  # an answer to no question
            self.close()
            return
        self._http.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        self.alive = False
        if self._waiting is not None and not self._waiting.done():
            self._http.receive_data(b"")  # the end of a body that says no length
            self._advance()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.alive = False
        self._fail(str(error) if error else "the connection was closed before the answer")

    def _advance(self) -> None:
        try:
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Response):
                    self._head = event
                elif isinstance(event, h11.Data):
                    self._take(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self._finish()
                    return
                elif event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    return
        except h11.RemoteProtocolError as error:
            self._fail(f"the answer is not HTTP: {error}")
            self.close()

    def _take(self, data: bytes | bytearray) -> None:
        self._body += data
        if len(self._body) > MAX_BODY:
            self._fail(f"the answer is larger than {MAX_BODY} bytes")
            self.close()

    def _finish(self) -> None:
        if self._waiting is not None and not self._waiting.done() and self._head is not None:
            self._waiting.set_result(Answer(self._head.status_code, decoded(self._head.headers), bytes(self._body)))

    def _fail(self, why: str) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionLost(why))


def decoded(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header fields by lower-case name; repeated ones are joined."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _connected(host: str, port: int) -> _Link:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, link = await asyncio.get_running_loop().create_connection(_Link, host, port)
    except OSError as error:  # a TimeoutError is one, too
        raise ConnectionLost(f"no connection to {host}:{port}: {error.strerror or 'no answer'}") from error
    return link


@lru_cache(maxsize=256)
def _target(url: str) -> tuple[str, int, str]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

"""The HTTP server of the broker: small, kept-alive, bounded; one handler for everything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import h11

from auricle.runtime.limits import MAX_BODY
from auricle.runtime.local.broker.client import HEADERS_BYTES, decoded
from auricle.runtime.local.errors import CannotStart

log = logging.getLogger(__name__)

SILENCE = 30.0
"""Seconds that a client may take to send a request, once begun."""
IDLE = 900.0
"""Seconds that a connection may rest between requests. Long: publishers keep theirs, and a closed one costs them an error."""
DISCARDED = 16 * MAX_BODY
"""Bytes of a body too large that are read before hanging up, so that its sender gets to read the refusal."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. Header names are lower-case; `path` has no query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered."""

    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Awaitable[Response]]


def said(status: int, sentence: str, *headers: tuple[str, str]) -> Response:
    """A refusal with a reason."""
    return Response(status, f"{sentence}\n".encode(), headers=headers)


class HttpServer:
    """Listens on one address."""

    def __init__(self, handler: Handler) -> None:
        """`handler` may take its time; an exception of it is a 500."""
        self._handler = handler
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> None:
        """Begin; raises `CannotStart` when the port is taken."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Connection(self._handler, self._connections), host, port)
        except OSError as error:
            raise CannotStart(
                f"The broker cannot listen on {host}:{port}: {error.strerror}. End what holds that port (`auricle down`), "
                "or choose another one."
            ) from error

    def close(self) -> None:
        """Take nothing new; what is being answered is answered."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close_when_idle()


class _Connection(asyncio.Protocol):
    """One client: a request, its answer, the next one."""

    def __init__(self, handler: Handler, everyone: set[_Connection]) -> None:
        self._handler = handler
        self._everyone = everyone
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADERS_BYTES)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._size = 0
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._active = self._loop.time()
        self._watch = self._loop.call_later(SILENCE, self._look)

    def close_when_idle(self) -> None:
        """Hang up after the answer under way."""
        self._closing = True
        if self._task is None:
            self._hang_up()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._everyone.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._everyone.discard(self)
        self._watch.cancel()

    def data_received(self, data: bytes) -> None:
        self._active = self._loop.time()
        self._http.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        return self._task is not None  # keep our half open until the answer is out

    def _look(self) -> None:
        """Hang up on who began a request and does not finish, and on who rests too long."""
        allowed = IDLE if self._head is None else SILENCE
        if self._task is None and self._loop.time() - self._active >= allowed:
            self._hang_up()
        else:
            self._watch = self._loop.call_later(SILENCE, self._look)

    def _advance(self) -> None:
        try:
            while self._task is None and self._transport is not None:
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._begin(event)
                elif isinstance(event, h11.Data):
                    self._take(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self._whole()
                else:  # NEED_DATA, PAUSED, ConnectionClosed
                    if isinstance(event, h11.ConnectionClosed):
                        self._hang_up()
                    return
        except h11.RemoteProtocolError as error:
            self._answer(said(error.error_status_hint, f"This is not HTTP: {error}."), last=True)

    def _begin(self, head: h11.Request) -> None:
        self._head = head
        self._size = 0
        self._body.clear()
        if self._http.they_are_waiting_for_100_continue and self._transport is not None:
            self._transport.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")

    def _take(self, data: bytes | bytearray) -> None:
        self._size += len(data)
        if self._size <= MAX_BODY:
            self._body += data
        elif self._size > DISCARDED:
            self._answer(_too_large(), last=True)

    def _whole(self) -> None:
        assert self._head is not None
        if self._size > MAX_BODY:
            self._answer(_too_large())
            return
        path, _, _ = self._head.target.decode("latin-1").partition("?")
        request = Request(self._head.method.decode("latin-1"), path, decoded(self._head.headers), bytes(self._body))
        if self._transport is not None:
            self._transport.pause_reading()
        self._task = self._loop.create_task(self._handle(request))

    async def _handle(self, request: Request) -> None:
        try:
            response = await self._handler(request)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            response = said(500, "The broker failed at this. Its log says why.")
        self._task = None
        self._answer(response)
        if self._transport is not None:
            self._transport.resume_reading()
            self._advance()

    def _answer(self, response: Response, *, last: bool = False) -> None:
        if self._transport is None or not self._may_answer():
            self._hang_up()
            return
        headers = [("content-length", str(len(response.body))), *response.headers]
        if response.body:
            headers.append(("content-type", response.kind))
        if last or self._closing:
            headers.append(("connection", "close"))
        head = h11.Response(status_code=response.status, headers=[(k.encode(), v.encode()) for k, v in headers])
        body = b"" if self._head is not None and self._head.method == b"HEAD" else response.body
        parts = (self._http.send(head), self._http.send(h11.Data(data=body)), self._http.send(h11.EndOfMessage()))
        self._transport.write(b"".join(part for part in parts if part))
        self._head = None
        self._active = self._loop.time()
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            self._hang_up()

    def _may_answer(self) -> bool:
        return self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE)

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None


def _too_large() -> Response:
    return said(413, f"An event has at most {MAX_BODY} bytes. Put larger data into the store and send its address.")

"""The broker's HTTP, both sides, where clients and servers are not as they should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from auricle.runtime.limits import MAX_BODY
from auricle.runtime.local.broker import server as server_module
from auricle.runtime.local.broker.client import ConnectionLost, HttpClient
from auricle.runtime.local.broker.server import HttpServer, Request, Response
from auricle.runtime.local.errors import CannotStart
from builders.broker_process import free_port

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(request: Request) -> Response:
    """Say what was asked."""
    if request.path == "/fail":
        raise RuntimeError("on purpose")
    if request.path == "/slow":
        await asyncio.sleep(0.2)
    said = f"{request.method} {request.path} {request.headers.get('x-a')} ".encode() + request.body
    return Response(200, said)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[HttpServer, int]]:
    """The broker's server with `echo`."""
    server, port = HttpServer(echo), free_port()
    await server.listen("127.0.0.1", port)
    try:
        yield server, port
    finally:
        server.close()


@asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[str]:
    """A server that says what a test wants; its url."""
    port = free_port()
    server = await asyncio.start_server(talk, "127.0.0.1", port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()


async def said(port: int, *parts: bytes) -> bytes:
    """Everything the server answers to raw bytes, sent part by part, until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.02)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Run it, within ten seconds."""

    async def bounded() -> None:
        await asyncio.wait_for(story(), 10)

    asyncio.run(bounded())


def test_requests_in_one_packet_are_answered_in_turn() -> None:
    async def story() -> None:
        async with serving() as (_, port):
            one = b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n1"
            two = b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n2"
            answer = await said(port, one + two)
            assert answer.index(b"POST /slow None 1") < answer.index(b"POST /b None 2")

    run(story)


def test_a_request_may_come_byte_by_byte_chunked_and_ask_first() -> None:
    async def story() -> None:
        async with serving() as (_, port):
            head = b"POST /a?q=1 HTTP/1.1\r\nhost: x\r\nx-a: 1\r\nX-A: 2\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n"
            answer = await said(port, head, b"2\r\nhe\r\n", b"3\r\nllo\r\n0\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 100 ")
            assert b"POST /a 1, 2 hello" in answer

    run(story)


def test_what_is_not_http_is_a_400_and_an_error_a_500() -> None:
    async def story() -> None:
        async with serving() as (_, port):
            assert (await said(port, b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
            assert (await said(port, b"GET /a HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 400 ")  # no host
            answer = await said(port, b"GET /fail HTTP/1.1\r\nhost: x\r\n\r\nGET /b HTTP/1.1\r\nhost: x\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 500 ")
            assert b"GET /b" in answer
            assert b"on purpose" not in answer

    run(story)


def test_headers_without_end_are_refused() -> None:
    async def story() -> None:
        async with serving() as (_, port):
            answer = await said(port, b"GET / HTTP/1.1\r\nhost: x\r\n", *[b"x-%d: %s\r\n" % (n, b"y" * 9000) for n in range(8)])
            assert answer.startswith(b"HTTP/1.1 431 ")

    run(story)


def test_a_body_far_too_large_is_refused_before_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "DISCARDED", 2 * MAX_BODY)

    async def story() -> None:
        async with serving() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n" + b"x" * (2 * MAX_BODY + 1))
            assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
            writer.close()

    run(story)


def test_who_begins_and_does_not_finish_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "SILENCE", 0.1)

    async def story() -> None:
        async with serving() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf")
            assert await reader.read() == b""
            resting, _ = await asyncio.open_connection("127.0.0.1", port)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(resting.read(), 0.4)
            writer.close()

    run(story)


def test_a_closing_server_finishes_the_answer_under_way() -> None:
    async def story() -> None:
        async with serving() as (server, port):
            client = HttpClient()
            asked = asyncio.create_task(client.request("GET", f"http://127.0.0.1:{port}/slow"))
            await asyncio.sleep(0.05)
            server.close()
            assert (await asked).body.startswith(b"GET /slow")
            with pytest.raises(ConnectionLost):
                await client.request("GET", f"http://127.0.0.1:{port}/a")

    run(story)


def test_a_taken_port_is_said() -> None:
    async def story() -> None:
        async with serving() as (_, port):
            with pytest.raises(CannotStart, match="cannot listen"):
                await HttpServer(echo).listen("127.0.0.1", port)

    run(story)


def test_a_connection_is_used_again_and_forgotten_when_told() -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async def story() -> None:
        async with talking(talk) as url:
            client = HttpClient()
            for _ in range(3):
                assert (await client.request("GET", url)).body == b"ok"
            assert connections == 1
            client.forget(url)
            await client.request("GET", url)
            assert connections == 2
            client.close()

    run(story)


def test_a_server_that_closed_meanwhile_gets_a_new_connection() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()  # without having said so

    async def story() -> None:
        async with talking(talk) as url:
            client = HttpClient()
            for _ in range(3):
                assert (await client.request("GET", url)).body == b"ok"
                await asyncio.sleep(0.05)

    run(story)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", None),
        (b"", None),
        (b"HTTP/1.1 200", None),
        (b"SSH-2.0-OpenSSH\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n" + b"x" * 2_000_000, None),
    ],
)
def test_an_answer_is_whole_or_the_connection_lost(answer: bytes, expected: bytes | None) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def story() -> None:
        async with talking(talk) as url:
            client = HttpClient()
            if expected is None:
                with pytest.raises(ConnectionLost):
                    await client.request("POST", url, [("x-a", "1")], b"body")
            else:
                assert (await client.request("POST", url, [("x-a", "1")], b"body")).body == expected

    run(story)


def test_nobody_there_and_headers_that_cannot_be_sent_are_lost_connections() -> None:
    async def story() -> None:
        client = HttpClient()
        with pytest.raises(ConnectionLost, match="no connection"):
            await client.request("GET", f"http://127.0.0.1:{free_port()}/")
        async with serving() as (_, port):
            for value in (" leading", "line\nbreak", "größer als latin-1: €"):
                with pytest.raises(ConnectionLost, match="cannot be sent"):
                    await client.request("POST", f"http://127.0.0.1:{port}/", [("x-a", value)])
            assert (await client.request("POST", f"http://127.0.0.1:{port}/", [("x-a", "ok")])).status == 200
        client.close()

    run(story)

"""One small web server for the host's Python processes: waitress, told what this house needs."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Sequence
from types import FrameType
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher
from waitress.utilities import RequestEntityTooLarge

MAX_PART = 2**30
"""Bytes of a signed blob request, 1 GiB: far above any part that we ask for."""
MAX_OTHER = 16 * 2**20
"""Bytes of any other body. The door refuses from 1 MiB on, in its own words; this is what we care to read for that."""
BLOBS = "/blobs/"
GRACE = 0.8
"""Seconds that requests under way get when the process is asked to end."""


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """Refuses large bodies before reading them, except where files go."""

    def parse_header(self, header_plus: bytes) -> None:
        """Read the head, then judge the length that it announces."""
        super().parse_header(header_plus)
        if self.content_length > MAX_OTHER and not self.path.startswith(BLOBS):
            self.error = RequestEntityTooLarge("Files go up in parts: see POST /api/uploads.")
            self.completed = True


class _Channel(HTTPChannel):  # type: ignore[misc]
    parser_class = _Parser


class _Server(TcpWSGIServer):  # type: ignore[misc]
    channel_class = _Channel


def listening(where: str) -> socket.socket:
    """The socket that `where` means: `fd:7` (inherited, listening already) or `127.0.0.1:8080`."""
    kind, _, number = where.rpartition(":")
    if kind == "fd":
        return socket.socket(fileno=int(number))
    opened = socket.socket(socket.AF_INET6 if ":" in kind else socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind((kind.strip("[]"), int(number)))
    return opened


def serve(application: Any, sockets: Sequence[socket.socket], threads: int, max_part: int = MAX_PART) -> None:
    """Serve `application` until SIGTERM or SIGINT, then end the process. Answers leave as they are produced."""
    settings = Adjustments(
        threads=threads,
        max_request_body_size=max_part,
        send_bytes=1,  # each piece of a stream leaves at once
        channel_request_lookahead=1,  # keep reading while a stream runs: that is how a listener who left is noticed
        outbuf_high_watermark=2**20,  # bytes ahead of a slow reader
        connection_limit=500,
        channel_timeout=120,
        asyncore_use_poll=True,
        clear_untrusted_proxy_headers=True,
        ident=None,
    )
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(threads)
    known: dict[int, Any] = {}
    for opened in sockets:
        place = (opened.family, opened.type, opened.proto, opened.getsockname())
        _Server(application, known, True, opened, dispatcher=dispatcher, adj=settings, bind_socket=False, sockinfo=place)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    try:
        wasyncore.loop(timeout=1, map=known, use_poll=True)
    except SystemExit:
        for opened in sockets:
            opened.close()
        dispatcher.shutdown(timeout=GRACE)
    logging.shutdown()
    os._exit(0)  # threads in the middle of something are not waited for: their work is delivered again


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)

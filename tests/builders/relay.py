"""A network that can fail: passes bytes between a loopback port and a server, until it is cut or falls silent."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable


class Relay:
    """`connect` opens a connection to the real server."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._silent = threading.Event()
        self._slam = threading.Event()
        self.port = 0
        self.mend()

    def mend(self) -> None:
        """Let everything through (again), on the same port."""
        self._silent.clear()
        if self._listener is not None:
            return
        listener = socket.create_server(("127.0.0.1", self.port))
        self._listener, self.port = listener, listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        if self._listener is not None:
            # A listener that is closed while it waits would take one more connection.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        while self._open:
            end = self._open.pop()
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def fall_silent(self) -> None:
        """Take requests and bring no answers."""
        self._silent.set()

    def slam(self) -> None:
        """Take the next request, and reset its connection for an answer, as a server does that is just ending."""
        self._slam.set()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                far = self._connect()
                self._open += [near, far]
                threading.Thread(target=self._pass, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not answers and self._slam.is_set():
                    self._slam.clear()
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    source.close()
                    break
                if not (answers and self._silent.is_set()):
                    target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

"""A worker for tests of the workers' pool: `python worker_program.py [crash|never-ready|die-on-request|hang|slow|with-child]`, on PORT."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from auricle.runtime.local.parent import watch_parent

MODE = sys.argv[1] if len(sys.argv) > 1 else ""


class Handler(BaseHTTPRequestHandler):
    """Ready at once; answers 200 with its process id, and events with 204."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(503 if MODE == "never-ready" else 200)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if MODE == "die-on-request":
            os._exit(9)
        if MODE == "hang":
            time.sleep(60)
        if MODE == "slow":
            time.sleep(0.3)
        self._answer(204 if "ce-id" in self.headers else 200)

    def _answer(self, status: int) -> None:
        body = b"" if status == 204 else str(os.getpid()).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def main() -> None:
    """Serve, or fail as told."""
    watch_parent()
    sys.stderr.write(f"starting with FLAVOUR={os.environ.get('FLAVOUR')} at https://host/path?token=secret\n")
    if MODE == "crash":
        sys.exit("the model /models/x is missing")
    if MODE == "with-child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
        Path(os.environ["CHILD_FILE"]).write_text(str(child.pid))
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()

"""How tests run the operator: what they are told when it comes up, ends, is killed, or never begins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cluster.operator.running import Operator, tenant

HEALTHY = """
import http.server, os, signal, sys, threading
port, folder = int(os.environ["AURICLE_OPERATOR_PORT"]), os.environ["HOME"]
print("began with", os.environ["AURICLE_OPERATOR_PREFIX"], os.environ.get("AURICLE_OPERATOR_AT_ONCE"), flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(b"# TYPE calls_total counter\\ncalls_total{verb=\\"get\\",resource=\\"a\\"} 2\\ncalls_total{verb=\\"get\\",resource=\\"b\\"} 3\\n")
    def log_message(self, *_): pass
def serve(port): http.server.HTTPServer(("127.0.0.1", port), Door).serve_forever()
threading.Thread(target=serve, args=(port + 1,), daemon=True).start()
serve(port)
"""
BROKEN = "print('no database is named'); raise SystemExit(2)"


def operator(folder: Path, program: str = HEALTHY) -> Operator:
    return Operator(folder, {"prefix": "t-"}, command=(sys.executable, "-c", program))


def test_it_is_healthy_when_start_returns_and_has_its_settings(tmp_path: Path) -> None:
    with operator(tmp_path) as running:
        assert running.process is not None
        assert running.process.poll() is None
        assert running.metric("calls_total", verb="get") == 5
        assert running.metric("calls_total", resource="b") == 3
        running.restart(at_once=3)
    assert running.process.poll() == 0
    assert running.log.read_text().splitlines() == ["began with t- None", "began with t- 3"]


def test_a_killed_one_begins_again_on_the_same_port(tmp_path: Path) -> None:
    with operator(tmp_path) as running:
        port = running.port
        running.kill()
        assert running.died() == -9
        running.start()
        assert running.port == port


def test_one_that_ends_at_once_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no database is named"):
        operator(tmp_path, BROKEN).start()
    dying = operator(tmp_path, BROKEN).start(die_at=1)  # meant to die: nobody waits for its health
    assert dying.died() == 2


def test_a_setting_that_there_is_none_is_a_mistake_of_the_test(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="colour"):
        operator(tmp_path).start(colour="blue")


def test_a_tenant_is_written_as_people_write_it() -> None:
    assert tenant("acme", plan="small") == {
        "apiVersion": "auricle.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": "acme"},
        "spec": {"plan": "small"},
    }

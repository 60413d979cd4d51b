"""What is read over the wire: an API server that a test speaks for."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from auricle.cli.client import ServerError
from auricle.cli.clusterdoctor import Lack, Sight
from auricle.cli.clusterdoctor.reading import SET, Unreachable, look
from auricle.cli.doctor import doctor

VALUE = base64.b64encode(b"hunter2").decode()
OF_SECRETS = "/api/v1/namespaces/vault/secrets"


class ApiServer(ThreadingHTTPServer):
    """Answers what `answers` says by path, an empty list for the rest; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.answers: dict[str, tuple[int, Any]] = {"/version": (200, {"gitVersion": "v1.34.3"})}
        self.asked: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Door(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:
        status, body = self.server.answers.get(self.path.partition("?")[0], (200, {"items": [], "metadata": {}}))
        written = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Called for every request, also for methods that are not answered."""
        self.server.asked.append((self.command, self.path.partition("?")[0]))

    def log_message(self, format: str, *args: Any) -> None:
        """Not a word."""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ApiServer]:
    """An API server, and a kubeconfig for it."""
    server = ApiServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _kubeconfig(monkeypatch, tmp_path, server.url)
    yield server
    server.shutdown()
    server.server_close()


def _kubeconfig(monkeypatch: pytest.MonkeyPatch, folder: Path, url: str) -> None:
    written = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(written))
    monkeypatch.setenv("KUBECONFIG", str(folder / "kubeconfig"))


def _status(code: int) -> tuple[int, Any]:
    return code, {"kind": "Status", "status": "Failure", "code": code, "message": "no"}


def test_a_secrets_keys_are_seen_and_its_values_are_not(api: ApiServer) -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": VALUE}
    held = {"metadata": {"name": "auricle-events", "annotations": annotations}, "data": {"EVENT_KEY": VALUE, "OLD": ""}}
    public = {"metadata": {"name": "gateway-tls"}, "data": {"tls.crt": "UEVN", "tls.key": VALUE}}
    api.answers[OF_SECRETS] = (200, {"items": [held, public], "metadata": {}})

    seen = look("vault", None, lambda: None)

    assert [dict(s["data"]) for s in seen.objects[Sight.SECRETS]] == [
        {"EVENT_KEY": SET, "OLD": ""},
        {"tls.crt": "UEVN", "tls.key": SET},
    ]
    assert VALUE not in repr(seen)


def test_nothing_is_asked_but_to_read(api: ApiServer) -> None:
    look("vault", None, lambda: None)

    assert {method for method, _ in api.asked} == {"GET"}
    assert not [path for _, path in api.asked if re.search(r"namespaces/(?!vault|knative-|kube-node-lease)", path)]


def test_what_is_forbidden_unknown_or_broken_is_told_apart(api: ApiServer) -> None:
    api.answers[OF_SECRETS] = _status(403)
    api.answers["/apis/serving.knative.dev/v1/namespaces/vault/services"] = _status(404)
    api.answers["/api/v1/nodes"] = _status(500)
    api.answers["/api/v1/namespaces/vault"] = _status(404)

    seen = look("vault", None, lambda: None)

    assert seen.lacking == {Sight.SECRETS: Lack.FORBIDDEN, Sight.SERVICES: Lack.UNKNOWN, Sight.NODES: Lack.BROKEN}
    assert seen.gone


def test_the_migrate_jobs_last_words_are_read(api: ApiServer) -> None:
    job = {"name": "migrate-x", "labels": {"job-name": "migrate"}}
    api.answers["/api/v1/namespaces/vault/pods"] = (200, {"items": [{"metadata": job, "status": {"phase": "Succeeded"}}]})
    api.answers["/api/v1/namespaces/vault/pods/migrate-x/log"] = (200, "at revision 0003")

    assert "at revision 0003" in look("vault", None, lambda: None).migrated


def test_both_clocks_are_read(api: ApiServer) -> None:
    seen = look("vault", None, lambda: 2)

    assert seen.server_clock is not None
    assert abs(seen.server_clock - seen.now) < 5
    assert (seen.version, seen.letters) == ("v1.34.3", 2)


def test_a_server_that_does_not_say_its_dead_letters_spoils_nothing_else(api: ApiServer) -> None:
    def letters() -> int:
        raise ServerError(403, "This token may not operate.")

    seen = look("vault", None, letters)

    assert (seen.letters, seen.silence, seen.version) == (None, "This token may not operate.", "v1.34.3")


@pytest.mark.parametrize(
    ("words", "said"), [(["--context", "x"], "go with --cluster"), (["--cluster", "--server", "https://x"], "Give a token")]
)
def test_options_that_do_not_go_together_are_refused(words: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AURICLE_TOKEN", raising=False)
    result = CliRunner().invoke(doctor, words)

    assert result.exit_code == 2
    assert said in result.output


def test_a_login_that_has_run_out_is_one_sentence(api: ApiServer) -> None:
    api.answers["/version"] = _status(401)

    with pytest.raises(Unreachable, match="Log in again"):
        look("vault", None, lambda: None)


def test_a_cluster_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        _kubeconfig(monkeypatch, tmp_path, f"http://127.0.0.1:{taken.getsockname()[1]}")
        result = CliRunner().invoke(doctor, ["--cluster"])

    assert result.exit_code == 1
    assert "does not answer" in result.output
    assert "--context" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("text", ["clusters: [{", "null", "contexts: []\n"])
def test_a_kubeconfig_that_is_none_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    result = CliRunner().invoke(doctor, ["--cluster"])

    assert result.exit_code == 1
    assert "usable kubeconfig" in result.output


def test_the_command_fails_when_something_is_broken_and_tells_programs_what(api: ApiServer) -> None:
    result = CliRunner().invoke(doctor, ["--cluster", "--namespace", "vault", "--json"])
    broken = [f for f in json.loads(result.output) if f["grade"] == "problem"]

    assert result.exit_code == 1
    assert broken
    assert all(set(f) == {"name", "grade", "text", "remedy"} and f["remedy"] for f in broken)

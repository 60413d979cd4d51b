"""A real Prometheus with our scrape configuration and rules, at real processes of ours, answering every query of the dashboard."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from sqlalchemy import text

from auricle.deploy.generated import MANIFESTS, ROOT
from auricle.runtime.database import Database, engine_for, migrate
from builders.nginx_gateway import certificate

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]
HERE = MANIFESTS / "components" / "monitoring"
NAMESPACE = "auricle-tried"
QUIET = ("Share of requests that fail A",)
"""Panels with nothing to show while nothing fails; they are evaluated all the same."""
MODELS = (
    "import sys; from auricle.runtime import metrics; metrics.model_loaded('whisper-demo', 0.4);"
    "metrics.Door(int(sys.argv[1]), metrics.tally.families, '127.0.0.1').serve_forever()"
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def until(what: str, true: Callable[[], Any], seconds: float = 45) -> Any:
    """What `true()` gives as soon as it is something."""
    end = time.monotonic() + seconds
    while True:
        try:
            if found := true():
                return found
        except urllib3.exceptions.HTTPError as error:
            found = error
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s; last: {found}"
        time.sleep(0.1)


@contextmanager
def process(folder: Path, *command: str | Path, **environment: str) -> Iterator[None]:
    """A process of its own until the end; its output lies in `folder`."""
    with (folder / f"{uuid.uuid4()}.log").open("wb") as log:
        started = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log, cwd=ROOT)
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(15)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait(5)


@contextmanager
def gateway(folder: Path) -> Iterator[int]:
    """Shows a certificate to whoever comes; gives the port."""
    pair = certificate(folder, "auricle.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(line, server_side=True).close()
                except OSError:
                    line.close()

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def pod(address: str, name: str, container: str, port_name: str, phase: str = "Running") -> dict[str, Any]:
    """A target as Kubernetes' service discovery describes it."""
    found = {"namespace": NAMESPACE, "pod_name": name, "pod_phase": phase}
    found |= {"pod_container_name": container, "pod_container_port_name": port_name}
    return {"targets": [address], "labels": {f"__meta_kubernetes_{key}": value for key, value in found.items()}}


def configuration(folder: Path, function_port: int, figures_port: int, models_port: int) -> Path:
    """Ours, with a file in place of Kubernetes (which Debian's Prometheus does not know), and impatient."""
    here = "127.0.0.1"
    found = {
        "auricle-functions": [
            pod(f"{here}:8080", "files-00001-abc", "function", "user-port"),
            pod(f"{here}:8012", "files-00001-abc", "queue-proxy", "queue-port"),
            pod(f"{here}:9090", "files-00001-abc", "queue-proxy", "http-autometric"),
            pod(f"{here}:8081", "files-00000-old", "function", "user-port", "Succeeded"),
        ],
        "auricle-figures": [pod(f"{here}:{figures_port}", "figures-abc", "figures", "metrics")],
    }
    ours = yaml.safe_load((HERE / "prometheus" / "prometheus.yaml").read_text().replace(":9095", f":{function_port}"))
    ours["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    ours["rule_files"] = [str(HERE / "prometheus" / name) for name in ours["rule_files"]]
    for job in ours["scrape_configs"]:
        del job["kubernetes_sd_configs"]
        job.pop("scrape_interval", None), job.pop("scrape_timeout", None)
        (folder / f"{job['job_name']}.json").write_text(json.dumps(found[job["job_name"]]))
        job["file_sd_configs"] = [{"files": [str(folder / f"{job['job_name']}.json")]}]
    models = {"targets": [f"{here}:{models_port}"], "labels": {"namespace": NAMESPACE, "pod": "transcribe-00001-abc"}}
    ours["scrape_configs"].append({"job_name": "models", "static_configs": [models]})
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(ours))
    return folder / "prometheus.yaml"


@dataclass(frozen=True)
class Prometheus:
    """A running one, over a database that has been used."""

    url: str
    database: Database
    functions: str
    """URL of the functions that it watches."""

    def get(self, path: str, **fields: str) -> Any:
        """Of its API; a query with a fault fails."""
        answer = urllib3.request("GET", f"{self.url}/api/v1/{path}", fields=fields, timeout=20, retries=False)
        if answer.status == 503:  # it listens before it has read what it knows
            raise urllib3.exceptions.HTTPError(answer.data.decode())
        told = answer.json()
        assert told["status"] == "success", told
        return told["data"]

    def asked(self, query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("query", query=query)["result"]
        return found

    def firing(self) -> set[str]:
        return {alert["labels"]["alertname"] for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, database_url: str, app_database_url: str) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.fail("There is no prometheus: bash tests/services/install.sh")
    folder = tmp_path_factory.mktemp("prometheus")
    migrate(database_url)
    http, function_port, figures_port, models_port, port = (free_port() for _ in range(5))
    framework = (sys.executable, "-m", "functions_framework", "--source", ROOT / "functions" / "main.py")
    with ExitStack() as stack:
        shown = stack.enter_context(gateway(folder))
        door = {"METRICS_PORT": str(figures_port), "DATABASE_URL": app_database_url}
        stack.enter_context(process(folder, sys.executable, "-m", "auricle.runtime.figures", f"127.0.0.1:{shown}", **door))
        stack.enter_context(process(folder, sys.executable, "-c", MODELS, str(models_port)))
        settings = {
            "AURICLE_FUNCTION": "docs,export,transcribe",
            "API_DOCS": "public",
            "METRICS_PORT": str(function_port),
            "DATABASE_URL": app_database_url,
        }
        secrets = {"EVENT_KEY": "0" * 64, "LOG_LEVEL": "INFO"}
        server = (*framework, "--target", "handle", "--signature-type", "http", "--host", "127.0.0.1", "--port", str(http))
        stack.enter_context(process(folder, *server, **settings, **secrets))
        functions = f"http://127.0.0.1:{http}"
        use(functions)
        config = configuration(folder, function_port, figures_port, models_port)
        stack.enter_context(
            process(
                folder,
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            )
        )
        database = Database(engine_for(database_url, 1))
        stack.callback(database.close)
        begin_a_run(database)
        found = Prometheus(f"http://127.0.0.1:{port}", database, functions)
        until("Prometheus has scraped all three", lambda: len(found.asked("up == 1")) == 3)
        until("the figures are there", lambda: found.asked("auricle_certificate_ends_timestamp_seconds"))
        yield found


def use(url: str) -> None:
    """Wake the functions by a request, as Knative does: a probe, then what they were woken for. Then what breaks one."""
    until("the functions answer", lambda: urllib3.request("GET", f"{url}/healthz", timeout=5, retries=False).status == 200)
    assert urllib3.request("GET", f"{url}/api/openapi.json", timeout=20).status == 200
    assert deliver_nonsense(url, "transcribe") == 500


def deliver_nonsense(url: str, function: str) -> int:
    """What is no event, as a broker would bring it; gives the status."""
    answer = urllib3.request("POST", f"{url}/events/{function}", json={}, timeout=20, retries=False)
    return answer.status


def begin_a_run(database: Database) -> None:
    """A recording with one piece that somebody works on."""
    ids = {"f": uuid.uuid4(), "r": uuid.uuid4(), "o": uuid.uuid4()}
    with database.work() as db:
        for statement in (
            "insert into files (id, owner, name, name_key, size, content_type, state, kind, key)"
            " values (:f, :o, 'Ann.wav', 'ann.wav', 1234, 'audio/wav', 'ready', 'audio', 'k')",
            "insert into runs (id, file_id, owner, state, options) values (:r, :f, :o, 'running', '{}')",
            "insert into steps (run_id, name, position, state) values (:r, 'transcribe', 0, 'running')",
            'insert into pieces (run_id, step, "index", start, "end", weight, state, attempt, releases, fraction, begun, deadline)'
            " values (:r, 'transcribe', 0, 0, 1, 1, 'released', 1, 1, 0, true, now() + interval '1 hour')",
        ):
            db.execute(text(statement), ids)


def test_only_function_containers_are_asked_and_at_the_metrics_port(prometheus: Prometheus) -> None:
    targets = prometheus.get("targets", state="active")["activeTargets"]
    assert {(t["labels"]["job"], t["labels"].get("pod"), t["health"]) for t in targets} == {
        ("auricle-functions", "files-00001-abc", "up"),
        ("auricle-figures", "figures-abc", "up"),
        ("models", "transcribe-00001-abc", "up"),
    }
    assert {t["labels"]["namespace"] for t in targets} == {NAMESPACE}


def panels() -> list[tuple[str, str]]:
    board = json.loads((HERE / "auricle.json").read_text())
    return [
        (f"{panel['title']} {target['refId']}", target["expr"].replace("$namespace", NAMESPACE))
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]


@pytest.mark.parametrize(("panel", "query"), panels(), ids=[title for title, _ in panels()])
def test_every_panel_has_something_to_show(prometheus: Prometheus, panel: str, query: str) -> None:
    if panel in QUIET:
        assert prometheus.asked(query) == []
        return
    shown = until(f"{panel} shows something", lambda: prometheus.asked(query))
    assert all(row["value"][1] != "NaN" for row in shown), shown


def test_a_process_s_only_cold_start_is_seen_although_its_counter_never_rises(prometheus: Prometheus) -> None:
    (query,) = [query for panel, query in panels() if panel.startswith("Cold starts in an hour")]
    assert [(row["metric"], row["value"][1]) for row in prometheus.asked(query)] == [({"function": "docs"}, "1")]
    assert all(float(row["value"][1]) == 0 for row in prometheus.asked("increase(auricle_cold_starts_total[1h])"))


def test_a_dead_letter_raises_its_alert_until_it_is_replayed(prometheus: Prometheus) -> None:
    assert "AuricleDeadLetters" not in prometheus.firing()
    assert deliver_nonsense(prometheus.functions, "export") == 204  # it keeps what it cannot read, as a dead letter
    until("the alert fires", lambda: "AuricleDeadLetters" in prometheus.firing())
    (alert,) = [a for a in prometheus.get("alerts")["alerts"] if a["labels"]["alertname"] == "AuricleDeadLetters"]
    assert alert["annotations"]["summary"].startswith(f"1 events of {NAMESPACE} could not be worked on")
    assert "auricle dead-letters list" in alert["annotations"]["description"]
    with prometheus.database.work() as db:
        db.execute(text("update dead_letters set state = 'replayed'"))
    until("the alert ends", lambda: "AuricleDeadLetters" not in prometheus.firing())


def test_the_certificate_s_end_tomorrow_is_told(prometheus: Prometheus) -> None:
    until("the alert fires", lambda: "AuricleCertificateEnds" in prometheus.firing())

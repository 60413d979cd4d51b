"""The real operator as a process of this machine, at work on the real cluster."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from auricle_operator.api.rules import GROUP
from auricle_operator.settings import PREFIX, Settings
from builders.minio_server import free_port
from cluster.deployment import KUBECONFIG, ROOT, Refused, kubectl, objects, until

SOURCES = ("functions", "gpu-pool", "operator")
ENDING_SECONDS = 30
"""What a pod is given between SIGTERM and SIGKILL."""


@dataclass
class Operator:
    """`python -m auricle_operator`, started as often as a test likes. `settings` are fields of `Settings`.

    `kubeconfig` leads to the API server: the lane's own, or a `Recorder`'s.
    """

    folder: Path  # its log lies there
    settings: Mapping[str, object] = field(default_factory=dict)
    kubeconfig: Path = KUBECONFIG
    port: int = 0  # of /healthz; /metrics is one above
    command: Sequence[str] = (sys.executable, "-m", "auricle_operator")
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> Path:
        """All that it wrote, over all starts."""
        return self.folder / "operator.log"

    def start(self, **more: object) -> Self:
        """Begin, and wait until it is healthy. `more` are settings of this start alone; `die_at` waits for nothing."""
        assert self.process is None or self.process.poll() is not None, "It runs already"
        self.port = self.port or _two_free_ports()
        chosen = {"port": self.port, **self.settings, **more}
        unknown = chosen.keys() - set(Settings.__struct_fields__)
        assert not unknown, f"The operator has no setting {', '.join(unknown)}"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.kubeconfig),
            "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in SOURCES),
            **{PREFIX + name.upper(): str(value) for name, value in chosen.items()},
        }
        command = ["setpriv", "--pdeathsig", "KILL", *self.command]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)
        if not chosen.get("die_at"):
            self.wait_healthy()
        return self

    def wait_healthy(self, seconds: float = 60) -> None:
        """Until `/healthz` answers; fails with the end of its log where it ends before."""
        until("the operator's /healthz", self._healthy, seconds, every=0.2)

    def stop(self) -> int:
        """As Kubernetes does: SIGTERM, and SIGKILL if that is not enough. Returns the exit status; fine when it has ended."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def kill(self) -> None:
        """As a node that loses power."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def restart(self, **more: object) -> Self:
        """End it if it has not ended, and begin again."""
        self.stop()
        return self.start(**more)

    def died(self, seconds: float = 120) -> int:
        """Waits until it has ended by itself (`die_at`); returns its exit status."""
        assert self.process is not None
        return self.process.wait(seconds)

    def metric(self, name: str, **labels: str) -> float:
        """A figure of its `/metrics`, summed over the labels that are not named."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port + 1}/metrics", timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        samples = [s for family in families for s in family.samples if s.name == name]
        return sum(s.value for s in samples if labels.items() <= s.labels.items())

    def _healthy(self) -> bool:
        assert self.process is not None
        if (status := self.process.poll()) is not None:
            raise RuntimeError(f"The operator ended with {status}: {self.log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def tenant(name: str, **spec: Any) -> dict[str, Any]:
    """A Tenant as a person writes it; `spec` in the names of its YAML."""
    return {"apiVersion": "auricle.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name}, "spec": spec}


def let_go(*names: str) -> None:
    """Delete tenants, as somebody who means it; nobody waits."""
    for name in names:
        kubectl("annotate", "tenant", name, f"{GROUP}/confirm-deletion={name}", "--overwrite")
        kubectl("delete", "tenant", name, "--wait=false")


def conditions(kind: str, name: str, namespace: str | None = None) -> dict[str, dict[str, Any]]:
    """By type, those that speak of what the object says now; empty when there is none yet, or no such object."""
    try:
        found = objects(kind, name, *(("-n", namespace) if namespace else ()))[0]
    except Refused:
        return {}
    status, generation = found.get("status", {}), found["metadata"].get("generation", 0)
    if status.get("observedGeneration", 0) < generation:
        return {}
    return {each["type"]: each for each in status.get("conditions", ())}


def wait_for(kind: str, name: str, *, namespace: str | None = None, seconds: float = 120, **wanted: str) -> dict[str, Any]:
    """Until its conditions are so (`Ready="True"`); returns them. Where they never are, says what they were."""
    seen: dict[str, dict[str, Any]] = {}

    def so() -> bool:
        seen.clear()
        seen.update(conditions(kind, name, namespace))
        return all(seen.get(type, {}).get("status") == status for type, status in wanted.items())

    try:
        until(f"{kind} {name}: {wanted}", so, seconds)
    except AssertionError as error:
        told = "; ".join(f"{c['type']}={c['status']} {c.get('reason', '')}: {c.get('message', '')}" for c in seen.values())
        raise AssertionError(f"{error}\nConditions: {told or 'none'}") from None
    return dict(seen)


def _two_free_ports() -> int:
    """A port that nobody listens on, and nobody on the one above."""
    while True:
        port = free_port("0.0.0.0")
        with socket.socket() as above:
            try:
                above.bind(("0.0.0.0", port + 1))
            except OSError:
                continue
            return port

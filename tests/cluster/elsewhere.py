"""Pods with Python that are no part of an Auricle: neighbours, attackers, somebody who looks like a function; and what they reach."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cluster.deployment import apply, image, kubectl, objects, until

Manifest = dict[str, Any]


def python_pod(
    namespace: str, name: str, labels: Mapping[str, str] | None = None, command: list[str] | None = None, **container: Any
) -> Manifest:
    """A pod that meets Pod Security `restricted`. Without a command it serves files at 8000 until it is ended."""
    secured = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    serving = ["python", "-m", "http.server", "--directory", "/app", "8000"]
    held = {
        "name": "python",
        "image": image("auricle-api"),
        "command": command or serving,
        "securityContext": secured,
        **container,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {})},
        "spec": {"containers": [held], "terminationGracePeriodSeconds": 0, "restartPolicy": "Never"},
    }


def space(name: str, labels: Mapping[str, str] | None = None) -> Manifest:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}}


def policy(namespace: str, name: str, **spec: Any) -> Manifest:
    """A network policy; of every pod there unless it says of which."""
    metadata = {"name": name, "namespace": namespace}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return {**kind, "metadata": metadata, "spec": {"podSelector": {}, **spec}}


@dataclass(frozen=True)
class Stranger:
    """A running pod with Python."""

    namespace: str
    name: str

    @property
    def address(self) -> str:
        """Of the pod."""
        return str(objects("-n", self.namespace, "pod", self.name)[0]["status"]["podIP"])

    def run(self, program: str, timeout: float = 120) -> str:
        """What a Python program prints there."""
        return kubectl("-n", self.namespace, "exec", self.name, "--", "python", "-c", textwrap.dedent(program), timeout=timeout)

    def fetched(self, url: str, patience: float = 60) -> str:
        """What it gets from `url`; empty when nobody answers within `patience` seconds."""
        program = f"""
        import urllib3
        try:
            print(urllib3.request("GET", {url!r}, timeout={patience}, retries=False).data.decode())
        except urllib3.exceptions.HTTPError:
            pass
        """
        return self.run(program, patience + 30).strip()

    def reaches(self, ends: Mapping[str, tuple[str, int]], patience: float = 6) -> set[str]:
        """Which of `ends` (host, port) take its TCP connections within `patience` seconds."""
        program = f"""
        import json, socket
        from concurrent.futures import ThreadPoolExecutor
        def reached(end):
            try:
                socket.create_connection(tuple(end[1]), timeout={patience}).close()
            except OSError:
                return None
            return end[0]
        with ThreadPoolExecutor(32) as threads:
            print(json.dumps([name for name in threads.map(reached, {json.dumps(ends)}.items()) if name]))
        """
        return set(json.loads(self.run(program, patience * 4 + 30)))


def begun(pod: Manifest) -> Stranger:
    """That pod, running."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    until("its account is made", lambda: objects("-n", namespace, "serviceaccount", "default"), 60)
    apply(pod)
    kubectl("-n", namespace, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=90s", timeout=100)
    return Stranger(namespace, name)


@contextmanager
def neighbour(namespace: str) -> Iterator[Stranger]:
    """A namespace of somebody else's with one pod, until the block ends."""
    apply(space(namespace))
    try:
        yield begun(python_pod(namespace, "python"))
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


def keeps_policies() -> bool:
    """Whether the cluster's network enforces policies, which it shows at a pod that nobody may reach."""
    with neighbour("auricle-asks") as asking, neighbour("auricle-closed") as closed:
        end = {"closed": (closed.address, 8000)}
        until("pods reach each other", lambda: asking.reaches(end), 60)
        apply(policy("auricle-closed", "deny-all", policyTypes=["Ingress"]))
        try:
            until("nobody reaches it any more", lambda: not asking.reaches(end, 3), 30)
        except AssertionError:
            return False
        return True

"""A tenant's vault as people use it, without a gateway: paths go to their functions by Knative's ingress inside the cluster."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import urllib3

from auricle.cli.client import Server
from auricle.deploy.catalogue import catalogue
from auricle.deploy.render import service_name
from auricle.runtime import pathtable
from cluster.deployment import ROOT, objects

PASSED = {"authorization", "content-type", "accept", "cookie", "idempotency-key", "if-match", "origin", "user-agent"}


class Vault:
    """One tenant's. `grouped`: which Service serves all functions of the API image, where the plan groups them."""

    def __init__(self, tenant: str, grouped: str = "") -> None:
        self.tenant, self.namespace, self.grouped = tenant, f"auricle-{tenant}", grouped
        self.pool = urllib3.PoolManager(maxsize=16, timeout=urllib3.Timeout(connect=5, read=90), retries=False)

    @cached_property
    def ingress(self) -> str:
        """Knative's, as pods reach it."""
        (found,) = objects("service", "kourier-internal", "-n", "kourier-system")
        return str(found["spec"]["clusterIP"])

    def function(self, path: str) -> str:
        """The Service that a path belongs to."""
        routes = {path: entry.name for entry in catalogue() for path in entry.paths}
        asked = pathtable.parts(urlsplit(path).path)
        name = next((row.function for row in pathtable.rows(routes) if pathtable.fits(row, asked)), "admin")
        if self.grouped:
            return {"identity": "identity", "users": "people", "settings": "people"}.get(name, self.grouped)
        return service_name(name)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
        """One request; urllib3's answer, whatever its status."""
        host = f"{self.function(path)}.{self.namespace}.svc.cluster.local"
        return self.pool.request(
            method, f"http://{self.ingress}{path}", body=body, headers={**(headers or {}), "Host": host}, redirect=False
        )

    def secret(self, purpose: str) -> dict[str, str]:
        """The values that functions have now."""
        (managed,) = objects("managedsecret", purpose, "-n", self.namespace)
        (found,) = objects("secret", managed["status"]["current"], "-n", self.namespace)
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    def owner_token(self) -> str:
        """A personal token of the owner, made as the job of an installation without an operator makes it."""
        environment = {**os.environ, "DATABASE_URL": self.secret("database")["DATABASE_URL"]}
        done = subprocess.run(
            [sys.executable, "-m", "auricle.deploy.jobs", "owner"], env=environment, capture_output=True, text=True, cwd=ROOT
        )
        found = re.search(r"aur_\S+", done.stdout)
        assert found, done.stderr
        return found[0]

    @contextlib.contextmanager
    def server(self) -> Iterator[Server]:
        """As its owner's command line reaches it."""
        with self.reached() as url:
            yield Server(url, self.owner_token())

    @contextlib.contextmanager
    def reached(self) -> Iterator[str]:
        """An address of this machine behind which the vault's paths are."""
        vault = self

        class Passing(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def passed(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name: value for name, value in self.headers.items() if name.lower() in PASSED}
                answer = vault.ask(self.command, self.path, self.rfile.read(length) if length else None, headers)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.data)))
                self.end_headers()
                self.wfile.write(answer.data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = passed  # noqa: N815 - the library's names

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the functions keep their own log."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Passing) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()

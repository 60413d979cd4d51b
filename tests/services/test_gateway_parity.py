"""nginx and `auricle up` answer every path and method of the OpenAPI document alike.

On one side `auricle up`, all in one process and with `--isolate`; on the other nginx before the very same functions in
processes of their own (functions-framework, as in their images), started as that host's plan says, on its database and blobs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
from sqlalchemy import text

from auricle.cli.embedded import embedded_host, free_port
from auricle.deploy.catalogue import catalogue
from auricle.deploy.openapi import document
from auricle.deploy.render import service_name
from auricle.runtime.database import Database, engine_for
from auricle.runtime.local import plan as plans
from auricle.runtime.local.planning import without_secrets
from builders.nginx_gateway import Nginx, nginx, places

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
NOBODY = "01890000-0000-7000-8000-000000000000"
STREAMS = ("/api/events",)
ALIKE = (
    "content-type",
    "cache-control",
    "location",
    "etag",
    "retry-after",
    "www-authenticate",
    "allow",
    "x-content-type-options",
)
"""Headers that mean something to clients. nginx adds those of security, and an id of its own to each request."""
DOCUMENT = document()
STRANGE = (
    "/nothing",
    "/api",
    "/api/files/",
    "/api/files/a/b/c",
    "/API/files",
    "/events/advance",
    "/api/docs/nothing.js",
    "/api//files",
)
ASKED = [*DOCUMENT["paths"], *STRANGE]


@dataclass(frozen=True)
class Side:
    """One of those who answer, and the token of its owner."""

    url: str
    owner: str


@dataclass(frozen=True)
class Sides:
    """All who answer: `auricle up`, `auricle up --isolate` and nginx."""

    hosts: tuple[Side, ...]
    nginx: Side
    gateway: Nginx
    pool: urllib3.PoolManager
    databases: tuple[Database, ...]

    def forget_who_asked(self) -> None:
        """All come from one address here, and who shows what is no credential too often is told to wait."""
        for database in self.databases:
            with database.work() as connection:
                connection.execute(text("delete from ephemeral_rates"))

    def ask(self, method: str, path: str, who: str, body: bytes | None) -> tuple[list[Any], Any]:
        """The answers of both hosts, and nginx's. `who` is nobody, a stranger or the owner."""
        found = []
        for side in (*self.hosts, self.nginx):
            token = {"nobody": "", "stranger": "aur_stranger", "owner": side.owner}[who]
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            if body is not None:
                headers["Content-Type"] = "application/json"
            found.append(self.pool.request(method, side.url + path, headers=headers, body=body, redirect=False, retries=False))
        return found[:-1], found[-1]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """All sides, with every function of routes awake."""
    folder = tmp_path_factory.mktemp("parity")
    with ExitStack() as stack:
        together = stack.enter_context(embedded_host(folder / "together", {}))
        isolated = stack.enter_context(embedded_host(folder / "data", {}, "--isolate"))
        plan = plans.read(folder / "data" / "run" / "plan.json")
        key = json.loads((folder / "data" / "secrets.json").read_text())["gateway_key"]
        names = [entry.name for entry in catalogue() if entry.kind == "routes"]
        ports = {name: stack.enter_context(function(plan, name, key, folder)) for name in names}
        place = places({service_name(name): f"127.0.0.1:{port}" for name, port in ports.items()})
        gateway = stack.enter_context(nginx(folder / "gateway", place, files={"limits.conf": UNLIMITED}, key=key))
        pool = urllib3.PoolManager(ca_certs=str(gateway.tls.certificate), timeout=urllib3.Timeout(connect=5, read=120))
        for port in ports.values():
            ready(pool, port)
        owner = (folder / "data" / "owner-token").read_text().strip()
        hosts = (
            Side(together.url.rstrip("/"), (folder / "together" / "owner-token").read_text().strip()),
            Side(isolated.url.rstrip("/"), owner),
        )
        urls = (plans.read(folder / name / "run" / "plan.json").database_url for name in ("together", "data"))
        yield Sides(hosts, Side(gateway.url, owner), gateway, pool, tuple(Database(engine_for(url, 1)) for url in urls))


UNLIMITED = """
limit_req_zone $binary_remote_addr zone=everybody:1m rate=10000r/s;
limit_req_zone $binary_remote_addr zone=identity:1m rate=10000r/s;
limit_req_zone $binary_remote_addr zone=uploads:1m rate=10000r/s;
limit_req_zone $binary_remote_addr zone=objects:1m rate=10000r/s;
limit_conn_zone $binary_remote_addr zone=connections:1m;
"""
"""`auricle up` counts nobody's requests."""


class function:  # noqa: N801 - used like a function
    """A function's process, as the plan describes it, for the length of a `with`; gives its port."""

    def __init__(self, plan: plans.Plan, name: str, key: str, folder: Path) -> None:
        """`key` is the gateway's."""
        self._pool = next(p for p in plan.pools if p.name == name)
        self._key = key
        self._log = folder / f"{name}.log"

    def __enter__(self) -> int:
        """Start it."""
        port = free_port()
        env = {**without_secrets(os.environ), **self._pool.env, "GATEWAY_KEY": self._key, "PORT": str(port)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._pool.command, env=env, stdout=log, stderr=log, start_new_session=True)
        return port

    def __exit__(self, *_: object) -> None:
        """End it and its workers, also in the middle of a line of events."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(20)


def ready(pool: urllib3.PoolManager, port: int) -> None:
    """Wait until a function answers its probe."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            if pool.request("GET", f"http://127.0.0.1:{port}/readyz", retries=False).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.1)
    raise AssertionError("a function does not start")


def compare(ours: Any, theirs: Any, where: str) -> None:
    """Both mean the same to whoever asked."""
    assert ours.status == theirs.status, (where, ours.data[:300], theirs.data[:300])
    if ours.status == 405:
        return  # one process knows what all functions take at a path like this one, a function what it takes itself
    for name in ALIKE:
        assert ours.headers.get(name) == theirs.headers.get(name), (where, name)
    assert len(theirs.headers.getlist("x-request-id")) == 1
    assert len(theirs.headers.getlist("x-content-type-options")) == 1
    if ours.headers.get("content-type") == "application/problem+json" and ours.data:  # HEAD has none
        told, said = json.loads(ours.data), json.loads(theirs.data)
        assert {k: v for k, v in told.items() if k != "trace"} == {k: v for k, v in said.items() if k != "trace"}, where


def filled(path: str) -> str:
    """A path of the document with nobody's ids."""
    for hole in [part for part in path.split("/") if part.startswith("{")]:
        path = path.replace(hole, "start.js" if hole == "{asset}" else NOBODY)
    return path


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize("who", ["nobody", "stranger", "owner"])
def test_all_answer_alike(sides: Sides, path: str, who: str) -> None:
    sides.forget_who_asked()
    for method in METHODS:
        if path in STREAMS and who == "owner" and method in ("GET", "HEAD"):
            continue  # followed below
        if (method, path) == ("DELETE", "/api/invitations/accept"):
            continue  # one process takes `accept` for an invitation's id here, which there is none of; nginx asks identity
        body = b"{}" if method in ("POST", "PUT", "PATCH") else None
        hosts, theirs = sides.ask(method, filled(path), who, body)
        for ours in hosts:
            compare(ours, theirs, f"{method} {path} as {who}")


def test_documents_are_the_same_byte_for_byte(sides: Sides) -> None:
    for path in ("/api/openapi.json", "/api/docs", "/api/docs/start.js", "/api/docs/swagger-ui-bundle.js"):
        hosts, theirs = sides.ask("GET", path, "nobody", None)
        assert {(a.status, a.data) for a in (*hosts, theirs)} == {(200, theirs.data)}


def test_bodies_that_are_too_large_are_refused_alike(sides: Sides) -> None:
    hosts, theirs = sides.ask("POST", "/api/uploads", "owner", b'"' + b"x" * 2**20 + b'"')
    assert theirs.status == 413
    for ours in hosts:
        compare(ours, theirs, "a large body")


def test_lines_of_events_are_alike(sides: Sides) -> None:
    seen = []
    for side in (*sides.hosts, sides.nginx):
        headers = {"Authorization": f"Bearer {side.owner}"}
        line = sides.pool.request(
            "GET", f"{side.url}/api/events", headers=headers, preload_content=False, retries=False, timeout=30
        )
        kept = {name: line.headers.get(name) for name in ("content-type", "cache-control")}
        seen.append((line.status, kept, line.readline()))
        line.close()
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][0] == 200


def test_functions_behind_nginx_know_the_client(sides: Sides) -> None:
    """The whole way: nginx signs, a real door believes, and writes who was refused; what a client claims is not there."""
    answer = sides.gateway.ask("/api/tokens", source="127.0.7.77", X_Auricle_Client_Address="203.0.113.9")
    assert answer.status == 401
    log = (sides.gateway.folder.parent / "access.log").read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert [line["client"] for line in lines if "refused" in line["message"] and "client" in line][-1] == "127.0.7.77"
    assert "203.0.113.9" not in log

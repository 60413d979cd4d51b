"""What it costs to know who asks: over HTTP, as CPU time of the door alone, and what of a sign-in is Argon2id.

    python tests/bench/sign_in.py

The kinds take turns, so that a busy machine is unfair to none.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import flask
import urllib3
from werkzeug.test import EnvironBuilder

sys.path.insert(0, str(Path(__file__).parents[1]))

from auricle.access.store import SessionStore
from auricle.contract.choices import Permission
from auricle.contract.function import Signature, registry
from auricle.contract.http import Reply
from auricle.runtime.httpdoor import HttpDoor
from bench.figures import figure
from builders.newcomers import OWNER as OWNER_HERE
from builders.newcomers import PASSWORD as PASSWORD_HERE
from builders.newcomers import bearer, vault
from builders.postgres_server import running

ROUNDS = 150
"""Few enough to stay below the limits that are measured along."""
PASSWORD = "Brass lantern over 4 quiet waters"
OWNER = {"email": "ada@vault.example", "password": PASSWORD}


SIGN_INS = 30


def main() -> None:
    """All of it."""
    over_http()
    with running() as postgres:
        in_the_door(postgres.owner_url(postgres.new_database()))
        for quick in (False, True):
            signing_in(postgres.owner_url(postgres.new_database()), quick=quick)


def in_the_door(database_url: str) -> None:
    """CPU time of one and the same route that does nothing in a unit of work, public and for who is signed in."""
    with vault(database_url) as home:
        (known,) = (route for route in registry.routes if route.name == "who_am_i")
        nothing = {"signature": Signature({"store": SessionStore}, Reply[None]), "handler": lambda store: Reply(None)}
        routes = [
            replace(known, path=f"/{open_to.value}", permission=open_to, **nothing)
            for open_to in (Permission.PUBLIC, Permission.SIGNED_IN)
        ]
        door, app = HttpDoor(routes, home.bound.wiring), flask.Flask(__name__)
        asked = {
            "nobody": ("/public", {}),
            "a personal token": ("/signed-in", {"Authorization": f"Bearer {home.token}"}),
            "a signed token": ("/signed-in", bearer(home)),
        }
        taken: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(ROUNDS):
            for name, (path, headers) in asked.items():
                request = flask.Request(EnvironBuilder(path=path, headers=headers).get_environ())
                begun = time.process_time()
                with app.app_context():
                    assert door(request).status_code == 200
                taken[name].append((time.process_time() - begun) * 1000)
        base = statistics.median(taken.pop("nobody"))
        figure("CPU time of a request by nobody", base, "ms", note="a route that opens a unit of work and does nothing")
        for name, times in taken.items():
            figure(f"CPU time that {name} adds", statistics.median(times) - base, "ms")


def signing_in(database_url: str, *, quick: bool) -> None:
    """Sign-ins through the door, with Argon2id and with a hash that costs nothing."""
    with vault(database_url, quick=quick) as home:
        taken = []
        for number in range(SIGN_INS):
            with home.coming_from(f"192.0.2.{number + 1}"):  # addresses have limits
                begun = time.perf_counter()
                assert home.raw("POST", "/api/session", {"email": OWNER_HERE, "password": PASSWORD_HERE}).status_code == 201
                taken.append((time.perf_counter() - begun) * 1000)
        figure(f"signing in {'without' if quick else 'with'} Argon2id, p50", statistics.median(taken), "ms")


def over_http() -> None:
    """`auricle up` on this machine: make an owner, ask in turns."""
    from auricle.cli.embedded import embedded_host

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, embedded_host(Path(folder)) as server:
        url, http = server.url.rstrip("/"), urllib3.PoolManager(retries=False, timeout=30)
        code = (Path(folder) / "setup-code").read_text()
        body = {**OWNER, "code": code, "display_name": "Ada"}
        answer = http.request("POST", f"{url}/api/setup", json=body).json()
        personal = (Path(folder) / "owner-token").read_text().strip()
        asked = {
            "nobody": ("/health", {}),
            "a personal token": ("/api/files", {"Authorization": f"Bearer {personal}"}),
            "a signed token": ("/api/files", {"Authorization": f"Bearer {answer['access_token']}"}),
        }
        taken: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(ROUNDS):
            for name, (path, headers) in asked.items():
                begun = time.perf_counter()
                status = http.request("GET", url + path, headers=headers).status
                taken[name].append((time.perf_counter() - begun) * 1000)
                assert status == 200, (name, status)
        medians = {name: statistics.median(times) for name, times in taken.items()}
        figure("GET /health, asked by nobody", medians["nobody"], "ms", note=f"median of {ROUNDS}")
        figure("GET /api/files with a personal token", medians["a personal token"], "ms")
        figure("GET /api/files with a signed token", medians["a signed token"], "ms")
        figure("a signed token over a personal one", medians["a signed token"] - medians["a personal token"], "ms")


if __name__ == "__main__":
    main()

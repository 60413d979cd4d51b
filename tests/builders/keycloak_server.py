"""A real Keycloak for tests: its realm comes from keycloak-realm.json, its people sign in through its own login form.

It comes from Maven by name, once, into the cache (AURICLE_CACHE), and wants 500 MB of memory; without Java and Maven whatever asks
for one is skipped. A start takes half a minute to two, and it prepares itself anew only the first time.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import html
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import zipfile
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import urllib3

from auricle.ports.oidc import Connection
from builders.oidc_provider import Pairs, back_channel

VERSION = "26.7.3"
ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
REALM_FILE = Path(__file__).with_name("keycloak-realm.json")
START_SECONDS = 300
MEMORY = "-Xms64m -Xmx384m"
REDIRECT, SIGNED_OUT = "http://127.0.0.1:8000/api/sign-in/keycloak/callback", "http://127.0.0.1:8000/signed-out"


class Browser:
    """As much of a browser as a login form needs. Cookies go back over loopback although they are marked Secure, as browsers do."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, url: str, form: dict[str, str] | None = None) -> urllib3.BaseHTTPResponse:
        """One request, no redirect followed."""
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(form) if form is not None else None
        answer = urllib3.request(method, url, body=body, headers=headers, redirect=False, retries=False, timeout=60)
        for line in answer.headers.getlist("Set-Cookie"):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        self.cookies = {name: value for name, value in self.cookies.items() if value}
        return answer

    def sign_in(self, url: str, person: str, password: str) -> str:
        """Follow `url`, fill in the form; where that leads."""
        page = self.ask("GET", url)
        if page.status != 200:
            return page.headers["Location"]
        form = re.search(r'<form[^>]*id="kc-form-login"[^>]*action="([^"]+)"', page.data.decode())
        assert form, page.data.decode()[:2000]
        answer = self.ask("POST", html.unescape(form[1]), {"username": person, "password": password, "credentialId": ""})
        assert answer.status == 302, f"the form came back: HTTP {answer.status}"
        return answer.headers["Location"]


@dataclass
class KeycloakServer:
    """A running Keycloak. `heard`: the logout tokens that it sent; `browser`: whoever signed in last."""

    url: str
    admin_password: str
    process: subprocess.Popen[bytes]
    heard: list[str] = field(default_factory=list)
    browser: Browser = field(default_factory=Browser)

    def connection(self, **more: object) -> Connection:
        """How to reach its realm."""
        known: dict[str, object] = {
            "issuer": f"{self.url}/realms/house",
            "client_id": "auricle",
            "client_secret": _realm()["clients"][0]["secret"],
            "redirect_uris": (REDIRECT,),
            "post_logout_redirect_uris": (SIGNED_OUT,),
        }
        return Connection(**{**known, **more})  # type: ignore[arg-type]

    def sign_in(self, url: str, person: str = "alice") -> Pairs:
        """Sign in with a new browser; what it is sent back with."""
        self.browser = Browser()
        location = self.browser.sign_in(url, person, f"{person}'s password")
        return parse_qsl(urlsplit(location).query, keep_blank_values=True)

    def sign_out(self, url: str) -> str:
        """Follow `url` with the same browser; where it is sent."""
        answer = self.browser.ask("GET", url)
        assert answer.status == 302, f"HTTP {answer.status}"
        return answer.headers["Location"]

    def as_admin(self, method: str, path: str, document: object = None) -> object:
        """One call of its admin API."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": self.admin_password}
        got = Browser().ask("POST", f"{self.url}/realms/master/protocol/openid-connect/token", form)
        headers = {"Authorization": f"Bearer {got.json()['access_token']}", "Content-Type": "application/json"}
        body = None if document is None else json.dumps(document)
        answer = urllib3.request(method, f"{self.url}/admin/realms/house/{path}", body=body, headers=headers, timeout=60)
        assert answer.status < 300, answer.data
        return json.loads(answer.data or b"null")

    def stop(self) -> None:
        """End it, and wait."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)


@functools.cache
def shared() -> KeycloakServer:
    """The one server of this test process; it ends with it. Another process that wants one waits until then."""
    home = program()
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    lock = stack.enter_context((home / "in-use").open("w"))
    fcntl.flock(lock, fcntl.LOCK_EX)
    address, heard = stack.enter_context(back_channel())
    out = stack.enter_context(tempfile.NamedTemporaryFile(prefix="auricle-keycloak-", suffix=".out"))  # noqa: SIM115
    server = start(home, f"{address}/back-channel", Path(out.name))
    server.heard = heard
    stack.callback(server.stop)
    return server


def program() -> Path:
    """Where Keycloak is unpacked; fetched first if it must be."""
    cache = Path(os.environ.get("AURICLE_CACHE") or Path.home() / ".cache" / "auricle")
    home = cache / f"keycloak-{VERSION}"
    if not shutil.which("java"):
        pytest.skip("Keycloak needs Java 17 or newer (Debian: openjdk-17-jre-headless).")
    if home.exists():
        return home
    if not shutil.which("mvn"):
        pytest.skip("Keycloak is not in the cache, and Maven, which fetches it, is not installed (Debian: maven).")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".keycloak-") as folder:
        goal = ["dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={folder}"]
        subprocess.run(["nice", "mvn", "-q", "-B", *goal], check=True, cwd=folder)
        with zipfile.ZipFile(next(Path(folder).glob("*.zip"))) as archive:
            archive.extractall(folder)
        unpacked = Path(folder) / f"keycloak-{VERSION}"
        for script in (unpacked / "bin").glob("*.sh"):
            script.chmod(0o755)
        unpacked.rename(home)  # whole, so that an interrupted run leaves nothing half
    return home


def start(home: Path, logout_url: str, out: Path) -> KeycloakServer:
    """Start it with an empty database in memory, and the realm; ready when this returns."""
    realm = _realm()
    realm["clients"][0]["attributes"]["backchannel.logout.url"] = logout_url
    (home / "data" / "import").mkdir(parents=True, exist_ok=True)
    (home / "data" / "import" / "house-realm.json").write_text(json.dumps(realm))
    port, password = free_port(), secrets.token_urlsafe(12)
    options = ["--import-realm", "--db=dev-mem", "--cache=local", "--http-host=127.0.0.1", f"--http-port={port}"]
    admin = {"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": password}
    with out.open("wb") as written:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "nice", str(home / "bin" / "kc.sh"), "start-dev", *options],
            env={**os.environ, **admin, "JAVA_OPTS_KC_HEAP": MEMORY},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    server = KeycloakServer(f"http://127.0.0.1:{port}", password, process)
    end = time.monotonic() + START_SECONDS
    while not _ready(server):
        if process.poll() is not None or time.monotonic() > end:
            server.stop()
            raise RuntimeError(f"Keycloak did not come up: {out.read_text()[-2000:]}")
        time.sleep(0.25)
    return server


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(server: KeycloakServer) -> bool:
    try:
        known = urllib3.request("GET", f"{server.url}/realms/house/.well-known/openid-configuration", retries=False, timeout=5)
    except urllib3.exceptions.HTTPError:
        return False
    return known.status == 200


@functools.cache
def _realm_text() -> str:
    return REALM_FILE.read_text()


def _realm() -> dict:  # type: ignore[type-arg]
    return json.loads(_realm_text())  # type: ignore[no-any-return]

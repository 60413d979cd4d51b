"""Signing in with real images: identity has the private keys, another function public ones; keys change under both."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from sqlalchemy.engine import make_url

from auricle.adapters.signing.ringfiles import RingFiles
from auricle.deploy.secretfiles import fill
from auricle.deploy.secretobjects import SECRET_FILES
from auricle.runtime.database import migrate
from cluster.images.built import Container, image, started

pytestmark = pytest.mark.cluster
OWNER = {"email": "ada@vault.example", "password": "Brass lantern over 4 quiet waters"}


@contextmanager
def reached_by_tcp(socket_path: str) -> Iterator[int]:
    """A port for a server that listens on a socket of its owner's alone: a container's user does not get there."""

    def passed(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = door.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(socket_path)
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=passed, args=pair, daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as door:
        threading.Thread(target=serve, daemon=True).start()
        yield int(door.getsockname()[1])


@pytest.fixture
def settings(database_url: str) -> Iterator[dict[str, str]]:
    """What both functions are told."""
    migrate(database_url)
    url = make_url(database_url)
    with reached_by_tcp(str(url.query["unix_sock"])) as port:
        by_tcp = url.set(host="127.0.0.1", port=port, query={"sslmode": "disable"})
        yield {
            "THREADS": "8",
            "DATABASE_URL": by_tcp.render_as_string(hide_password=False),
            "EVENT_KEY": "11" * 32,
            "EPHEMERAL_KEY": "22" * 32,
            "BROKER_URL": "http://127.0.0.1:1",
            "PUBLIC_URL": "https://vault.example",
            **{name.upper(): file.path for name, file in SECRET_FILES.items()},
        }


class Secrets:
    """The folders that kubelet would make of the Secrets: files of root's that everybody in the pod reads."""

    def __init__(self, folder: Path) -> None:
        self.made = folder / "made"
        fill(self.made)
        self._mounted = folder / "mounted"
        self.put()

    def put(self) -> None:
        """What was made or changed reaches the pods."""
        for file in SECRET_FILES.values():
            place = self._mounted / file.name
            place.mkdir(parents=True, exist_ok=True)
            partial = place / f"..{file.key}"
            shutil.copyfile(self.made / file.key, partial)
            partial.chmod(0o444)
            partial.replace(place / file.key)

    def mounts(self, *settings: str) -> dict[Path, str]:
        """For a container that has these settings' files."""
        files = [SECRET_FILES[name] for name in settings]
        return {self._mounted / file.name: file.folder for file in files}


def posted(container: Container, path: str, body: dict[str, str]) -> dict[str, Any]:
    answer = urllib3.request("POST", f"http://127.0.0.1:{container.port}{path}", json=body, timeout=30, retries=False)
    assert answer.status == 201, (answer.data, container.printed())
    return dict(answer.json())


def lets_in(container: Container, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return urllib3.request(
        "GET", f"http://127.0.0.1:{container.port}/api/files", headers=headers, timeout=30, retries=False
    ).status


def kid(token: str) -> str:
    header = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


def test_identity_signs_others_verify_and_a_rotation_needs_no_restart(settings: dict[str, str], tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    code = (secrets.made / "setup-code").read_text()
    identity_alone = secrets.mounts(*SECRET_FILES)
    with (
        started(image("auricle-identity"), settings | {"AURICLE_FUNCTION": "identity"}, mounts=identity_alone) as identity,
        started(image("auricle-api"), settings | {"AURICLE_FUNCTION": "files"}, mounts=secrets.mounts("jwks_file")) as files,
    ):
        identity.ready()
        files.ready()
        first = posted(identity, "/api/setup", {**OWNER, "code": code, "display_name": "Ada"})["access_token"]
        assert lets_in(files, first) == 200
        assert lets_in(files, f"{first[:-4]}AAAA") == 401
        RingFiles(secrets.made).rotate(datetime.now(UTC), timedelta(0))
        secrets.put()
        second = posted(identity, "/api/session", OWNER)["access_token"]
        assert kid(second) != kid(first)
        until = time.monotonic() + 20  # a verifier reads the file again at most every few seconds
        while (status := lets_in(files, second)) != 200 and time.monotonic() < until:
            time.sleep(1)
        assert status == 200
        assert lets_in(files, first) == 200, "what the older key signed stands until it ends"

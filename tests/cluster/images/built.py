"""Built images, as tests see them: what an archive says, the mounted files, and a process in it as on a node."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import urllib3

CACHE = Path(os.environ.get("AURICLE_CACHE", Path.home() / ".cache" / "auricle"))
ROOT = Path(__file__).parents[3]
USER = 65532
PACKAGES = Path("app/venv/lib/python3.11/site-packages")


def run(*words: str, timeout: float = 120) -> str:
    """What a command prints; a failure shows what it complained of."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(words)[:300]}: {done.stderr[-3000:]}"
    return done.stdout


@dataclass(frozen=True)
class Image:
    """One line of `images.tsv`."""

    name: str
    reference: str
    archive: Path

    @cached_property
    def layers(self) -> list[int]:
        """Unpacked bytes of each layer, the lowest first: the sum is what a node's disk holds."""
        with tarfile.open(self.archive) as archive:
            listed = json.loads(_text(archive, "manifest.json"))[0]["Layers"]
            return [_unpacked(archive, layer) for layer in listed]

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The image's own `config`: Entrypoint, Env, User, Labels."""
        return cast(
            Mapping[str, Any], json.loads(run("buildah", "inspect", "--type", "image", self.reference))["Docker"]["config"]
        )

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Path]:
        """Its files, read from outside."""
        container = run("buildah", "from", "--pull-never", self.reference).strip()
        try:
            yield Path(run("buildah", "mount", container).strip())
        finally:
            run("buildah", "rm", container)


def _text(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None, name
    return file.read()


def _unpacked(archive: tarfile.TarFile, layer: str) -> int:
    with tarfile.open(fileobj=archive.extractfile(layer), mode="r|*") as files:
        return sum(entry.size for entry in files)


def image(name: str) -> Image:
    """What `build.sh` made last under this name."""
    listed = CACHE / "images" / "images.tsv"
    for line in listed.read_text().splitlines() if listed.exists() else []:
        found, reference, archive = line.split("\t")
        if found == name:
            return Image(found, reference, Path(archive))
    raise AssertionError(f"The image {name} has not been built: run `bash tests/cluster/images/build.sh {name}`.")


def built_for_dev(target: str) -> Image:
    """A target that only `skaffold dev` builds, out of the layers that are there."""
    reference = f"localhost/auricle-{target}:tried"
    run(
        "env", "BUILDAH_ISOLATION=chroot", "buildah", "bud", "--quiet", "--layers", "--network=host", "--pull-never",
        "--format", "docker", "--target", target, "-f", str(ROOT / "functions" / "Dockerfile"), "-t", reference, str(ROOT),
        timeout=600,
    )  # fmt: skip
    return Image(target, reference, Path())


@dataclass
class Container:
    """A process in an image by runc, as in a pod: PID 1, read-only root, no capability, /tmp its only place to write."""

    process: subprocess.Popen[bytes]
    name: str
    log: Path
    port: int

    def printed(self) -> str:
        """What it said so far."""
        return self.log.read_text(errors="replace")

    def signal(self, name: str) -> None:
        """Send PID 1 a signal."""
        run("runc", "kill", self.name, name)

    def does(self, *words: str) -> str:
        """What a command prints that is run beside PID 1, as its user."""
        return run("runc", "exec", self.name, *words)

    def ended(self, within: float = 60) -> int:
        """Its exit status."""
        return self.process.wait(within)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body that an HTTP GET is answered with."""
        reply = urllib3.request("GET", f"http://127.0.0.1:{self.port}{path}", timeout=10, retries=False)
        return reply.status, reply.data.decode()

    def ready(self, path: str = "/healthz", within: float = 60) -> None:
        """Wait until it answers 200."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            assert self.process.poll() is None, f"It ended before it answered:\n{self.printed()}"
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                if self.get(path)[0] == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{path} is not answered within {within:.0f} s:\n{self.printed()}")


@contextlib.contextmanager
def started(
    chosen: Image,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = (),
    *,
    user: int = USER,
    readonly: bool = True,
    writable: Mapping[str, str] | None = None,
    mounts: Mapping[Path, str] | None = None,
) -> Iterator[Container]:
    """Run the image's own command (or `command`); `writable` are empty folders (path → mode), `mounts` are read-only files."""
    port = _free_port()
    with chosen.mounted() as root, tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder)
        run("runc", "spec", "--bundle", str(bundle))
        written = json.loads((bundle / "config.json").read_text())
        config = chosen.config
        words = list(command) or [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
        variables = dict(pair.split("=", 1) for pair in config["Env"]) | {"PORT": str(port)} | dict(environment or {})
        written["root"] = {"path": str(root), "readonly": readonly}
        written["process"] |= {
            "terminal": False,
            "user": {"uid": user, "gid": user},
            "args": words,
            "env": [f"{name}={value}" for name, value in variables.items()],
            "cwd": config.get("WorkingDir") or "/",
            "capabilities": {},
            "noNewPrivileges": True,
        }
        # The network stays this machine's, so that the test can ask.
        written["linux"]["namespaces"] = [kind for kind in written["linux"]["namespaces"] if kind["type"] != "network"]
        for path, mode in ({"/tmp": "1777"} | dict(writable or {})).items():
            options = ["nosuid", "nodev", f"mode={mode}", f"uid={user}", f"gid={user}"]
            written["mounts"].append({"destination": path, "type": "tmpfs", "source": "tmpfs", "options": options})
        for source, path in (mounts or {}).items():
            written["mounts"].append({"destination": path, "type": "bind", "source": str(source), "options": ["rbind", "ro"]})
        (bundle / "config.json").write_text(json.dumps(written))
        name, log = f"auricle-{uuid.uuid4().hex[:12]}", bundle / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(["runc", "run", "--bundle", str(bundle), name], stdout=output, stderr=output)
        try:
            yield Container(process, name, log, port)
        finally:
            subprocess.run(["runc", "delete", "--force", name], capture_output=True, timeout=60)
            process.wait(60)


def printed_by(chosen: Image, *command: str, environment: Mapping[str, str] | None = None) -> str:
    """What a command in the image prints; it must succeed."""
    with started(chosen, environment, command) as container:
        status = container.ended(120)
        assert status == 0, container.printed()
        return container.printed()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""A real S3 server for tests: Debian's Ceph RADOS gateway in memory, started as our own children and stopped with us.

One monitor, one OSD (memstore), one gateway; about 250 MB and 10 to 20 seconds. Signatures are really checked here, which
the usual test doubles do not do. `tests/services/install.sh` installs what it needs.
"""

from __future__ import annotations

import atexit
import functools
import json
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config

PROGRAMS = ("ceph-authtool", "monmaptool", "ceph-mon", "ceph", "ceph-osd", "radosgw", "radosgw-admin", "setpriv")
SETTINGS = """
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}/0
public addr = 127.0.0.1
ms bind ipv4 = true
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
pid file = {folder}/$name.pid
keyring = {folder}/keyring
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 4294967296
osd memory target = 939524096
osd class dir = {classes}
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
[mon.a]
mon data = {folder}/mon
[osd.0]
osd data = {folder}/osd
[client.rgw]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw enable ops log = false
rgw dns name = localhost
"""


@dataclass
class S3Server:
    """A running gateway. `bucket()` makes a fresh bucket; `client()` is a boto3 client of the same user."""

    url: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def client(self, service: str = "s3") -> Any:
        """A boto3 client that waits at most 30 s and tries once."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(
                s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1}
            ),
        )

    def bucket(self) -> str:
        """The name of a new, empty, private bucket."""
        name = f"auricle-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name)
        return name

    def subscribe(self, bucket: str, url: str, prefix: str, *, persistent: bool = False) -> None:
        """From now on, POST a notification to `url` for each object that is made under `prefix`.

        Without `persistent` it is sent before the PUT is answered, and lost when `url` does not take it; with it, it is
        sent soon after, and again every few seconds until `url` answers 2xx.
        """
        attributes = {"push-endpoint": url, "persistent": str(persistent).lower()}
        topic = self.client("sns").create_topic(Name=f"{bucket}-arrivals", Attributes=attributes)
        self.client().put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={
                "TopicConfigurations": [
                    {
                        "Id": "arrivals",
                        "TopicArn": topic["TopicArn"],
                        "Events": ["s3:ObjectCreated:*"],
                        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
                    }
                ]
            },
        )

    def resident_bytes(self) -> dict[str, int]:
        """What each of its processes holds in memory, by program."""
        return {Path(p.args[3]).name: psutil.Process(p.pid).memory_info().rss for p in self.children}  # type: ignore[index]

    def stop(self) -> None:
        """End all of it, gateway first."""
        for child in reversed(self.children):
            child.terminate()
        for child in reversed(self.children):
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(10)


@functools.cache
def shared() -> S3Server:
    """The one server of this test process; it ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="auricle-s3-"))  # short: Unix socket paths end at 107 bytes
    server = start(folder)

    @atexit.register
    def end() -> None:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)

    return server


def start(folder: Path) -> S3Server:
    """Start a cluster of one in `folder`; raises `RuntimeError` with what is missing or what it said."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise RuntimeError(f"The real S3 lane needs {', '.join(missing)}: run tests/services/install.sh (as root) first.")
    server = S3Server(f"http://127.0.0.1:{_free_port()}", access_key=secrets.token_hex(10), secret_key=secrets.token_hex(20))
    begun = time.monotonic()
    try:
        _prepare(folder, int(server.url.rsplit(":", 1)[1]))
        _monitor(server, folder)
        server.seconds["monitor"] = time.monotonic() - begun
        _storage(server, folder)
        server.seconds["storage"] = time.monotonic() - begun
        _gateway(server, folder)
        server.seconds["gateway"] = time.monotonic() - begun
        _user(server, folder)
        server.seconds["ready"] = time.monotonic() - begun
    except BaseException:
        server.stop()
        raise
    return server


def _prepare(folder: Path, port: int) -> None:
    classes = sorted(Path("/usr/lib").glob("*/rados-classes"))  # the folder's name has the architecture in it
    fsid, mon_port = str(uuid.uuid4()), _free_port()
    (folder / "ceph.conf").write_text(
        SETTINGS.format(folder=folder, fsid=fsid, mon_port=mon_port, port=port, classes=classes[0] if classes else "")
    )
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()
    keys = {  # authentication stays on: without it the gateway cannot sign in
        "mon.": ("mon", "allow *"),
        "client.admin": ("mon", "allow *", "osd", "allow *", "mgr", "allow *"),
        "client.rgw": ("mon", "allow *", "osd", "allow *"),
        "osd.0": ("mon", "allow profile osd", "osd", "allow *"),
    }
    for index, (name, rights) in enumerate(keys.items()):
        caps = [word for who, what in zip(rights[::2], rights[1::2], strict=True) for word in ("--cap", who, what)]
        create = [] if index else ["--create-keyring"]
        _run(folder, "ceph-authtool", *create, str(folder / "keyring"), "--gen-key", "-n", name, *caps)
    _run(folder, "monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", str(folder / "monmap"))


def _monitor(server: S3Server, folder: Path) -> None:
    _run(folder, "ceph-mon", "-i", "a", "--mkfs", "--monmap", str(folder / "monmap"), "--keyring", str(folder / "keyring"))
    _child(server, folder, "ceph-mon", "-i", "a", "-f")


def _storage(server: S3Server, folder: Path) -> None:
    osd = str(uuid.uuid4())
    _run(folder, "ceph", "osd", "new", osd)
    _run(folder, "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
    _child(server, folder, "ceph-osd", "-i", "0", "-f")


def _gateway(server: S3Server, folder: Path) -> None:
    _child(server, folder, "radosgw", "-n", "client.rgw", "-f")
    deadline = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(server.url, timeout=5):
                return
        except OSError as error:
            dead = next((child for child in server.children if child.poll() is not None), None)
            if dead is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The S3 server did not come up: {_last_words(folder)}") from error
            time.sleep(0.2)


def _user(server: S3Server, folder: Path) -> None:
    keys = (f"--access-key={server.access_key}", f"--secret-key={server.secret_key}")
    made = _run(folder, "radosgw-admin", "-n", "client.rgw", "user", "create", "--uid=tests", "--display-name=tests", *keys)
    assert json.loads(made)["user_id"] == "tests"
    _run(folder, "radosgw-admin", "-n", "client.rgw", "caps", "add", "--uid=tests", "--caps=users=*;buckets=*")


def _child(server: S3Server, folder: Path, program: str, *arguments: str) -> None:
    """Start a daemon in the foreground; the kernel ends it when we are killed."""
    command = ["setpriv", "--pdeathsig", "KILL", program, "-c", str(folder / "ceph.conf"), *arguments]
    with (folder / f"{program}.out").open("wb") as out:
        server.children.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder))


def _run(folder: Path, program: str, *arguments: str) -> str:
    configured = program.startswith(("ceph-mon", "ceph-osd", "radosgw")) or program == "ceph"
    options = ["-c", str(folder / "ceph.conf")] if configured else []
    done = subprocess.run([program, *options, *arguments], capture_output=True, text=True, timeout=90, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"{program} failed: {(done.stderr or done.stdout)[-500:]}")
    return done.stdout


def _last_words(folder: Path) -> str:
    return " | ".join(f"{path.name}: {path.read_text(errors='replace')[-300:]}" for path in sorted(folder.glob("*.out")))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

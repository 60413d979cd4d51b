"""Uploads as events on a real MinIO: what boto3 drops becomes a transcript, and nobody else makes files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import urllib3

import auricle_gpu
from auricle.cli import embedded
from auricle.cli.client import Server
from auricle.cli.following import run_of_file
from auricle.deploy import jobs
from auricle.intake.notices import BucketNotification, arrivals_in
from auricle.runtime.settings import Settings
from builders import minio_server
from builders.minio_server import MinioServer
from builders.scripted_http import Line, playing

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
DEMO = Path(auricle_gpu.__file__).parent / "demo"
TOKEN, BUCKET = "what-the-bucket-says", "auricle"


@pytest.fixture(scope="module")
def port() -> int:
    """Where the host will be: MinIO has to know before it starts."""
    return minio_server.free_port()


@pytest.fixture(scope="module")
def telling(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A MinIO whose webhook is the host's function, with a bucket that nobody has set up yet."""
    hear_at = f"http://127.0.0.1:{port}/api/bucket-events"
    server = minio_server.start(tmp_path_factory.mktemp("minio"), hear_at=hear_at, token=TOKEN)
    server.client().create_bucket(Bucket=BUCKET)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def server(telling: MinioServer, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {
        "S3_ENDPOINT": telling.url,
        "S3_BUCKET": BUCKET,
        "S3_REGION": telling.region,
        "S3_ACCESS_KEY_ID": telling.access_key,
        "S3_SECRET_ACCESS_KEY": telling.secret_key,
        "OBJECT_ORIGINS": telling.url,
        "BUCKET_TOKEN": TOKEN,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "free_port", lambda: port)
        with embedded.embedded_host(tmp_path_factory.mktemp("host") / "data", environment) as ready:
            yield ready


def named(server: Server, name: str) -> list[dict[str, Any]]:
    return [file for file in server.pages("/api/files") if file["name"] == name]


def arrived(server: Server, name: str) -> dict[str, Any]:
    """The file of that name, once there is one."""
    end = time.monotonic() + 60
    while not (files := named(server, name)):
        assert time.monotonic() < end, f"{name} did not arrive"
        time.sleep(0.2)
    return files[0]


def told(server: Server, key: str, token: str | None, bucket: str = BUCKET) -> int:
    """The status of a notification as MinIO posts it."""
    record = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "eventName": "s3:ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 5, "eTag": "x"}},
    }
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = {"EventName": "s3:ObjectCreated:Put", "Key": f"{bucket}/{key}", "Records": [record]}
    return urllib3.request("POST", f"{server.url}api/bucket-events", json=body, headers=headers, timeout=10).status


def test_only_our_bucket_with_its_token_makes_files(server: Server, telling: MinioServer) -> None:
    prefix = server.call("POST", "/api/drops", {"name": "x.flac"})["prefix"]
    key = f"{prefix}untold.flac"
    telling.client().put_object(Bucket=BUCKET, Key=key, Body=(DEMO / "meeting.flac").read_bytes())
    assert [told(server, key, token) for token in (None, "", "wrong", TOKEN[:-1])] == [403] * 4
    assert told(server, key, TOKEN, bucket="another") == 204
    assert named(server, "untold.flac") == []
    assert told(server, key, TOKEN) == 204
    assert len(named(server, "untold.flac")) == 1


def test_probes_are_answered(server: Server) -> None:
    ours = {"Authorization": f"Bearer {TOKEN}"}
    address = f"{server.url}api/bucket-events"
    assert urllib3.request("POST", address, headers=ours, timeout=10).status == 204
    assert urllib3.request("POST", address, json={"Event": "s3:TestEvent"}, headers=ours, timeout=10).status == 204


def test_what_boto3_drops_is_transcribed_once(server: Server, telling: MinioServer, port: int) -> None:
    said = jobs.bucket(
        Settings(
            s3_endpoint=telling.url,
            s3_bucket=BUCKET,
            s3_access_key_id=telling.access_key,
            s3_secret_access_key=telling.secret_key,
            bucket_events_url=f"http://127.0.0.1:{port}/api/bucket-events",
        )
    )
    assert "arrivals are told: done" in said
    prefix = server.call("POST", "/api/drops", {"name": "x.flac"})["prefix"]
    name, body = "Montag früh + 100 %20.flac", (DEMO / "meeting.flac").read_bytes()
    for _ in range(2):  # told twice, the same bytes: one file
        telling.client().put_object(Bucket=BUCKET, Key=f"{prefix}{name}", Body=body)
    file = arrived(server, name)
    run = run_of_file(server, file["id"])
    end = time.monotonic() + 150
    while run["state"] in ("queued", "running"):
        assert time.monotonic() < end, run
        time.sleep(0.3)
        run = server.call("GET", f"/api/runs/{run['id']}")
    assert run["state"] == "succeeded", run
    assert server.call("GET", f"/api/files/{file['id']}/transcript")["segments"]
    assert len(named(server, name)) == 1


def test_minio_tells_again_until_it_is_heard_and_presents_the_token(tmp_path: Path) -> None:
    with playing(Line(503), Line(204)) as script:
        store = minio_server.start(tmp_path, hear_at=f"{script.url}/api/bucket-events", token=TOKEN)
        try:
            jobs.bucket(
                Settings(
                    s3_endpoint=store.url,
                    s3_bucket=BUCKET,
                    s3_access_key_id=store.access_key,
                    s3_secret_access_key=store.secret_key,
                    bucket_events_url=f"{script.url}/api/bucket-events",
                )
            )
            store.client().put_object(Bucket=BUCKET, Key="elsewhere/a", Body=b"nobody minds")
            store.client().put_object(Bucket=BUCKET, Key="drop/me/ü a+b %20.m4a", Body=b"hello")
            end = time.monotonic() + 60
            while len([heard for heard in script.heard if heard.body]) < 2:
                assert time.monotonic() < end
                time.sleep(0.1)
        finally:
            store.stop()
        first, second = [heard for heard in script.heard if heard.body][:2]
    assert first.body == second.body
    assert second.headers["authorization"] == f"Bearer {TOKEN}"
    assert second.headers["content-type"] == "application/json"
    (event,) = arrivals_in(msgspec.json.decode(second.body, type=BucketNotification))
    assert (event.type, event.subject) == ("com.amazonaws.s3.ObjectCreated:Put", "drop/me/ü a+b %20.m4a")
    assert (event.bucket, event.size) == (BUCKET, 5)
    assert event.id
    assert event.source.startswith("minio:s3")

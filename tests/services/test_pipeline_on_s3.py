"""The whole host on a real S3 server: uploads in parts, objects that arrive by themselves, the same transcript."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

import auricle_gpu
from auricle.cli.client import Server
from auricle.cli.embedded import embedded_host
from auricle.cli.following import run_of_file
from auricle.transcripts.scoring import score
from builders.s3_server import S3Server

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
DEMO = Path(auricle_gpu.__file__).parent / "demo"
TOKEN = "what-the-bucket-says"


@pytest.fixture(scope="module")
def bucket(s3: S3Server) -> str:
    return s3.bucket()


@pytest.fixture(scope="module")
def server(s3: S3Server, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {
        "S3_ENDPOINT": s3.url,
        "S3_BUCKET": bucket,
        "S3_REGION": s3.region,
        "S3_ACCESS_KEY_ID": s3.access_key,
        "S3_SECRET_ACCESS_KEY": s3.secret_key,
        "OBJECT_ORIGINS": s3.url,
        "BUCKET_TOKEN": TOKEN,
        "PART_BYTES": str(5 * 2**20),
    }
    with embedded_host(tmp_path_factory.mktemp("host") / "data", environment) as ready:
        yield ready


def finished(server: Server, file_id: str) -> dict[str, Any]:
    run = run_of_file(server, file_id)
    end = time.monotonic() + 120
    while run["state"] in ("queued", "running"):
        assert time.monotonic() < end, run
        time.sleep(0.3)
        run = server.call("GET", f"/api/runs/{run['id']}")
    return run


def test_an_upload_in_parts_is_transcribed_from_the_bucket(server: Server, s3: S3Server, bucket: str) -> None:
    file = server.upload(DEMO / "meeting.flac", {"chunk_seconds": 60}, None, lambda done, size: None)
    run = finished(server, file["id"])
    assert run["state"] == "succeeded", run
    found = score(json.loads((DEMO / "meeting.json").read_text()), server.call("GET", f"/api/files/{file['id']}/transcript"))
    assert (found.wer < 0.08, found.speakers_found) == (True, 3)
    keys = {o["Key"].split("/")[0] for o in s3.client().list_objects_v2(Bucket=bucket)["Contents"]}
    assert {"originals", "chunks", "work", "exports"} <= keys
    assert server.text(f"/api/files/{file['id']}/content") == (DEMO / "meeting.flac").read_bytes()


def test_nobody_reads_the_bucket_without_a_signature(server: Server, s3: S3Server, bucket: str) -> None:
    for thing in s3.client().list_objects_v2(Bucket=bucket)["Contents"]:
        answer = urllib3.request("GET", f"{s3.url}/{bucket}/{thing['Key']}", timeout=10)
        assert answer.status == 403


def test_what_boto3_puts_into_the_drop_folder_is_transcribed_once(server: Server, s3: S3Server, bucket: str) -> None:
    s3.subscribe(bucket, f"{server.url}api/bucket-events?token={TOKEN}", "drop/")
    prefix = server.call("POST", "/api/drops", {"name": "x.mp4"})["prefix"]
    body = (DEMO / "meeting.mp4").read_bytes()
    for _ in range(2):  # told twice, the same bytes: one file
        s3.client().put_object(Bucket=bucket, Key=f"{prefix}Montag früh + mehr.mp4", Body=body)
    end = time.monotonic() + 60
    while not (files := [f for f in server.pages("/api/files") if f["name"].startswith("Montag")]):
        assert time.monotonic() < end
        time.sleep(0.2)
    run = finished(server, files[0]["id"])
    assert run["state"] == "succeeded", run
    assert len([f for f in server.pages("/api/files") if f["name"].startswith("Montag")]) == 1
    assert server.text(f"/api/files/{files[0]['id']}/poster")[:2] == b"\xff\xd8"


def test_a_wrong_bucket_token_is_refused(server: Server) -> None:
    answer = urllib3.request("POST", f"{server.url}api/bucket-events?token=wrong", json={"Records": []}, timeout=10)
    assert answer.status == 403

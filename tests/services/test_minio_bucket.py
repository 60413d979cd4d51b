"""The bucket job on real stores: what it sets up on MinIO and on Ceph, what these do not offer, and that it holds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from auricle.adapters.blobs.s3 import S3Blobs
from auricle.deploy import jobs
from auricle.errors import Conflict, Invalid
from auricle.ports.blobs import Audience
from auricle.runtime.settings import Settings
from builders import minio_server
from builders.blob_web import request
from builders.minio_server import MinioServer
from builders.s3_server import S3Server

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]
ORIGIN, STRANGER = "https://auricle.example", "https://elsewhere.example"
MARKER = b"what was said in confidence / " * 40_000
PLAIN_STEPS = ("nobody else let in", "old versions", "nothing expires")


def wishes(server: S3Server, bucket: str, **more: str) -> Settings:
    return Settings(
        s3_endpoint=server.url,
        s3_region=server.region,
        s3_bucket=bucket,
        s3_access_key_id=server.access_key,
        s3_secret_access_key=more.pop("secret", server.secret_key),
        blobs_public_url=f"{ORIGIN}/",
        bucket_events_url=more.pop("hear_at", "http://127.0.0.1:9/api/bucket-events"),
        bucket_token="the token",
    )


def said(text: str) -> dict[str, str]:
    """What the job said, by step."""
    return dict(line.split(": ", 1) for line in text.splitlines())


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """MinIO as the cluster's component sets it up: with a webhook and an origin."""
    folder = tmp_path_factory.mktemp("minio")
    server = minio_server.start(folder, hear_at="http://127.0.0.1:9/api/bucket-events", token="the token", origin=ORIGIN)
    yield server
    server.stop()


def test_minio_is_set_up_once_and_says_what_it_has_not(deployed: MinioServer) -> None:
    first, again = (said(jobs.bucket(wishes(deployed, "job"))) for _ in range(2))
    assert {step for step, state in first.items() if state == "done"} == {
        "the bucket",
        "encryption at rest",
        "arrivals are told",
    }
    assert {step for step, state in again.items() if state.startswith("not offered")} == {
        "no public access",
        "abandoned parts",
        "browsers of the web app",
    }
    assert "MINIO_API_STALE_UPLOADS_EXPIRY=48h" in again["abandoned parts"]
    assert f"MINIO_API_CORS_ALLOW_ORIGIN={ORIGIN}" in again["browsers of the web app"]
    assert "done" not in again.values()


def test_ceph_is_set_up_once_and_says_what_it_has_not(s3: S3Server) -> None:
    bucket = "ceph-job"
    first, again = (said(jobs.bucket(wishes(s3, bucket))) for _ in range(2))
    assert {step for step, state in first.items() if state == "done"} == set(first) - {*PLAIN_STEPS, "encryption at rest"}
    assert first["encryption at rest"].startswith("not offered")
    assert "done" not in again.values()
    (rule,) = s3.client().get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    assert "Expiration" not in rule


def test_a_store_without_its_webhook_says_how_to_give_it_one(minio: MinioServer) -> None:
    assert "MINIO_NOTIFY_WEBHOOK_ENABLE_AURICLE=on" in said(jobs.bucket(wishes(minio, minio.bucket())))["arrivals are told"]


@pytest.mark.parametrize("kind", ["deployed", "s3"])
def test_versions_that_nobody_sees_go_too(request: pytest.FixtureRequest, kind: str) -> None:
    server: S3Server = request.getfixturevalue(kind)
    bucket = server.bucket()
    server.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert said(jobs.bucket(wishes(server, bucket)))["old versions"] == "done"
    rules = {rule["ID"]: rule for rule in server.client().get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
    assert rules["old-versions"]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 1
    assert said(jobs.bucket(wishes(server, bucket)))["old versions"] == "already so"


@pytest.mark.parametrize("kind", ["deployed", "s3"])
def test_nobody_reads_writes_or_lists_without_a_signature(request: pytest.FixtureRequest, kind: str) -> None:
    server: S3Server = request.getfixturevalue(kind)
    bucket = server.bucket()
    jobs.bucket(wishes(server, bucket))
    server.client().put_object(Bucket=bucket, Key="originals/a", Body=b"x")
    answers = [
        urllib3.request(method, f"{server.url}/{bucket}{path}", body=body, timeout=10).status
        for method, path, body in (("GET", "/originals/a", None), ("PUT", "/drop/a", b"x"), ("GET", "", None))
    ]
    assert answers == [403, 403, 403]


def test_an_object_that_its_owner_published_by_mistake_stays_private(s3: S3Server) -> None:
    bucket = s3.bucket()
    s3.client().put_object(Bucket=bucket, Key="originals/a", Body=b"x", ACL="public-read")
    address = f"{s3.url}/{bucket}/originals/a"
    assert urllib3.request("GET", address, timeout=10).status == 200
    jobs.bucket(wishes(s3, bucket))
    assert urllib3.request("GET", address, timeout=10).status == 403


def test_a_bucket_that_somebody_opened_fails_the_job_until_it_is_closed(deployed: MinioServer) -> None:
    bucket = deployed.bucket()
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    deployed.client().put_bucket_policy(Bucket=bucket, Policy=policy)
    with pytest.raises(Conflict, match="lets everybody in"):
        jobs.bucket(wishes(deployed, bucket))
    deployed.client().delete_bucket_policy(Bucket=bucket)
    assert said(jobs.bucket(wishes(deployed, bucket)))["nobody else let in"] == "already so"


def test_a_wrong_key_is_said(deployed: MinioServer) -> None:
    with pytest.raises(Invalid, match="S3_SECRET_ACCESS_KEY"):
        jobs.bucket(wishes(deployed, "job", secret="not it"))


# Browsers.


@pytest.mark.parametrize("kind", ["deployed", "s3"])
def test_pages_of_the_web_app_and_no_others_may_put(request: pytest.FixtureRequest, kind: str) -> None:
    server: S3Server = request.getfixturevalue(kind)
    bucket = server.bucket()
    jobs.bucket(wishes(server, bucket))

    def allowed(origin: str) -> str | None:
        asks = {"Origin": origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
        answer = urllib3.request("OPTIONS", f"{server.url}/{bucket}/drop/a", headers=asks, timeout=10)
        return answer.headers.get("Access-Control-Allow-Origin")

    assert (allowed(ORIGIN), allowed(STRANGER)) == (ORIGIN, None)


@pytest.mark.parametrize("kind", ["deployed", "s3"])
def test_a_page_reads_the_etag_of_the_part_that_it_put(request: pytest.FixtureRequest, kind: str) -> None:
    server: S3Server = request.getfixturevalue(kind)
    bucket = server.bucket()
    jobs.bucket(wishes(server, bucket))
    store = S3Blobs(server.url, server.region, bucket, server.access_key, server.secret_key)
    ref = store.begin_parts("uploads/a")
    answer = put(store.sign_part("uploads/a", ref, 1, 4, 60), b"part", {"Origin": ORIGIN})
    assert answer["access-control-allow-origin"] == ORIGIN
    exposed = answer["access-control-expose-headers"].lower()
    assert "etag" in exposed or exposed == "*"


def put(url: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
    """The answer's headers."""
    answer = request("PUT", url, body, headers)
    assert answer.status == 200
    return dict(answer.headers)


# At rest.


def on_disk(disk: Path, marker: bytes) -> bool:
    """Whether any file there holds the bytes as they are."""
    return any(marker in path.read_bytes() for path in disk.rglob("*") if path.is_file())


def test_nothing_lies_readable_on_minio_s_disk(deployed: MinioServer) -> None:
    bucket = deployed.bucket()
    jobs.bucket(wishes(deployed, bucket))
    store = S3Blobs(deployed.url, deployed.region, bucket, deployed.access_key, deployed.secret_key)
    store.put("originals/large", MARKER)
    store.put("originals/small", b"a small secret of somebody")
    assert request("PUT", store.sign_put("drop/by-link", 60, Audience.BROWSER), MARKER).status == 200
    ref = store.begin_parts("uploads/parts")
    assert request("PUT", store.sign_part("uploads/parts", ref, 1, len(MARKER), 60), MARKER).status == 200
    assert not on_disk(deployed.disk, MARKER[:60])  # the unfinished part neither
    store.finish_parts("uploads/parts", ref, store.parts("uploads/parts", ref))
    store.copy("uploads/parts", "originals/copy")
    assert not on_disk(deployed.disk, MARKER[:60])
    assert not on_disk(deployed.disk, b"a small secret")
    for key in ("originals/large", "drop/by-link", "uploads/parts", "originals/copy"):
        assert store.open(key).read() == MARKER
    bare = deployed.bucket()  # and without the job it would
    deployed.client().put_object(Bucket=bare, Key="large", Body=MARKER)
    assert on_disk(deployed.disk, MARKER[:60])


# Abandoned parts.


def test_minio_forgets_abandoned_parts_when_it_is_told_when(tmp_path: Path) -> None:
    soon = {"MINIO_API_STALE_UPLOADS_EXPIRY": "1s", "MINIO_API_STALE_UPLOADS_CLEANUP_INTERVAL": "1s"}
    server = minio_server.start(tmp_path, more=soon)
    try:
        store = S3Blobs(server.url, server.region, server.bucket(), server.access_key, server.secret_key)
        ref = store.begin_parts("uploads/a")
        request("PUT", store.sign_part("uploads/a", ref, 1, 4, 60), b"part")
        end = time.monotonic() + 60
        while list(store._unfinished("uploads/a")):
            assert time.monotonic() < end
            time.sleep(0.2)
    finally:
        server.stop()

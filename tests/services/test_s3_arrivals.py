"""What a real S3 server tells about objects that arrive: the shape that the intake room has to understand.

Ceph 16 sends keys as they are; AWS and MinIO send them URL-encoded, with `+` for a blank. `eventSource` tells which. It sends
no Authorization header and no ce-* headers, but keeps the query of the URL it was given.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from auricle.adapters.blobs.s3 import S3Blobs
from auricle.ports.blobs import Audience
from builders.blob_web import request
from builders.s3_server import S3Server
from builders.scripted_http import Line, Script, playing

pytestmark = pytest.mark.services


def wait_for(script: Script, count: int, seconds: float = 60) -> list[dict[str, Any]]:
    """The records of the first `count` notifications."""
    deadline = time.monotonic() + seconds
    while len(script.heard) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(script.heard) >= count
    return [record for heard in script.heard for record in json.loads(heard.body)["Records"]]


def test_an_object_that_boto3_puts_is_told(s3: S3Server) -> None:
    bucket, key = s3.bucket(), "drop/me/über a+b %20.m4a"
    with playing(Line(200)) as script:
        s3.subscribe(bucket, f"{script.url}/arrivals?token=t", "drop/")
        etag = s3.client().put_object(Bucket=bucket, Key=key, Body=b"hello")["ETag"].strip('"')
        (record,) = wait_for(script, 1)
        told = script.heard[0]
    assert (told.method, told.path, told.headers["content-type"]) == ("POST", "/arrivals?token=t", "application/json")
    assert "authorization" not in told.headers
    assert not any(name.startswith("ce-") for name in told.headers)
    assert list(json.loads(told.body)) == ["Records"]
    assert (record["eventVersion"], record["eventSource"], record["eventName"]) == ("2.2", "ceph:s3", "ObjectCreated:Put")
    assert record["eventTime"].endswith("Z")
    assert record["eventId"]
    assert record["s3"]["bucket"]["name"] == bucket
    expected = {"key": key, "size": 5, "eTag": etag, "versionId": ""}
    assert {name: record["s3"]["object"][name] for name in expected} == expected
    assert record["s3"]["object"]["sequencer"]


def test_uploads_by_link_by_parts_and_by_copy_are_told_and_others_are_not(s3: S3Server) -> None:
    bucket = s3.bucket()
    store = S3Blobs(s3.url, s3.region, bucket, s3.access_key, s3.secret_key)
    with playing(Line(200)) as script:
        s3.subscribe(bucket, script.url, "drop/")
        store.put("uploads/elsewhere", b"x")
        assert request("PUT", store.sign_put("drop/by-link", 60, Audience.BROWSER), b"x").status == 200
        ref = store.begin_parts("drop/by-parts")
        assert request("PUT", store.sign_part("drop/by-parts", ref, 1, 4, 60), b"part").status == 200
        whole = store.finish_parts("drop/by-parts", ref, store.parts("drop/by-parts", ref))
        store.copy("uploads/elsewhere", "drop/by-copy")
        store.delete("drop/by-link")
        records = wait_for(script, 3)
    assert [(record["eventName"], record["s3"]["object"]["key"]) for record in records] == [
        ("ObjectCreated:Put", "drop/by-link"),
        ("ObjectCreated:CompleteMultipartUpload", "drop/by-parts"),
        ("ObjectCreated:Copy", "drop/by-copy"),
    ]
    assert records[1]["s3"]["object"]["eTag"] == whole.etag


def test_a_receiver_that_is_away_does_not_stop_anybody_from_uploading(s3: S3Server) -> None:
    bucket = s3.bucket()
    with playing(Line(200)) as script:
        s3.subscribe(bucket, script.url, "drop/")
    s3.client().put_object(Bucket=bucket, Key="drop/a", Body=b"hello")
    assert s3.client().head_object(Bucket=bucket, Key="drop/a")["ContentLength"] == 5


def test_a_persistent_subscription_is_told_again_until_it_is_taken(s3: S3Server) -> None:
    bucket = s3.bucket()
    with playing(Line(503), Line(200)) as script:
        s3.subscribe(bucket, script.url, "drop/", persistent=True)
        s3.client().put_object(Bucket=bucket, Key="drop/a", Body=b"hello")
        first, second = wait_for(script, 2)
    assert first == second

"""How the S3 store treats servers that are busy, broken or misconfigured: no real one does that on request."""

from __future__ import annotations

import hashlib
import io
import logging
import traceback

import pytest

from auricle.adapters.blobs.s3 import S3Blobs
from auricle.adapters.blobs.s3.reader import FIRST_BLOCK, LARGEST_BLOCK, RangeReader
from auricle.errors import AuricleError, Conflict, Invalid, NotFound, Retryable, TooLarge
from auricle.ports.blobs import Audience, Part
from builders.scripted_http import Line, playing

HEAD = Line(200, headers={"ETag": '"e"', "Content-Length": "3", "Content-Type": "audio/flac"})
STORED = Line(200, headers={"ETag": '"e"'})
ONE = [Part(1, 3, "e")]
PARTS = Line(200, b"<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>e</ETag><Size>3</Size></Part></ListPartsResult>")
DONE = Line(200, b"<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>")


def s3(url: str, **options: object) -> S3Blobs:
    return S3Blobs(url, "us-east-1", "vault", "AKID", "s3cr3t", pauses=(0.0, 0.0), **options)  # type: ignore[arg-type]


def error(status: int, code: str) -> Line:
    return Line(status, f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>m</Message></Error>'.encode())


def test_requests_are_signed_and_name_bucket_and_key() -> None:
    with playing(STORED) as script:
        s3(script.url, session_token="session").put("a/ü b", b"body", "audio/flac")
    put = script.heard[0]
    assert (put.method, put.path, put.body) == ("PUT", "/vault/a/%C3%BC%20b", b"body")
    assert put.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert put.headers["x-amz-security-token"] == "session"
    assert put.headers["content-type"] == "audio/flac"


@pytest.mark.parametrize(
    "line", [error(503, "SlowDown"), error(500, "InternalError"), error(400, "RequestTimeout"), Line(drop=True)]
)
def test_a_busy_store_is_asked_again_and_then_left_for_later(line: Line) -> None:
    with playing(line, line, STORED) as script:
        blob = s3(script.url).put("k", b"x")
        assert blob.etag == "e"
        assert len(script.heard) == 3
    with playing(line) as script:
        with pytest.raises(Retryable) as caught:
            s3(script.url).put("k", b"x")
        assert len(script.heard) == 3
        assert str(caught.value).endswith(".")


def test_a_store_that_is_not_there_is_retryable() -> None:
    with playing(HEAD) as script:
        pass
    with pytest.raises(Retryable, match="cannot be reached"):
        s3(script.url).stat("k")


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        (error(403, "AccessDenied"), Retryable, "S3_ACCESS_KEY_ID"),
        (error(403, "SignatureDoesNotMatch"), Retryable, "S3_SECRET_ACCESS_KEY"),
        (error(403, "RequestTimeTooSkewed"), Retryable, "clock"),
        (error(403, "QuotaExceeded"), Retryable, "full"),
        (error(507, "XMinioStorageFull"), Retryable, "full"),
        (error(404, "NoSuchBucket"), Retryable, "S3_BUCKET"),
        (error(404, "NoSuchKey"), NotFound, "no such"),
        (error(412, "PreconditionFailed"), Conflict, "changed"),
        (error(400, "EntityTooSmall"), Invalid, "5 MiB"),
        (error(400, "EntityTooLarge"), TooLarge, "size"),
        (error(301, "PermanentRedirect"), AuricleError, "S3_REGION"),
        (Line(200, b"<html>a login page"), Retryable, "S3_ENDPOINT"),
    ],
)
def test_refusals_say_what_to_do(line: Line, kind: type[AuricleError], words: str) -> None:
    with playing(line) as script, pytest.raises(kind, match=words):
        list(s3(script.url).list("f/"))


def test_neither_secrets_nor_signatures_reach_messages_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts, key = [], "/".join(("private", "name"))  # tracebacks quote our own lines
    with playing(error(403, "AccessDenied"), Line(drop=True)) as script:
        store = s3(script.url, session_token="t0ken")
        url = store.sign_get(key, 60, Audience.POD)
        for _ in range(2):
            with pytest.raises(AuricleError) as caught:
                store.put(key, b"x")
            texts.append("".join(traceback.format_exception(caught.value)))
        texts += [repr(store), caplog.text]
    signature = url.rpartition("=")[2]
    for text in texts:
        for secret in ("s3cr3t", "t0ken", signature, "Signature=", "private/name"):
            assert secret not in text


def test_an_error_inside_a_success_is_an_error() -> None:
    """Long calls answer 200 before they know, and keep the line alive with blanks."""
    late = Line(200, b"   \n" + error(200, "InternalError").body)
    with playing(PARTS, late, DONE, HEAD) as script:
        assert s3(script.url).finish_parts("k", "ref", ONE).etag == "e"
        assert len(script.heard) == 4
    with playing(HEAD, late) as script, pytest.raises(Retryable):
        s3(script.url).copy("k", "target")


def test_a_finish_whose_answer_was_lost_is_found_done() -> None:
    parts = [Part(1, 3, "0" * 32), Part(2, 3, "f" * 32)]
    joined = hashlib.md5(bytes(16) + b"\xff" * 16).hexdigest()
    done = Line(200, headers={"ETag": f'"{joined}-2"', "Content-Length": "6"})
    with playing(error(404, "NoSuchUpload"), done) as script:
        assert s3(script.url).finish_parts("k", "ref", parts).size == 6
    with playing(error(404, "NoSuchUpload"), HEAD) as script, pytest.raises(NotFound):
        s3(script.url).finish_parts("k", "ref", parts)


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult><Contents><Key>&b;</Key></Contents></ListBucketResult>',
        b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "http://127.0.0.1:1/x"><ListBucketResult/>',
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult/>'.encode("utf-16"),
        b"<ListBucketResult>&undefined;</ListBucketResult>",
        b"<ListBucketResult><unclosed></ListBucketResult>",
        b"",
    ],
)
def test_xml_with_entities_or_none_at_all_is_refused(body: bytes) -> None:
    with playing(Line(200, body)) as script, pytest.raises(Retryable, match="XML"):
        list(s3(script.url).list("f/"))


def test_what_was_not_deleted_is_said() -> None:
    listing = Line(200, b"<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>")
    uploads = Line(200, b"<ListMultipartUploadsResult/>")
    failed = Line(200, b"<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code></Error></DeleteResult>")
    with playing(uploads, listing, failed) as script, pytest.raises(Retryable, match="AccessDenied"):
        s3(script.url).delete_prefix("a")


def test_a_put_in_parts_that_fails_is_given_up() -> None:
    begun = Line(200, b"<InitiateMultipartUploadResult><UploadId>ref</UploadId></InitiateMultipartUploadResult>")
    with playing(begun, error(403, "AccessDenied"), Line(204)) as script:
        with pytest.raises(Retryable):
            s3(script.url).put("k", io.BytesIO(bytes(17 * 2**20)))
        assert [heard.method for heard in script.heard] == ["POST", "PUT", "DELETE"]
        assert script.heard[-1].path == "/vault/k?uploadId=ref"


def test_a_copy_that_turns_out_to_be_another_version_is_undone() -> None:
    """Ceph 16 ignores the condition: then only a look afterwards tells."""
    other = Line(200, headers={"ETag": '"other"', "Content-Length": "3"})
    copied = Line(200, b"<CopyObjectResult><ETag>other</ETag></CopyObjectResult>")
    with playing(HEAD, copied, other, other, Line(204)) as script:
        with pytest.raises(Conflict):
            s3(script.url).copy("k", "target", "e")
        assert [heard.method for heard in script.heard] == ["HEAD", "PUT", "HEAD", "HEAD", "DELETE"]
        assert script.heard[1].headers["x-amz-copy-source-if-match"] == '"e"'
        assert script.heard[-1].path == "/vault/target"


def test_links_name_the_host_of_their_audience() -> None:
    store = s3("http://10.0.0.1:7480", public_url="https://s3.vault.example", internal_url="http://rgw.storage.svc")
    assert store.sign_get("k", 60, Audience.BROWSER).startswith("https://s3.vault.example/vault/k?X-Amz-")
    assert store.sign_get("k", 60, Audience.POD).startswith("http://rgw.storage.svc/vault/k?X-Amz-")
    assert store.sign_part("k", "r", 1, 5, 60).startswith("https://s3.vault.example/vault/k?")
    assert s3("http://10.0.0.1:7480").sign_put("k", 60, Audience.POD).startswith("http://10.0.0.1:7480/vault/k?")
    virtual = s3("https://s3.eu.example", path_style=False)
    assert virtual.sign_get("k", 60, Audience.BROWSER).startswith("https://vault.s3.eu.example/k?")


def test_links_are_backdated_sign_the_length_of_parts_and_live_a_week_at_most() -> None:
    store = s3("https://s3.example")
    part = store.sign_part("k", "r", 1, 5, 600)
    assert "X-Amz-Expires=720" in part
    assert "X-Amz-SignedHeaders=content-length%3Bhost" in part
    assert "X-Amz-SignedHeaders=host&" in store.sign_put("k", 60, Audience.POD)
    with pytest.raises(Invalid, match="seven days"):
        store.sign_get("k", 7 * 24 * 3600, Audience.BROWSER)


class Ranges:
    """An object's bytes that remember how they were asked for."""

    def __init__(self, size: int) -> None:
        self.data = bytes(range(251)) * (size // 251 + 1)
        self.data = self.data[:size]
        self.asked: list[tuple[int, int]] = []

    def fetch(self, start: int, end: int) -> bytes:
        self.asked.append((start, end))
        return self.data[start:end]

    def reader(self) -> RangeReader:
        return RangeReader(self.fetch, len(self.data), self.data[:FIRST_BLOCK])


def test_reading_straight_on_asks_for_ever_larger_blocks() -> None:
    ranges = Ranges(30 * 2**20)
    assert io.BufferedReader(ranges.reader()).read() == ranges.data
    assert [(end - start) // 2**20 for start, end in ranges.asked] == [2, 4, 8, 8, 7]
    assert LARGEST_BLOCK == 8 * 2**20


def test_a_jump_starts_small_again_and_known_blocks_are_not_asked_for_twice() -> None:
    ranges = Ranges(20 * 2**20)
    reader = ranges.reader()
    for _ in range(50):  # sound and picture in turn, as containers have them
        for place in (10, 5 * 2**20, 12 * 2**20):
            reader.seek(place)
            assert reader.read(100) == ranges.data[place : place + 100]
    assert ranges.asked == [(5 * 2**20, 6 * 2**20), (12 * 2**20, 13 * 2**20)]


def test_a_reader_holds_little_of_a_large_object() -> None:
    ranges = Ranges(40 * 2**20)
    reader = ranges.reader()
    while reader.read(2**20):
        assert sum(len(block) for _, block in reader._blocks) <= 24 * 2**20


def test_fewer_bytes_than_asked_for_are_noticed() -> None:
    first = Line(206, b"x" * FIRST_BLOCK, {"Content-Range": f"bytes 0-{FIRST_BLOCK - 1}/{2 * FIRST_BLOCK}", "ETag": '"e"'})
    with playing(first, Line(206, b"short")) as script:
        reader = s3(script.url).open("k")
        with pytest.raises(Retryable, match="fewer bytes"):
            reader.read()
        assert script.heard[1].headers["if-match"] == '"e"'
        assert script.heard[1].headers["range"] == f"bytes={FIRST_BLOCK}-{2 * FIRST_BLOCK - 1}"


def test_opening_a_small_object_takes_one_request() -> None:
    with playing(Line(206, b"abc", {"Content-Range": "bytes 0-2/3", "ETag": '"e"'})) as script:
        assert s3(script.url).open("k").read() == b"abc"
        assert len(script.heard) == 1

"""Tenants on a real MinIO and a real Ceph: what keys cannot do, what is gone after a drop, and being killed between calls."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider

from auricle.errors import Permanent, Retryable
from auricle.ports.blobs import Audience
from auricle_operator.adapters import buckets
from auricle_operator.adapters.ceph import AdminOps, CephStores
from auricle_operator.adapters.minio import MinioStores, policy_of
from auricle_operator.outside import AccessKey, Objects
from auricle_operator.settings import Settings
from builders import minio_server
from builders.blob_web import request
from builders.tenant_stores import RealStore, allowed

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]
URL = "https://acme.example/"
MEGABYTE = 2**20
LOOKS = ("Head", "Get", "List", "GET")
"""What calls begin with that change nothing."""
run = asyncio.run


@pytest.fixture
def opened(real: RealStore, bucket: str, first: AccessKey) -> str:
    """A bucket that `first` may use."""
    run(real.stores.ensure(bucket, None, URL))
    run(real.stores.admit(bucket, first))
    return bucket


def test_functions_do_all_that_they_do_with_objects(real: RealStore, opened: str, first: AccessKey) -> None:
    store = real.blobs(first, opened)
    etag = store.put("drop/a", io.BytesIO(b"x" * 6 * MEGABYTE), "audio/flac").etag
    store.copy("drop/a", "uploads/a", etag)
    assert store.open("uploads/a").read(3) == b"xxx"
    assert store.stat("uploads/none") is None
    ref = store.begin_parts("uploads/b")
    assert request("PUT", store.sign_part("uploads/b", ref, 1, 4, 60), b"part").status == 200
    store.finish_parts("uploads/b", ref, store.parts("uploads/b", ref))
    store.abort_parts("uploads/c", store.begin_parts("uploads/c"))
    assert request("GET", store.sign_get("uploads/b", 60, Audience.POD)).body == b"part"
    assert [blob.key for blob in store.list("")] == ["drop/a", "uploads/a", "uploads/b"]
    store.delete("drop/a")
    assert store.delete_prefix("uploads/") == 2


def test_keys_do_not_change_how_the_bucket_is_set_up(real: RealStore, opened: str, first: AccessKey) -> None:
    client = real.client(first)
    everybody = f'{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::{opened}/*"}}]}}'
    expiry = {"Rules": [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]}
    tries: dict[str, Callable[[], Any]] = {
        "policy": lambda: client.put_bucket_policy(Bucket=opened, Policy=everybody),
        "lifecycle": lambda: client.put_bucket_lifecycle_configuration(Bucket=opened, LifecycleConfiguration=expiry),
        "versions": lambda: client.put_bucket_versioning(Bucket=opened, VersioningConfiguration={"Status": "Enabled"}),
        "encryption": lambda: client.delete_bucket_encryption(Bucket=opened),
        "deletion": lambda: client.delete_bucket(Bucket=opened),
        "another bucket": lambda: client.create_bucket(Bucket="auricle-of-my-own"),
    }
    # Ceph 16 takes encryption for an object's business. It offers none by itself, and the next ensure puts back what there was.
    known = ["encryption"] if isinstance(real.stores, CephStores) else []
    assert [what for what, attempt in tries.items() if allowed(attempt)] == known
    assert client.list_buckets()["Buckets"] == [] or {b["Name"] for b in client.list_buckets()["Buckets"]} == {opened}


def test_what_is_put_public_is_not_read_by_strangers(real: RealStore, opened: str, first: AccessKey) -> None:
    with contextlib.suppress(ClientError):
        real.client(first).put_object(Bucket=opened, Key="a", Body=b"x", ACL="public-read")
    assert request("GET", f"{real.server.url}/{opened}/a").status in (403, 404)
    assert request("GET", f"{real.server.url}/{opened}").status == 403


def test_minio_keys_make_no_other_keys_and_what_they_borrow_ends_with_them(
    minio: RealStore, bucket: str, first: AccessKey
) -> None:
    run(minio.stores.ensure(bucket, None, URL))
    run(minio.stores.admit(bucket, first))
    own = MinioAdmin(
        endpoint=urlsplit(minio.server.url).netloc, credentials=StaticProvider(first.id, first.secret), secure=False
    )
    with pytest.raises(Exception, match="AccessDenied"):
        own.add_service_account(access_key="a-key-to-keep", secret_key="a-secret-to-keep")
    with pytest.raises(Exception, match="AccessDenied"):
        own.user_list()
    lent = minio.client(first, "sts").assume_role(RoleArn="arn:xxx:xxx:xxx:xxxx", RoleSessionName="anything")["Credentials"]
    borrowed = minio.client(AccessKey(id=lent["AccessKeyId"], secret=lent["SecretAccessKey"]), token=lent["SessionToken"])
    assert allowed(lambda: borrowed.list_objects_v2(Bucket=bucket))
    run(minio.stores.shut(bucket, first.id))
    assert not allowed(lambda: borrowed.list_objects_v2(Bucket=bucket))


def test_minio_tells_its_webhook_what_arrives(tmp_path: Path, bucket: str) -> None:
    server = minio_server.start(tmp_path, hear_at="http://127.0.0.1:9/api/bucket-events", token="the token")
    try:
        run(RealStore(server, "minio").stores.ensure(bucket, None, URL))
        told = server.client().get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
        assert {rule["QueueArn"] for rule in told} == {"arn:minio:sqs::AURICLE:webhook"}
        assert {rule["Filter"]["Key"]["FilterRules"][0]["Value"] for rule in told} == {"uploads/", "drop/"}
    finally:
        server.stop()


def test_a_key_that_minio_cannot_take_is_said(minio: RealStore, bucket: str) -> None:
    run(minio.stores.ensure(bucket, None, URL))
    with pytest.raises(Permanent, match="at least 3"):
        run(minio.stores.admit(bucket, AccessKey(id="k", secret="a secret of some length")))


def test_more_than_the_quota_is_refused(real: RealStore, opened: str, first: AccessKey) -> None:
    run(real.stores.ensure(opened, MEGABYTE, URL))
    assert not real.writes(first, opened, "uploads/large", b"x" * 2 * MEGABYTE)
    assert real.writes(first, opened, "uploads/small")
    run(real.stores.ensure(opened, None, URL))
    assert real.writes(first, opened, "uploads/large", b"x" * 2 * MEGABYTE)


def test_an_upload_url_is_for_one_object(real: RealStore, opened: str) -> None:
    url = run(real.stores.upload_url(opened, "snapshots/a.dump", 60))
    assert request("PUT", url, b"dump").status == 200
    assert request("PUT", url.replace("a.dump", "b.dump"), b"dump").status == 403
    assert request("GET", url).status == 403
    assert run(real.stores.used(opened)) == Objects(bytes=4, count=1)


def test_versions_and_unfinished_uploads_go_page_by_page(
    real: RealStore, opened: str, first: AccessKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "PAGE", 3)
    admin = real.server.client()
    admin.put_bucket_versioning(Bucket=opened, VersioningConfiguration={"Status": "Enabled"})
    for name in ("a", "a", "b", "d/ü b", "d/&<>", "d/\x01", "e"):
        admin.put_object(Bucket=opened, Key=name, Body=b"x")
    admin.delete_object(Bucket=opened, Key="a")
    uploads = [admin.create_multipart_upload(Bucket=opened, Key=f"u/{n}")["UploadId"] for n in range(4)]
    run(real.stores.drop(opened))
    assert run(real.stores.used(opened)) is None
    run(real.stores.ensure(opened, None, URL))
    found = admin.list_object_versions(Bucket=opened)
    assert not found.get("Versions")
    assert not found.get("DeleteMarkers")
    if isinstance(real.stores, CephStores):
        for number, upload in enumerate(uploads):
            with pytest.raises(ClientError, match="NoSuch"):
                admin.list_parts(Bucket=opened, Key=f"u/{number}", UploadId=upload)


def test_a_large_bucket_is_dropped_in_turns(real: RealStore, opened: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "PAGE", 2)
    monkeypatch.setattr(buckets, "PAGES", 2)
    for number in range(7):
        real.server.client().put_object(Bucket=opened, Key=f"k/{number}", Body=b"x")
    with pytest.raises(Retryable, match="being emptied"):
        run(real.stores.drop(opened))
    for _ in range(5):
        with contextlib.suppress(Retryable):
            run(real.stores.drop(opened))
    assert run(real.stores.used(opened)) is None


# Being killed, and how often a store is asked.


class Killed(BaseException):
    """What a kill looks like to whoever waits."""


@contextlib.contextmanager
def told_before_each_call(tell: Callable[[str], object]) -> Iterator[None]:
    """`tell` hears of each call to a store before it is made, and may kill."""
    to_s3, to_minio, to_ceph = BaseClient._make_api_call, MinioAdmin._url_open, AdminOps.call
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", lambda self, name, values: (tell(name), to_s3(self, name, values))[1])
        patch.setattr(
            MinioAdmin,
            "_url_open",
            lambda self, **values: (tell(f"{values['method']} {values['command'].value}"), to_minio(self, **values))[1],
        )
        patch.setattr(
            AdminOps,
            "call",
            lambda self, method, what, values, **more: (
                tell(f"{method} {what} {more.get('part', '')}"),
                to_ceph(self, method, what, values, **more),
            )[1],
        )
        yield


def killed_again_and_again(act: Callable[[], None]) -> int:
    """`act` dies before its first change, then before its second, and so on, until it gets through; returns how often it died."""
    for number in count(1):
        changes = count(1)

        def tell(call: str, changes: Iterator[int] = changes, number: int = number) -> None:
            if not call.startswith(LOOKS) and next(changes) >= number:
                raise Killed

        try:
            with told_before_each_call(tell):
                act()
        except Killed:
            assert number < 40
        else:
            return number - 1
    raise AssertionError


def test_work_that_is_killed_before_each_of_its_changes_gets_there(
    real: RealStore, bucket: str, first: AccessKey, second: AccessKey
) -> None:
    run(real.stores.ensure(f"{bucket}-before", MEGABYTE, URL))  # what this store does not offer is known from here on

    def make() -> None:
        run(real.stores.ensure(bucket, 5 * MEGABYTE, URL))
        run(real.stores.admit(bucket, first))
        run(real.stores.admit(bucket, second))
        run(real.stores.shut(bucket, second.id))

    assert killed_again_and_again(make) > 3
    assert real.reads(first, bucket)
    assert real.writes(first, bucket)
    assert not real.writes(first, bucket, "uploads/large", b"x" * 6 * MEGABYTE)
    assert not real.reads(second, bucket)
    assert killed_again_and_again(lambda: run(real.stores.drop(bucket))) > 2
    assert run(real.stores.used(bucket)) is None
    assert not real.reads(first, bucket)
    make()
    assert real.writes(first, bucket)


def test_to_ensure_what_is_there_writes_nothing(real: RealStore, opened: str) -> None:
    run(real.stores.ensure(opened, None, URL))
    said: list[str] = []
    with told_before_each_call(said.append):
        run(real.stores.ensure(opened, None, URL))
    assert all(call.startswith(LOOKS) for call in said), said
    assert len(said) <= 14, said


# Errors.


@pytest.mark.parametrize("kind", [MinioStores, CephStores])
def test_a_store_that_is_away_is_waited_for(kind: type[MinioStores] | type[CephStores], first: AccessKey) -> None:
    gone = kind(Settings(store_endpoint="http://127.0.0.1:1", store_access_key_id="a", store_secret_access_key="b"))
    for call in (gone.ensure("b", None, URL), gone.admit("b", first), gone.shut("b", "k"), gone.used("b"), gone.drop("b")):
        with pytest.raises(Retryable, match="reached"):
            run(call)
    gone.close()


def test_a_wrong_secret_of_the_operator_is_said_without_saying_it(real: RealStore, opened: str, first: AccessKey) -> None:
    wrong = type(real.stores)(
        Settings(
            store_endpoint=real.server.url, store_access_key_id=real.server.access_key, store_secret_access_key="not-the-secret"
        )
    )
    for call in (wrong.ensure(opened, None, URL), wrong.admit(opened, first), wrong.used(opened), wrong.drop(opened)):
        with pytest.raises(Permanent, match="AURICLE_OPERATOR_STORE_SECRET_ACCESS_KEY") as caught:
            run(call)
        assert "not-the-secret" not in str(caught.value)
        assert first.secret not in str(caught.value)
    wrong.close()


def test_minio_s_policy_is_named_apart_from_its_own() -> None:
    assert policy_of("readwrite") != "readwrite"

"""Object stores that hold a bucket per tenant, and clients that try to use a key."""

from __future__ import annotations

from typing import Any, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from auricle.adapters.blobs.s3 import S3Blobs
from auricle_operator.adapters.ceph import CephStores
from auricle_operator.adapters.minio import MinioStores
from auricle_operator.outside import AccessKey, ObjectStores
from auricle_operator.settings import Settings
from builders.operator_outside import MemoryStores
from builders.s3_server import S3Server

REFUSED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "403", "404")


class Store(Protocol):
    """A store under contract."""

    stores: ObjectStores

    def reads(self, key: AccessKey, bucket: str) -> bool:
        """Whether `key` lists `bucket` and gets an object from it."""
        ...

    def writes(self, key: AccessKey, bucket: str, name: str = "uploads/a", data: bytes = b"x") -> bool:
        """Whether `key` puts an object there."""
        ...


class MemoryStore:
    """In memory."""

    def __init__(self) -> None:
        self.stores = MemoryStores()

    def reads(self, key: AccessKey, bucket: str) -> bool:
        return self.stores.may(key, bucket)

    def writes(self, key: AccessKey, bucket: str, name: str = "uploads/a", data: bytes = b"x") -> bool:
        return self.stores.put(key, bucket, name, data)


class RealStore:
    """A running MinIO or Ceph."""

    def __init__(self, server: S3Server, kind: str) -> None:
        self.server = server
        self.settings = Settings(
            store=kind,
            store_endpoint=server.url,
            store_access_key_id=server.access_key,
            store_secret_access_key=server.secret_key,
        )
        self.stores = MinioStores(self.settings) if kind == "minio" else CephStores(self.settings)

    def reads(self, key: AccessKey, bucket: str) -> bool:
        """Lists, and gets what an administrator put: whoever may only one of the two fails the test."""
        client = self.client(key)
        tries = (lambda: client.list_objects_v2(Bucket=bucket), lambda: client.list_multipart_uploads(Bucket=bucket))
        found = {allowed(attempt) for attempt in tries}
        assert len(found) == 1, "a key that lists may list uploads too, and the other way round"
        return found.pop()

    def writes(self, key: AccessKey, bucket: str, name: str = "uploads/a", data: bytes = b"x") -> bool:
        return allowed(lambda: self.client(key).put_object(Bucket=bucket, Key=name, Body=data))

    def blobs(self, key: AccessKey, bucket: str) -> S3Blobs:
        """As functions use it."""
        return S3Blobs(self.server.url, self.server.region, bucket, key.id, key.secret)

    def client(self, key: AccessKey, service: str = "s3", token: str | None = None) -> Any:
        """boto3's, with this key."""
        return boto3.client(
            service,
            endpoint_url=self.server.url,
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            aws_session_token=token,
            region_name=self.server.region,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )


def allowed(call: Any) -> bool:
    """Whether the store does it; anything but a refusal is raised."""
    try:
        call()
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        if code in REFUSED or code in ("QuotaExceeded", "XMinioAdminBucketQuotaExceeded"):
            return False
        raise
    return True

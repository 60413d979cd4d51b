"""Tenants' buckets on MinIO: a policy per bucket, a user per key, and the server's own hard quota."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, MinioException

from auricle.errors import Permanent, Retryable
from auricle_operator.adapters.buckets import CREDENTIALS, BucketStores, refusal
from auricle_operator.outside import AccessKey, Objects
from auricle_operator.settings import Settings

COUNTED = 20
"""Pages of a bucket that are counted; a larger one is told as MinIO's scanner last saw it."""
OBJECTS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
LISTINGS = ("s3:ListBucket", "s3:ListBucketMultipartUploads")
"""What functions do with objects and with the bucket (`auricle.adapters.blobs.s3`). How the bucket is set up is ours alone."""
ABSENT = ("XMinioAdminNoSuchUser", "XMinioAdminNoSuchPolicy", "NoSuchBucket")
SECONDS = urllib3.Timeout(connect=5, read=30)
Answer = TypeVar("Answer")


class MinioStores(BucketStores):
    """One MinIO, as its administrator.

    A key is a user of MinIO, since only these have ids and secrets of our choice and end at once, with whatever they borrowed
    (STS). Ids have 3 letters at least, secrets 8. CORS (MINIO_API_CORS_ALLOW_ORIGIN), the end of unfinished uploads
    (MINIO_API_STALE_UPLOADS_EXPIRY) and the webhook that is told of new objects are the server's, for all buckets alike.
    """

    def __init__(self, settings: Settings) -> None:
        """Connects when first called."""
        endpoint = urlsplit(settings.store_endpoint)
        super().__init__(settings)
        self._webhook = settings.store_webhook
        self._admin = MinioAdmin(
            endpoint=endpoint.netloc,
            credentials=StaticProvider(settings.store_access_key_id, settings.store_secret_access_key),
            region=settings.store_region,
            secure=endpoint.scheme == "https",
            http_client=urllib3.PoolManager(maxsize=8, timeout=SECONDS, retries=urllib3.Retry(0, redirect=False)),
        )

    def _ensure(self, bucket: str, quota: int | None, public_url: str) -> None:
        self._buckets.set_up(bucket, public_url, self._webhook)
        if _told(self._admin.bucket_quota_get, bucket).get("quota", 0) != (quota or 0):
            _asked(self._admin.bucket_quota_set, bucket, quota or 0)
        if not _same(_told(self._admin.policy_info, policy_of(bucket)), _policy(bucket)):
            _asked(self._admin.policy_add, policy_of(bucket), policy=_policy(bucket))

    def _admit(self, bucket: str, key: AccessKey) -> None:
        if not _told(self._admin.policy_info, policy_of(bucket)):
            raise Retryable(f"The bucket {bucket} is not there yet.")
        if not self._ours(bucket, key.id, otherwise=True):
            raise Permanent(f"The key {key.id} is somebody else's: choose another.")
        _asked(self._admin.user_add, key.id, key.secret)  # a user without a policy may nothing
        _asked(self._admin.policy_set, policy_of(bucket), user=key.id)

    def _shut(self, bucket: str, key_id: str) -> None:
        if self._ours(bucket, key_id, otherwise=False):
            _asked(self._admin.user_remove, key_id)

    def _ours(self, bucket: str, key_id: str, *, otherwise: bool) -> bool:
        """Whether the user is of this bucket, or of none yet; `otherwise` where there is no such user."""
        found = _told(self._admin.user_info, key_id)
        return found.get("policyName") in (None, "", policy_of(bucket)) if found else otherwise

    def _used(self, bucket: str) -> Objects | None:
        found = self._buckets.counted(bucket, COUNTED)
        if found is None or found.count >= 0:
            return found
        usage = _told(self._admin.get_data_usage_info).get("bucketsUsageInfo") or {}
        seen = usage.get(bucket, {})
        return Objects(bytes=max(seen.get("size", 0), found.bytes), count=seen.get("objectsCount", 0))

    def _drop(self, bucket: str) -> None:
        mappings = _told(self._admin.get_policy_entities, [], [], [policy_of(bucket)]).get("policyMappings") or ()
        for mapping in mappings:
            for user in mapping.get("users") or ():
                _asked(self._admin.user_remove, user)
        self._buckets.remove(bucket)
        _asked(self._admin.policy_remove, policy_of(bucket))


def policy_of(bucket: str) -> str:
    """Its name. Not the bucket's alone: MinIO has policies of its own (`readwrite`)."""
    return f"bucket-{bucket}"


def _policy(bucket: str) -> dict[str, Any]:
    """Objects of this bucket; and no keys that a user could make for itself and keep."""
    statements = [
        {"Effect": "Allow", "Action": list(OBJECTS), "Resource": [f"arn:aws:s3:::{bucket}/*"]},
        {"Effect": "Allow", "Action": list(LISTINGS), "Resource": [f"arn:aws:s3:::{bucket}"]},
        {"Effect": "Deny", "Action": ["admin:*"]},
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """MinIO sorts what it was told."""

    def bare(policy: dict[str, Any]) -> set[tuple[str, frozenset[str], frozenset[str]]]:
        return {
            (one["Effect"], frozenset(one["Action"]), frozenset(one.get("Resource", ()))) for one in policy.get("Statement", ())
        }

    return bare(found) == bare(wanted)


def _told(call: Callable[..., str], *arguments: Any) -> dict[str, Any]:
    """The answer; nothing where there is no such thing."""
    found: dict[str, Any] = json.loads(_asked(call, *arguments) or "{}")
    return found


def _asked(call: Callable[..., str], *arguments: Any, **more: Any) -> str:
    """The answer as text. What was sent is in no error."""
    try:
        return call(*arguments, **more)
    except MinioAdminException as error:
        status, code = _status(error), _code(error)
        if code in ABSENT:
            return ""
        if code in ("XMinioAdminInvalidAccessKey", "XMinioAdminInvalidSecretKey"):
            raise Permanent("MinIO takes keys of at least 3 letters, with secrets of at least 8: choose another.") from None
        raise refusal(code, status, call.__name__) from None
    except urllib3.exceptions.HTTPError as error:
        raise Retryable(f"The object store cannot be reached ({type(error).__name__}).") from None
    except (MinioException, ValueError) as error:
        raise Permanent(
            f"The object store's answers are not MinIO's ({type(error).__name__}): look at {CREDENTIALS}."
        ) from None


def _code(error: MinioAdminException) -> str:
    try:
        return str(json.loads(error._body).get("Code", ""))
    except (ValueError, AttributeError):
        return ""


def _status(error: MinioAdminException) -> int:
    return int(error._code)

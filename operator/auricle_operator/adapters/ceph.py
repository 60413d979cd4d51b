"""Tenants' buckets on Ceph's RADOS Gateway: a user per bucket, its keys, the bucket's access list and its quota.

The buckets belong to the operator's own user, so that a tenant's keys reach objects and not how the bucket is set up. An access
list says so and not a policy, because Ceph 16 takes every policy for a public one and refuses it where public ones are blocked.
That user needs the caps `users=*;buckets=*` (Ceph Object Gateway, "Admin Operations").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from auricle.errors import Permanent, Retryable
from auricle_operator.adapters.buckets import BucketStores, refusal
from auricle_operator.outside import AccessKey, Objects
from auricle_operator.settings import Settings

SECONDS = urllib3.Timeout(connect=5, read=30)
NO_BUCKETS = "-1"
"""The most buckets of its own that a tenant's user may make: none (0 would be any number)."""
ABSENT = ("NoSuchUser", "NoSuchKey", "NoSuchBucket", "InvalidAccessKey")
UNLIMITED = "-1"


class CephStores(BucketStores):
    """One RADOS Gateway. Nobody is told of new objects: a topic needs the tenant's own address and token."""

    def __init__(self, settings: Settings) -> None:
        """Connects when first called."""
        super().__init__(settings)
        self._admin = AdminOps(settings)

    def _ensure(self, bucket: str, quota: int | None, public_url: str) -> None:
        self._buckets.set_up(bucket, public_url)
        if self._admin.call("GET", "user", {"uid": bucket}) is None:
            self._admin.call(
                "PUT",
                "user",
                {"uid": bucket, "display-name": bucket, "max-buckets": NO_BUCKETS, "generate-key": "false"},
            )
        self._buckets.share(bucket, bucket)
        stats = self._stats(bucket) or {}
        if not _quota_holds(stats.get("bucket_quota", {}), quota):
            # In whole KiB, as every version knows it, and without a body: a signed one is "not implemented" here.
            size = (
                {"enabled": "false"}
                if quota is None
                else {"enabled": "true", "max-size-kb": str(quota // 1024), "max-objects": UNLIMITED}
            )
            said = {"uid": str(stats.get("owner", "")), "bucket": bucket, **size}
            self._admin.call("PUT", "bucket", said, part="quota")

    def _admit(self, bucket: str, key: AccessKey) -> None:
        if self._admin.call("GET", "user", {"uid": bucket}) is None:
            raise Retryable(f"The bucket {bucket} is not there yet.")
        said = {"uid": bucket, "access-key": key.id, "secret-key": key.secret, "key-type": "s3", "generate-key": "false"}
        self._admin.call("PUT", "user", said, part="key")

    def _shut(self, bucket: str, key_id: str) -> None:
        if key_id in self._keys(bucket):
            self._admin.call("DELETE", "user", {"uid": bucket, "access-key": key_id}, part="key")

    def _used(self, bucket: str) -> Objects | None:
        # As the gateway accounts for it, unfinished uploads included.
        found = self._stats(bucket)
        if found is None:
            return None
        parts = found.get("usage", {}).values()
        count = found.get("usage", {}).get("rgw.main", {}).get("num_objects", 0)
        return Objects(bytes=sum(part.get("size", 0) for part in parts), count=count)

    def _drop(self, bucket: str) -> None:
        for key in self._keys(bucket):
            self._admin.call("DELETE", "user", {"uid": bucket, "access-key": key}, part="key")
        self._buckets.remove(bucket)
        if self._admin.call("GET", "user", {"uid": bucket}) is not None:
            self._admin.call("DELETE", "user", {"uid": bucket})

    def _keys(self, bucket: str) -> list[str]:
        found = self._admin.call("GET", "user", {"uid": bucket}) or {}
        return [key["access_key"] for key in found.get("keys", ())]

    def _stats(self, bucket: str) -> dict[str, Any] | None:
        return self._admin.call("GET", "bucket", {"bucket": bucket, "stats": "true"})


class AdminOps:
    """The gateway's admin interface, signed as S3 is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http = urllib3.PoolManager(maxsize=8, timeout=SECONDS, retries=urllib3.Retry(0, redirect=False))
        self._signer = S3SigV4Auth(
            Credentials(settings.store_access_key_id, settings.store_secret_access_key), "s3", settings.store_region
        )

    def call(self, method: str, what: str, values: Mapping[str, str], *, part: str = "") -> dict[str, Any] | None:
        """`method` /admin/`what`?`part`&`values`; None where there is no such thing."""
        query = "&".join(filter(None, (part, urlencode({**values, "format": "json"}, quote_via=quote))))
        request = AWSRequest(method=method, url=f"{self._settings.store_endpoint.rstrip('/')}/admin/{what}?{query}")
        self._signer.add_auth(request)
        try:
            answer = self._http.request(method, request.url, headers=dict(request.headers.items()))
        except urllib3.exceptions.HTTPError as error:  # not chained: the address has the secret of a new key in it
            raise Retryable(f"The object store cannot be reached ({type(error).__name__}).") from None
        if answer.status < 300:
            return _read(answer.data)
        code = str(_read(answer.data).get("Code", ""))
        if answer.status == 404 and code in ABSENT:
            return None
        if code in ("KeyExists", "UserAlreadyExists", "UserExists"):
            raise Permanent(f"The object store has another user or key of this name ({values.get('access-key') or what}).")
        raise refusal(code, answer.status, f"{method} /admin/{what}")


def _quota_holds(found: Mapping[str, Any], quota: int | None) -> bool:
    if quota is None:
        return not found.get("enabled")
    return bool(found.get("enabled")) and found.get("max_size_kb") == quota // 1024


def _read(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

"""What any S3 store can do for a tenant's bucket: make it what it must be, count it, sign for it, empty it.

boto3's clients block, so that everything here runs in threads, few at once.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from auricle.adapters.blobs.s3.xml import sayable
from auricle.deploy.bucket import State, Wish, origin_of
from auricle.deploy.bucketcalls import client_maker, set_up
from auricle.errors import AuricleError, Invalid, Permanent, Retryable
from auricle_operator.outside import AccessKey, Objects
from auricle_operator.settings import Settings

THREADS = 8
PAGE = 1000
"""Objects of one listing, and of one deletion: what S3 allows."""
PAGES = 100
"""Of one call of `emptied`: whoever drops a large bucket comes back for the rest, and others have their turn."""
DENIED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")
BUSY = (429, 500, 502, 503, 504)
CREDENTIALS = "AURICLE_OPERATOR_STORE_ACCESS_KEY_ID and AURICLE_OPERATOR_STORE_SECRET_ACCESS_KEY"
Answer = TypeVar("Answer")


class Buckets:
    """Of one store, as its administrator."""

    def __init__(self, settings: Settings) -> None:
        """Connects when first called."""
        self._settings = settings
        self._clients = client_maker(
            settings.store_endpoint, settings.store_region, settings.store_access_key_id, settings.store_secret_access_key
        )
        self._threads = ThreadPoolExecutor(THREADS, "store")
        self._not_offered: frozenset[str] = frozenset()

    async def apart(self, act: Callable[[], Answer]) -> Answer:
        """What `act` answers, from a thread. Whoever stops waiting leaves it to end by itself."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, translated, act)

    def set_up(self, bucket: str, public_url: str, webhook: str = "") -> None:
        """Make it and make it what it must be; what this store does not offer is asked of it once per process.

        `webhook`: the one of MinIO's that is told of new objects; it knows by itself where it goes.
        """
        region, origin = self._settings.store_region, origin_of(public_url)
        wish = Wish(bucket=bucket, region=region, origin=origin, hear_at="(webhook)" if webhook else "", target=webhook)
        outcomes = list(set_up(self._clients, wish, self._not_offered))
        self._not_offered |= {outcome.step for outcome in outcomes if outcome.state is State.MISSING}
        if bad := [str(outcome) for outcome in outcomes if outcome.state.bad]:
            raise Permanent(f"The bucket {bucket} is not what it must be. {' '.join(bad)}")

    def exists(self, bucket: str) -> bool:
        """Whether there is such a bucket, whoever's."""
        return _unless_absent(lambda: bool(self._s3.head_bucket(Bucket=bucket))) or False

    def counted(self, bucket: str, pages: int) -> Objects | None:
        """What lies in it, if it has no more than `pages` of objects; `count` is -1 if it has."""
        size, number = 0, 0
        token: dict[str, str] = {}
        for _ in range(pages):
            page = _unless_absent(lambda: self._s3.list_objects_v2(Bucket=bucket, MaxKeys=PAGE, **token))  # noqa: B023
            if page is None:
                return None
            size += sum(found["Size"] for found in page.get("Contents", ()))
            number += page["KeyCount"]
            if not page["IsTruncated"]:
                return Objects(bytes=size, count=number)
            token = {"ContinuationToken": page["NextContinuationToken"]}
        return Objects(bytes=size, count=-1)

    def upload_url(self, bucket: str, key: str, seconds: int) -> str:
        """Signed by the administrator, for this one object."""
        url: str = self._s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": key}, ExpiresIn=seconds)
        return url

    def remove(self, bucket: str) -> None:
        """Everything in it, versions and unfinished uploads too, then the bucket. `Retryable` while there is more."""
        if not self.exists(bucket):
            return
        for _ in range(PAGES):
            if not (self._versions_removed(bucket) or self._uploads_removed(bucket)):
                _unless_absent(lambda: self._s3.delete_bucket(Bucket=bucket))
                return
        raise Retryable(
            f"The bucket {bucket} is being emptied: some {PAGES * PAGE} objects went, and there are more.", delay=0.1
        )

    def share(self, bucket: str, user: str) -> None:
        """`user` of the same store lists, reads and writes there; nobody else but the administrator does."""
        found = self._s3.get_bucket_acl(Bucket=bucket)
        owner = found["Owner"]["ID"]
        wanted = {(owner, "FULL_CONTROL"), (user, "READ"), (user, "WRITE")}
        if {(grant["Grantee"].get("ID", ""), grant["Permission"]) for grant in found["Grants"]} == wanted:
            return
        grants = [{"Grantee": {"Type": "CanonicalUser", "ID": who}, "Permission": right} for who, right in sorted(wanted)]
        self._s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Owner": {"ID": owner}, "Grants": grants})

    def close(self) -> None:
        """No more work; what is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def _s3(self) -> Any:
        return self._clients("s3")

    def _versions_removed(self, bucket: str) -> bool:
        page = self._s3.list_object_versions(Bucket=bucket, MaxKeys=PAGE)
        found = [
            {"Key": version["Key"], "VersionId": version["VersionId"]}
            for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
        ]
        self._delete(bucket, [version for version in found if sayable(version["Key"])])
        for version in found:
            if not sayable(version["Key"]):
                self._s3.delete_object(Bucket=bucket, **version)
        return bool(found)

    def _delete(self, bucket: str, versions: Sequence[dict[str, str]]) -> None:
        if not versions:
            return
        answer = self._s3.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
        for error in answer.get("Errors", ()):
            raise Retryable(f"The object store did not delete everything in {bucket} ({error.get('Code')}).")

    def _uploads_removed(self, bucket: str) -> bool:
        found = self._s3.list_multipart_uploads(Bucket=bucket, MaxUploads=PAGE).get("Uploads", ())
        for upload in found:
            _unless_absent(
                lambda: self._s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])  # noqa: B023
            )
        return bool(found)


class BucketStores(ABC):
    """Implements `auricle_operator.outside.ObjectStores` on a store whose calls block: each kind says what they are."""

    def __init__(self, settings: Settings) -> None:
        """Connects when first called."""
        self._buckets = Buckets(settings)

    async def ensure(self, bucket: str, quota: int | None, public_url: str) -> None:
        """See `ObjectStores`."""
        await self._buckets.apart(partial(self._ensure, bucket, quota, public_url))

    async def admit(self, bucket: str, key: AccessKey) -> None:
        """See `ObjectStores`. A bucket that was not ensured is `Retryable`."""
        await self._buckets.apart(partial(self._admit, bucket, key))

    async def shut(self, bucket: str, key_id: str) -> None:
        """See `ObjectStores`."""
        await self._buckets.apart(partial(self._shut, bucket, key_id))

    async def used(self, bucket: str) -> Objects | None:
        """See `ObjectStores`."""
        return await self._buckets.apart(partial(self._used, bucket))

    async def upload_url(self, bucket: str, key: str, seconds: int) -> str:
        """See `ObjectStores`."""
        return await self._buckets.apart(partial(self._buckets.upload_url, bucket, key, seconds))

    async def drop(self, bucket: str) -> None:
        """See `ObjectStores`."""
        await self._buckets.apart(partial(self._drop, bucket))

    def close(self) -> None:
        """Of this process."""
        self._buckets.close()

    @abstractmethod
    def _ensure(self, bucket: str, quota: int | None, public_url: str) -> None: ...

    @abstractmethod
    def _admit(self, bucket: str, key: AccessKey) -> None: ...

    @abstractmethod
    def _shut(self, bucket: str, key_id: str) -> None: ...

    @abstractmethod
    def _used(self, bucket: str) -> Objects | None: ...

    @abstractmethod
    def _drop(self, bucket: str) -> None: ...


def _unless_absent(call: Callable[[], Answer]) -> Answer | None:
    try:
        return call()
    except ClientError as error:
        if int(error.response["ResponseMetadata"]["HTTPStatusCode"]) == 404:
            return None
        raise


def translated(act: Callable[[], Answer]) -> Answer:
    """boto3's errors in our words, and without what was sent."""
    try:
        return act()
    except ClientError as error:
        raise refusal(str(error.response["Error"].get("Code") or ""), int(error.response["ResponseMetadata"]["HTTPStatusCode"]),
                      error.operation_name) from None  # fmt: skip
    except Invalid as error:
        raise Permanent(f"{error} The operator's key is in {CREDENTIALS}.") from None
    except BotoCoreError as error:
        raise Retryable(f"The object store cannot be reached ({type(error).__name__}).") from None


def refusal(code: str, status: int, what: str) -> AuricleError:
    """What a store's refusal means: `code` in its words, and `what` was asked."""
    if status in BUSY or code in ("SlowDown", "OperationAborted", "BucketNotEmpty"):
        return Retryable(f"The object store is busy ({code or status}).")
    if status in (401, 403) or code in DENIED:
        return Permanent(f"The object store does not let the operator do {what} ({code or status}): look at {CREDENTIALS}.")
    return Permanent(f"The object store refuses {what} ({code or status}): look at its log, and at AURICLE_OPERATOR_STORE.")

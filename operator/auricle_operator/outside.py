"""What lies beyond Kubernetes, as the operator needs it: databases and buckets of tenants.

Every call is idempotent and may be cut off at any moment: whoever calls it again brings about the same. Errors: `Retryable`
(away, starting), `Permanent` (it refuses for good, and says what to do).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec


class Login(StrEnum):
    """The roles of one tenant's database that anybody logs in as."""

    A = "a"  # functions, in turns with B
    B = "b"
    OWNER = "owner"  # owns and alters: for jobs


class Databases(Protocol):
    """The server that holds a database per tenant. `tenant` is the Tenant's name."""

    async def ensure(self, tenant: str) -> None:
        """Database, owner, the functions' group and its two logins (without passwords), extensions, rights, and the function by
        which the pooler looks up who logs in. Nobody of another tenant may connect."""
        ...

    async def admit(self, tenant: str, login: Login, password: str) -> None:
        """From now on `login` enters with exactly this password."""
        ...

    async def shut(self, tenant: str, login: Login) -> None:
        """`login` enters no more, and its open sessions end."""
        ...

    def url(self, tenant: str, login: Login, password: str) -> str:
        """The SQLAlchemy URL as the tenant's pods use it: functions by the pooler where there is one, owners directly."""
        ...

    async def bytes_used(self, tenant: str) -> int | None:
        """Size of the database; None when there is none."""
        ...

    async def minutes_this_month(self, tenant: str) -> int | None:
        """Minutes of recordings whose transcription began in this calendar month (UTC); None without a schema."""
        ...

    async def drop(self, tenant: str) -> None:
        """Sessions end, the database and its roles go."""
        ...


class AccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key pair of the object store."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"AccessKey({self.id})"


class Objects(msgspec.Struct, frozen=True, kw_only=True):
    """How much lies in a bucket."""

    bytes: int
    count: int


class ObjectStores(Protocol):
    """The object store that holds a bucket per tenant."""

    async def ensure(self, bucket: str, quota: int | None, public_url: str) -> None:
        """A private, encrypted bucket as Auricle needs it (lifecycle, CORS for `public_url` where the store has it per bucket),
        of at most `quota` bytes."""
        ...

    async def admit(self, bucket: str, key: AccessKey) -> None:
        """From now on `key` reads and writes the objects of this bucket, and can do nothing else anywhere."""
        ...

    async def shut(self, bucket: str, key_id: str) -> None:
        """That key works no more."""
        ...

    async def used(self, bucket: str) -> Objects | None:
        """What lies in it; None when there is none."""
        ...

    async def upload_url(self, bucket: str, key: str, seconds: int) -> str:
        """A signed URL to PUT one object, as pods reach the store."""
        ...

    async def drop(self, bucket: str) -> None:
        """Everything in it goes, versions and unfinished uploads too, and the bucket, its keys and its policy."""
        ...

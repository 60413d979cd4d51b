"""Databases and object stores in memory, as far as the operator and whoever enters can tell.

Every call gives way once (`asyncio.sleep(0)`), so that a test can kill a reconcile at each of its awaits; `away = True` makes
every call `Retryable`. What others would find is told by `enters`, `may` and the structs themselves.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from auricle.errors import Permanent, Retryable
from auricle_operator.outside import AccessKey, Login, Objects


@dataclass
class MemoryDatabase:
    """Of one tenant: who enters with which password, and what was measured in it."""

    passwords: dict[Login, str] = field(default_factory=dict)
    bytes: int = 8_000_000
    minutes: int | None = None  # None: no schema yet


class MemoryDatabases:
    """Implements `auricle_operator.outside.Databases`."""

    def __init__(self) -> None:
        self.tenants: dict[str, MemoryDatabase] = {}
        self.away = False
        self.calls: list[tuple[str, str]] = []  # (method, tenant)

    async def ensure(self, tenant: str) -> None:
        await self._called("ensure", tenant)
        self.tenants.setdefault(tenant, MemoryDatabase())

    async def admit(self, tenant: str, login: Login, password: str) -> None:
        await self._called("admit", tenant)
        if tenant not in self.tenants:
            raise Retryable(f"The database of tenant {tenant} is not there yet.")
        self.tenants[tenant].passwords[login] = password

    async def shut(self, tenant: str, login: Login) -> None:
        await self._called("shut", tenant)
        if tenant in self.tenants:
            self.tenants[tenant].passwords.pop(login, None)

    def url(self, tenant: str, login: Login, password: str) -> str:
        name = "tenant_" + tenant.replace("-", "_")
        host = "database:5432" if login is Login.OWNER else "pooler:6432"
        return f"postgresql+pg8000://{name}_{login}:{password}@{host}/{name}?sslmode=disable"

    async def bytes_used(self, tenant: str) -> int | None:
        await self._called("bytes_used", tenant)
        return self.tenants[tenant].bytes if tenant in self.tenants else None

    async def minutes_this_month(self, tenant: str) -> int | None:
        await self._called("minutes_this_month", tenant)
        return self.tenants[tenant].minutes if tenant in self.tenants else None

    async def drop(self, tenant: str) -> None:
        await self._called("drop", tenant)
        self.tenants.pop(tenant, None)

    def enters(self, tenant: str, login: Login, password: str, database: str | None = None) -> bool:
        """Whether `login` of `tenant` gets into its database now, or into that of the tenant `database`."""
        found = self.tenants.get(tenant)
        return found is not None and database in (None, tenant) and found.passwords.get(login) == password

    async def _called(self, method: str, tenant: str) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise Retryable("The database server is away.")
        self.calls.append((method, tenant))


@dataclass
class MemoryBucket:
    """One bucket: how much fits, who may, and what lies in it."""

    quota: int | None = None
    public_url: str = ""
    keys: dict[str, str] = field(default_factory=dict)  # id -> secret
    objects: dict[str, bytes] = field(default_factory=dict)


class MemoryStores:
    """Implements `auricle_operator.outside.ObjectStores`."""

    def __init__(self) -> None:
        self.buckets: dict[str, MemoryBucket] = {}
        self.away = False
        self.calls: list[tuple[str, str]] = []  # (method, bucket)

    async def ensure(self, bucket: str, quota: int | None, public_url: str) -> None:
        await self._called("ensure", bucket)
        found = self.buckets.setdefault(bucket, MemoryBucket())
        found.quota, found.public_url = quota, public_url

    async def admit(self, bucket: str, key: AccessKey) -> None:
        await self._called("admit", bucket)
        if bucket not in self.buckets:
            raise Retryable(f"The bucket {bucket} is not there yet.")
        if any(key.id in other.keys for name, other in self.buckets.items() if name != bucket):
            raise Permanent(f"The key {key.id} is somebody else's: choose another.")
        self.buckets[bucket].keys[key.id] = key.secret

    async def shut(self, bucket: str, key_id: str) -> None:
        await self._called("shut", bucket)
        if bucket in self.buckets:
            self.buckets[bucket].keys.pop(key_id, None)

    async def used(self, bucket: str) -> Objects | None:
        await self._called("used", bucket)
        found = self.buckets.get(bucket)
        return Objects(bytes=sum(map(len, found.objects.values())), count=len(found.objects)) if found else None

    async def upload_url(self, bucket: str, key: str, seconds: int) -> str:
        await self._called("upload_url", bucket)
        return f"memory://{bucket}/{key}?seconds={seconds}"

    async def drop(self, bucket: str) -> None:
        await self._called("drop", bucket)
        self.buckets.pop(bucket, None)

    def may(self, key: AccessKey, bucket: str) -> bool:
        """Whether `key` reads and writes in `bucket` now."""
        found = self.buckets.get(bucket)
        return found is not None and found.keys.get(key.id) == key.secret

    def put(self, key: AccessKey, bucket: str, name: str, data: bytes) -> bool:
        """An object, put by a client; False when the store refuses (not admitted, or no room)."""
        if not self.may(key, bucket):
            return False
        found = self.buckets[bucket]
        others = sum(len(held) for other, held in found.objects.items() if other != name)
        if found.quota is not None and others + len(data) > found.quota:
            return False
        found.objects[name] = data
        return True

    async def _called(self, method: str, bucket: str) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise Retryable("The object store is away.")
        self.calls.append((method, bucket))

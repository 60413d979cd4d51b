"""Bringing about what a decision wants: apply what is missing or was altered, take away what is wanted no more.

A reconcile that finds everything as it should be asks the API server nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from auricle_operator.cluster import JOB, Cluster, Kind, Manifest, digest, kind_of
from auricle_operator.mirror import Mirror

AT_ONCE = 6
"""Applies of one reconcile under way at once: Knative's webhooks are two small processes."""


class Settled(msgspec.Struct, frozen=True):
    """That an object was applied, and how the API server then showed what we had said (it rewrites `1000m` as `1`)."""

    wanted: str
    shown: str


class Applying:
    """Of one process: remembers what it applied, so that it notices what others changed since."""

    def __init__(self, cluster: Cluster, mirror: Mirror) -> None:
        """`mirror` is what is known of the cluster; it hears of every write."""
        self._cluster, self._mirror = cluster, mirror
        self._settled: dict[tuple[Kind, str, str], Settled] = {}

    async def bring(self, wanted: Iterable[Manifest]) -> int:
        """All of `wanted` as they should be; how many had to be applied."""
        waiting = [manifest for manifest in wanted if not self.holds(manifest)]
        limit = asyncio.Semaphore(AT_ONCE)

        async def apply(manifest: Manifest) -> None:
            async with limit:
                done = await self._cluster.apply(manifest)
            self._mirror.saw(done)
            self._settled[_key(manifest)] = Settled(digest(manifest), digest(shown(done, manifest)))

        await _all(apply(manifest) for manifest in waiting)
        return len(waiting)

    async def prune(self, found: Iterable[Manifest], wanted: Iterable[Manifest], spare: Collection[Any] = ()) -> int:
        """Those `found` that are not among `wanted` go, but for `spare`; how many were told to."""
        kept = {_key(manifest) for manifest in wanted} | set(spare)
        gone = [m for m in found if _key(m) not in kept and "deletionTimestamp" not in m["metadata"]]
        for manifest in gone:
            await self.remove(manifest)
        return len(gone)

    async def remove(self, manifest: Manifest) -> None:
        """Begin to delete one."""
        self._settled.pop(_key(manifest), None)
        await self._cluster.delete(kind_of(manifest), manifest["metadata"]["name"], manifest["metadata"].get("namespace"))

    def forget(self, namespace: str) -> None:
        """That namespace is gone, with everything in it."""
        for key in [key for key in self._settled if key[1] == namespace]:
            del self._settled[key]

    def holds(self, wanted: Manifest) -> bool:
        """Whether it is there and says what we want."""
        metadata = wanted["metadata"]
        found = self._mirror.get(kind_of(wanted), metadata["name"], metadata.get("namespace"))
        if found is None or "deletionTimestamp" in found["metadata"]:
            return False
        if kind_of(wanted) == JOB:
            return True  # cannot be changed: other work is a job of another name, and what was begun ends as it was begun
        now = shown(found, wanted)
        known = self._settled.get(_key(wanted))
        if known is not None and known.wanted == digest(wanted):
            return known.shown == digest(now)
        return bool(now == wanted)


def shown(found: Any, wanted: Any) -> Any:
    """Of `found` what `wanted` speaks of: in mappings those keys, in lists of the same length each element."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return {key: shown(found[key], value) for key, value in wanted.items() if key in found}
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [shown(f, w) for f, w in zip(found, wanted, strict=True)]
    return found


def _key(manifest: Manifest) -> tuple[Kind, str, str]:
    return (kind_of(manifest), manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"])


async def _all(waiting: Iterable[Any]) -> None:
    """All of them to their end; then the first error, so that none is still at work when the next try begins."""
    done = await asyncio.gather(*waiting, return_exceptions=True)
    for outcome in done:
        if isinstance(outcome, BaseException):
            raise outcome

"""An API server in memory, as far as the operator can tell: apply, finalizers, generations, owners, namespaces that end.

Every call gives way once (`asyncio.sleep(0)`), so that a test can kill a reconcile at each of its awaits.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from auricle.errors import Permanent
from auricle_operator.api.conditions import stamp
from auricle_operator.cluster import KINDS, KSERVICE, NAMESPACE, Gone, Kind, Manifest, kind_of

Key = tuple[str, str, str, str]
"""(apiVersion, kind, namespace, name)."""


class MemoryCluster:
    """Implements `auricle_operator.cluster.Cluster`."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.strict = True  # refuse what the operator's role does not allow
        self.objects: dict[Key, Manifest] = {}
        self.applied: dict[Key, Manifest] = {}
        self.calls: list[tuple[str, str]] = []  # (verb, plural)
        self.told: list[tuple[str, str, str]] = []  # (object, reason, message)
        self.said: dict[tuple[str, str], str] = {}  # (namespace, pod) -> log
        self.now = now
        self.before: Callable[[], None] = lambda: None  # called before each call has an effect; may raise
        self._numbers = itertools.count(1)

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Manifest | None:
        await self._called("get", kind)
        return copy.deepcopy(self.objects.get(_key(kind, namespace, name)))

    async def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> list[Manifest]:
        await self._called("list", kind)
        return [
            copy.deepcopy(found)
            for (version, name, where, _), found in sorted(self.objects.items())
            if (version, name) == (kind.api_version, kind.name)
            and namespace in (None, where)
            and all(found["metadata"].get("labels", {}).get(k) == v for k, v in (labels or {}).items())
        ]

    async def apply(self, manifest: Manifest) -> Manifest:
        await self._called("patch", kind_of(manifest))
        key = self._place(manifest)
        before = self.objects.get(key)
        if before is None:
            made = self._new(manifest)
        else:
            made = _merged(_without(before, self.applied.get(key, {}), manifest), manifest)
            made["metadata"]["uid"] = before["metadata"]["uid"]
            _mutable(before, made)
            if _said(made) != _said(before):
                self._changed(made)
        self.objects[key], self.applied[key] = made, copy.deepcopy(manifest)
        return copy.deepcopy(made)

    async def create(self, manifest: Manifest) -> Manifest:
        await self._called("create", kind_of(manifest))
        key = self._place(manifest)
        if key not in self.objects:
            self.objects[key] = self._new(manifest)
        return copy.deepcopy(self.objects[key])

    async def merge(self, kind: Kind, name: str, namespace: str | None, patch: Manifest) -> Manifest | None:
        await self._called("patch", kind)
        found = self.objects.get(_key(kind, namespace, name))
        if found is None:
            return None
        before = copy.deepcopy(found)
        changed = copy.deepcopy(found)
        _merge_patch(changed, patch)
        _mutable(before, changed)
        found.clear()
        found.update(changed)
        if _said(found) != _said(before):
            self._changed(found)
        self._collect(kind, found)
        return copy.deepcopy(found)

    async def status(self, kind: Kind, name: str, namespace: str | None, status: Manifest) -> None:
        await self._called("patch", kind)
        # What the API server makes of an empty map where something stood before is null, which it then refuses.
        assert not (empty := _empty_maps(status)), f"{kind.name} {name} is invalid: {empty} must be of type object: null"
        if found := self.objects.get(_key(kind, namespace, name)):
            found["status"] = copy.deepcopy(status)

    async def delete(self, kind: Kind, name: str, namespace: str | None = None) -> None:
        await self._called("delete", kind)
        if found := self.objects.get(_key(kind, namespace, name)):
            found["metadata"].setdefault("deletionTimestamp", stamp(self.now()))
            self._collect(kind, found)

    async def logs(self, namespace: str, pod: str, container: str, lines: int) -> str:
        await asyncio.sleep(0)
        return self.said.get((namespace, pod), "")

    async def tell(self, about: Manifest, reason: str, message: str, *, warning: bool = False) -> None:
        await asyncio.sleep(0)
        self.told.append((f"{about['kind']}/{about['metadata']['name']}", reason, message))

    # What a test does as somebody else.

    def put(self, manifest: Manifest) -> Manifest:
        """Somebody makes or replaces an object, status included."""
        key = self._place(manifest)
        before = self.objects.get(key)
        made = self._new(manifest)
        if before:
            made["metadata"]["uid"] = before["metadata"]["uid"]
            made["metadata"]["generation"] = before["metadata"]["generation"] + (_said(made) != _said(before))
        self.objects[key] = made
        return made

    def at(self, kind: Kind, name: str, namespace: str | None = None) -> Manifest:
        """An object that must be there; changing it is what somebody else did."""
        return self.objects[_key(kind, namespace, name)]

    def there(self, kind: Kind, namespace: str | None = None) -> list[str]:
        """Names of a kind, of all namespaces or of one."""
        return [
            n
            for (v, k, where, n) in sorted(self.objects)
            if (v, k) == (kind.api_version, kind.name) and namespace in (None, where)
        ]

    def remove(self, kind: Kind, name: str, namespace: str | None = None) -> None:
        """Somebody takes it away at once."""
        self.objects.pop(_key(kind, namespace, name), None)
        self.applied.pop(_key(kind, namespace, name), None)

    def become_ready(self, kind: Kind, namespace: str | None = None, **status: Any) -> None:
        """Its controller has done what all objects of a kind ask for."""
        for (version, name, where, _), found in self.objects.items():
            if (version, name) == (kind.api_version, kind.name) and namespace in (None, where):
                generation = found["metadata"]["generation"]
                found["status"] = {
                    "observedGeneration": generation,
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": stamp(self.now())}],
                    **(
                        {"latestCreatedRevisionName": f"r{generation}", "latestReadyRevisionName": f"r{generation}"}
                        if kind is KSERVICE
                        else {}
                    ),
                    **status,
                }

    async def _called(self, verb: str, kind: Kind) -> None:
        assert verb in kind.verbs or not self.strict, f"The operator's role does not let it {verb} {kind.plural}: see KINDS."
        self.calls.append((verb, kind.plural))
        await asyncio.sleep(0)
        self.before()

    def _place(self, manifest: Manifest) -> Key:
        kind, metadata = kind_of(manifest), manifest["metadata"]
        assert kind.namespaced == ("namespace" in metadata), f"{manifest['kind']} {metadata['name']}: namespace?"
        if kind.namespaced:
            home = self.objects.get(_key(NAMESPACE, None, metadata["namespace"]))
            if home is None or "deletionTimestamp" in home["metadata"]:
                raise Gone(f"The namespace {metadata['namespace']} is not there, or ending.")
        return _key(kind, metadata.get("namespace"), metadata["name"])

    def _new(self, manifest: Manifest) -> Manifest:
        made = copy.deepcopy(manifest)
        number = next(self._numbers)
        made["metadata"] |= {"uid": f"uid-{number}", "generation": 1, "resourceVersion": str(number)}
        made["metadata"].setdefault("creationTimestamp", stamp(self.now()))
        return made

    def _changed(self, manifest: Manifest) -> None:
        manifest["metadata"]["generation"] = manifest["metadata"].get("generation", 1) + 1
        manifest["metadata"]["resourceVersion"] = str(next(self._numbers))

    def _collect(self, kind: Kind, found: Manifest) -> None:
        """What is being deleted goes when nobody holds it, and takes with it what it owned."""
        metadata = found["metadata"]
        if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
            return
        if kind is NAMESPACE and not self._emptied(metadata["name"]):
            return
        self.remove(kind, metadata["name"], metadata.get("namespace"))
        owned = [
            o
            for o in self.objects.values()
            if any(r["uid"] == metadata["uid"] for r in o["metadata"].get("ownerReferences", ()))
        ]
        for thing in owned:
            thing["metadata"].setdefault("deletionTimestamp", stamp(self.now()))
            self._collect(kind_of(thing), thing)
        home = self.objects.get(_key(NAMESPACE, None, metadata.get("namespace", "")))
        if home and "deletionTimestamp" in home["metadata"]:
            self._collect(NAMESPACE, home)  # it may have waited for this one

    def _emptied(self, namespace: str) -> bool:
        """Whether nothing is left in it: what somebody holds with a finalizer keeps a namespace ending."""
        for key in [key for key in self.objects if key[2] == namespace]:
            thing = self.objects.get(key)
            if thing and "deletionTimestamp" not in thing["metadata"]:
                thing["metadata"]["deletionTimestamp"] = stamp(self.now())
            if thing and not thing["metadata"].get("finalizers"):
                self.remove(kind_of(thing), key[3], namespace)
        return not any(key[2] == namespace for key in self.objects)


def _key(kind: Kind, namespace: str | None, name: str) -> Key:
    assert kind in KINDS
    return (kind.api_version, kind.name, namespace or "", name)


def _said(manifest: Manifest) -> Any:
    """What makes a new generation."""
    return {k: v for k, v in manifest.items() if k not in ("metadata", "status")}


def _mutable(before: Manifest, after: Manifest) -> None:
    """Refuses to change what an immutable Secret holds, or what a Job does, as the API server does."""
    if before["kind"] == "Job" and before["spec"].get("template") != after["spec"].get("template"):
        raise Permanent(f"Job {before['metadata']['name']} is refused: spec.template: field is immutable")
    if before.get("immutable") and any(before.get(key) != after.get(key) for key in ("data", "immutable")):
        raise Permanent(f"{before['kind']} {before['metadata']['name']} is refused: Invalid (data)")


def _merged(base: Any, more: Any) -> Any:
    if isinstance(base, dict) and isinstance(more, dict):
        return {**base, **{k: _merged(base.get(k), v) for k, v in more.items()}}
    return copy.deepcopy(more)


def _without(found: Any, before: Any, now: Any) -> Any:
    """`found` less what we said `before` and say no more `now`."""
    if not (isinstance(found, dict) and isinstance(before, dict)):
        return found
    left = {}
    for key, value in found.items():
        if key in before and not (isinstance(now, dict) and key in now):
            continue
        left[key] = (
            _without(value, before.get(key), now.get(key) if isinstance(now, dict) else None) if key in before else value
        )
    return left


def _merge_patch(found: Manifest, patch: Manifest) -> None:
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict) and isinstance(found.get(key), dict):
            _merge_patch(found[key], value)
        else:
            found[key] = copy.deepcopy(value)


def _empty_maps(value: Any, path: str = "status") -> list[str]:
    if not isinstance(value, dict):
        return []
    return [path] if not value else [found for key, inner in value.items() for found in _empty_maps(inner, f"{path}.{key}")]

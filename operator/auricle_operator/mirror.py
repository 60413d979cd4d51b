"""What the operator has seen of the cluster: its watches' objects, in memory, so that a reconcile asks nobody.

As fresh as our own writes: what an apply answers is put in at once. Values of Secrets are never kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from auricle_operator.cluster import NAMESPACE, SECRET, Cluster, Kind, Manifest, kind_of, made_for

Place = tuple[str, str]
"""(namespace or empty, name)."""


class Mirror:
    """Of one process."""

    def __init__(self) -> None:
        """Empty until `fill`."""
        self._found: dict[Kind, dict[Place, Manifest]] = {}

    async def fill(self, cluster: Cluster, kinds: tuple[Kind, ...]) -> None:
        """Everything there is of `kinds`, before the first event."""
        for kind in kinds:
            for manifest in await cluster.list(kind):
                self.saw({"apiVersion": kind.api_version, "kind": kind.name, **manifest})

    async def again(self, cluster: Cluster, kind: Kind) -> list[Manifest]:
        """Look at everything of `kind` once more, because a watch that begins anew does not tell what went meanwhile; returns
        what did. What was made since the look began may be among it: whoever wants it makes it again, which changes nothing."""
        there = await cluster.list(kind)
        for manifest in there:
            self.saw({"apiVersion": kind.api_version, "kind": kind.name, **manifest})
        places = {_place(manifest) for manifest in there}
        gone = [manifest for place, manifest in self._found.get(kind, {}).items() if place not in places]
        for manifest in gone:
            self.lost(manifest)
        return gone

    def saw(self, manifest: Manifest) -> bool:
        """This is how it is now; whether that was news. What is older than what is known is ignored."""
        kind, place = kind_of(manifest), _place(manifest)
        known = self._found.setdefault(kind, {}).get(place)
        if known is not None and _version(known) >= _version(manifest):
            return False
        self._found[kind][place] = _trimmed(kind, manifest)
        return True

    def lost(self, manifest: Manifest) -> None:
        """It is gone; unless one of the same name was made since."""
        kind, place = kind_of(manifest), _place(manifest)
        known = self._found.get(kind, {}).get(place)
        if known is not None and known["metadata"].get("uid") == manifest["metadata"].get("uid"):
            del self._found[kind][place]

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Manifest | None:
        """One object, if it was seen."""
        return self._found.get(kind, {}).get((namespace or "", name))

    def all(self, kind: Kind, namespace: str | None = None) -> list[Manifest]:
        """Those of a kind, of one namespace or of all, by name."""
        there = sorted(self._found.get(kind, {}).items())
        return [manifest for (where, _), manifest in there if namespace in (None, where)]

    def of(self, tenant: str, namespace: str) -> Iterator[Manifest]:
        """A tenant's namespace, what we made in it, and what we made for it that lies in none."""
        for kind, there in self._found.items():
            for (where, name), manifest in there.items():
                ours = where == namespace or (not where and (kind != NAMESPACE or name == namespace))
                if ours and made_for(tenant, manifest):
                    yield manifest


def _place(manifest: Manifest) -> Place:
    return (manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"])


def _version(manifest: Manifest) -> int:
    # Kubernetes promises since 1.35 what etcd always did: versions of one kind are numbers that grow.
    return int(manifest["metadata"].get("resourceVersion", 0))


def _trimmed(kind: Kind, manifest: Manifest) -> Manifest:
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    said = {key: value for key, value in manifest.items() if kind is not SECRET or key not in ("data", "stringData")}
    return {**said, "metadata": metadata}

"""What nodes' labels say: which verified content lies there, so that pods can prefer the nodes that have it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from auricle_operator.api.modelcache import Copy, NodeState, StorageKind
from auricle_operator.models.observed import Cache, Node, Seen

LABEL = "models.auricle.dev/"
"""`models.auricle.dev/<first twelve digits of the content's digest>=ready`."""
READY = "ready"
UNDER_WAY = (NodeState.DOWNLOADING, NodeState.VERIFYING)


def changes(cache: Cache, seen: Seen, nodes: Mapping[str, Copy]) -> tuple[tuple[str, str, bool], ...]:
    """What of nodes' labels has to change: there while verified content lies there, whoever's it is."""
    known = (*nodes.values(), *cache.status.nodes.values())
    digests = {cache.digest, cache.status.digest, *(copy.digest for copy in known)} - {""}
    found: list[tuple[str, str, bool]] = []
    meant = {node.name for node in cache.nodes(seen.nodes)}
    for node in seen.nodes:
        for digest in sorted(digests):
            copy = _copy_on(cache, node, nodes) if cache.spec.storage.kind is StorageKind.NODE or node.name in meant else None
            there = copy is not None and copy.digest == digest and (copy.state is NodeState.READY or _replacing(copy, cache))
            there = there or any(_has(other, node, digest, seen.nodes) for other in seen.others)
            name = LABEL + digest[:12]
            if there != (node.labels.get(name) == READY) and (there or name in node.labels):
                found.append((node.name, name, there))
    return tuple(sorted(found))


def _copy_on(cache: Cache, node: Node, nodes: Mapping[str, Copy]) -> Copy | None:
    storage = cache.spec.storage
    return nodes.get(f"claim:{storage.claim}" if storage.kind is StorageKind.CLAIM else node.name)


def _replacing(copy: Copy, cache: Cache) -> bool:
    """The content of before is whole until the new one takes its place."""
    return copy.state in UNDER_WAY and copy.digest != cache.digest


def _has(other: Cache, node: Node, digest: str, nodes: tuple[Node, ...]) -> bool:
    if other.leaving or (other.spec.storage.kind is StorageKind.CLAIM and node not in other.nodes(nodes)):
        return False
    copy = _copy_on(other, node, other.status.nodes)
    return copy is not None and copy.state is NodeState.READY and copy.digest == digest

"""Average-linkage clustering of voices by cosine distance, in memory that grows with their number and not its square.

The average cosine distance between two sets of unit vectors is one minus the scalar product of the sets' means, so means
and counts are all that has to be kept. Nearest-neighbour chains (F. Murtagh, 1983) then find the same tree as the textbook
algorithm, because average linkage is reducible.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy
from numpy.typing import NDArray

Vectors = NDArray[numpy.float64]
Labels = NDArray[numpy.int64]


class Merge(NamedTuple):
    """Two leaves whose clusters become one at `height` (average cosine distance)."""

    height: float
    one: int
    other: int


class Tree:
    """A dendrogram over `leaves` items."""

    def __init__(self, leaves: int, merges: Sequence[Merge]) -> None:
        """`merges` by rising height; there are `leaves` - 1 of them."""
        self.leaves = leaves
        self.merges = tuple(merges)

    def below(self, threshold: float) -> Labels:
        """A label per leaf, from 0 in order of first leaf, joining whatever is at most `threshold` apart."""
        return self._labels(sum(merge.height <= threshold for merge in self.merges))

    def into(self, count: int) -> Labels:
        """A label per leaf for exactly `count` clusters, or as many as there are leaves."""
        return self._labels(max(0, self.leaves - max(1, count)))

    def _labels(self, joins: int) -> Labels:
        parent = list(range(self.leaves))

        def root(leaf: int) -> int:
            while parent[leaf] != leaf:
                parent[leaf] = parent[parent[leaf]]
                leaf = parent[leaf]
            return leaf

        for _, one, other in self.merges[:joins]:
            a, b = sorted((root(one), root(other)))
            parent[b] = a
        numbers: dict[int, int] = {}
        return numpy.array([numbers.setdefault(root(leaf), len(numbers)) for leaf in range(self.leaves)], dtype=numpy.int64)


def average_linkage(means: Vectors, counts: Labels) -> Tree:
    """The tree over clusters given by the mean of their unit vectors (n, d) and how many there were (n,)."""
    leaves = len(means)
    means = means.astype(numpy.float64, copy=True)
    weights = counts.astype(numpy.float64)
    ids = numpy.arange(leaves)  # a leaf that stands for each row's cluster
    alive = numpy.ones(leaves, dtype=bool)
    merges: list[Merge] = []
    chain: list[int] = []
    while len(merges) < leaves - 1:
        if not chain:
            chain.append(int(numpy.argmax(alive)))
        tip = chain[-1]
        nearness = means @ means[tip]
        nearness[~alive] = -numpy.inf
        nearness[tip] = -numpy.inf
        best = int(numpy.argmax(nearness))
        if len(chain) > 1 and nearness[chain[-2]] >= nearness[best]:
            best = chain[-2]
        if len(chain) < 2 or best != chain[-2]:
            chain.append(best)
            continue
        del chain[-2:]
        merges.append(Merge(float(1.0 - nearness[best]), int(ids[tip]), int(ids[best])))
        both = weights[tip] + weights[best]
        means[tip] = (means[tip] * weights[tip] + means[best] * weights[best]) / both
        weights[tip] = both
        alive[best] = False
        if alive.sum() * 2 < len(alive) and not chain:  # rows of the dead only cost time
            means, weights, ids = means[alive], weights[alive], ids[alive]
            alive = numpy.ones(len(ids), dtype=bool)
    return Tree(leaves, sorted(merges))


def condensed(vectors: Vectors, threshold: float, group: int) -> tuple[Vectors, Labels, Labels]:
    """Near-identical neighbours in time made one, so that very long recordings stay quick to cluster.

    Unit `vectors` (n, d) are clustered at `threshold` within groups of at most `group` rows. Returns the clusters' means,
    their counts and each row's cluster. The cost in accuracy is measured by `auricle_gpu.bench`.
    """
    means: list[Vectors] = []
    counts: list[int] = []
    rows = numpy.empty(len(vectors), dtype=numpy.int64)
    for start in range(0, len(vectors), group):
        part = vectors[start : start + group]
        labels = average_linkage(part, numpy.ones(len(part), dtype=numpy.int64)).below(threshold)
        rows[start : start + group] = labels + len(means)
        for label in range(int(labels.max()) + 1):
            members = part[labels == label]
            means.append(members.mean(axis=0))
            counts.append(len(members))
    return numpy.array(means), numpy.array(counts, dtype=numpy.int64), rows

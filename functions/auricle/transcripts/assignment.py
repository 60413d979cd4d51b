"""The one-to-one pairing with the greatest sum."""

from __future__ import annotations

from collections.abc import Mapping


def best_assignment(weights: Mapping[tuple[str, str], float]) -> dict[str, str]:
    """Left → right, maximising the summed weight of the pairs (the assignment problem), by augmenting paths.

    Kuhn–Munkres with potentials on the padded square matrix, O(n³): speakers are few, but may be dozens.
    """
    left = sorted({a for a, _ in weights})
    right = sorted({b for _, b in weights})
    size = max(len(left), len(right))
    if size == 0:
        return {}
    top = max(weights.values())
    cost = [[top] * (size + 1) for _ in range(size + 1)]
    for (a, b), weight in weights.items():
        cost[left.index(a) + 1][right.index(b) + 1] = top - weight
    row_of = _minimal(cost, size)
    found: dict[str, str] = {}
    for column in range(1, len(right) + 1):
        row = row_of[column]
        if row <= len(left) and weights.get((left[row - 1], right[column - 1]), 0.0) > 0:
            found[left[row - 1]] = right[column - 1]
    return found


def _minimal(cost: list[list[float]], size: int) -> list[int]:
    """Row matched with each column (1-based) at minimal cost."""
    u, v = [0.0] * (size + 1), [0.0] * (size + 1)
    row_of, way = [0] * (size + 1), [0] * (size + 1)
    for row in range(1, size + 1):
        row_of[0], column = row, 0
        least = [float("inf")] * (size + 1)
        used = [False] * (size + 1)
        while True:
            used[column] = True
            here, delta, following = row_of[column], float("inf"), 0
            for j in range(1, size + 1):
                if used[j]:
                    continue
                reduced = cost[here][j] - u[here] - v[j]
                if reduced < least[j]:
                    least[j], way[j] = reduced, column
                if least[j] < delta:
                    delta, following = least[j], j
            for j in range(size + 1):
                if used[j]:
                    u[row_of[j]] += delta
                    v[j] -= delta
                else:
                    least[j] -= delta
            column = following
            if row_of[column] == 0:
                break
        while column:
            row_of[column], column = row_of[way[column]], way[column]
    return row_of

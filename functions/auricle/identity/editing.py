"""How much one text differs from another: what "at least eight characters changed" means (IA-5(1), APSC-DV-001730)."""

from __future__ import annotations


def differs_by(old: str, new: str, least: int) -> bool:
    """Whether at least `least` characters must be put in, left out or replaced to make `new` of `old` (Levenshtein).

    Only the part of the table that can hold a smaller distance is worked out: `least` times the length, not its square.
    """
    if least <= 0 or abs(len(old) - len(new)) >= least:
        return True
    far = least
    before = {j: j for j in range(min(len(new), least) + 1)}
    for i, a in enumerate(old, 1):
        row: dict[int, int] = {}
        for j in range(max(0, i - least), min(len(new), i + least) + 1):
            if j == 0:
                row[j] = i
                continue
            replaced = before.get(j - 1, far) + (a != new[j - 1])
            row[j] = min(far, replaced, before.get(j, far) + 1, row.get(j - 1, far) + 1)
        before = row
    return before[len(new)] >= least

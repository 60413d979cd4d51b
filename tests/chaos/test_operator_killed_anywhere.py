"""The operator killed at each await of a tenant's life: making, a new release, suspension, work again."""

from __future__ import annotations

import pytest

from builders.operator_lives import lived

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


def test_killed_at_any_of_them_everything_ends_the_same() -> None:
    wanted, count = lived(0)
    different = [at for at in range(1, count + 1) if lived(at)[0] != wanted]
    assert different == [], f"of {count} awaits"

"""Images need no cluster: they run by runc alone, on any machine where `build.sh` has built them."""

from __future__ import annotations

import pytest

from cluster.images.built import Image, image


@pytest.fixture(scope="session", autouse=True)
def cluster() -> None:
    """In place of the lane's fixture: nothing to wait for."""


@pytest.fixture(scope="session", params=["auricle-api", "auricle-identity", "auricle-media", "auricle-speech"])
def ours(request: pytest.FixtureRequest) -> Image:
    """Each image of ours in turn."""
    return image(request.param)

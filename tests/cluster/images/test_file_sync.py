"""What `skaffold dev` counts on: a source that is copied into a running pod is what it serves next."""

from __future__ import annotations

import contextlib
import time

import pytest
import urllib3

from cluster.images.built import PACKAGES, built_for_dev, started

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("target", ["api-dev", "media-dev"])
def test_a_copied_source_is_served_without_a_new_image(target: str) -> None:
    kind = target.removesuffix("-dev")
    settings = {
        "AURICLE_FUNCTION": f"*{kind}",
        "DATABASE_URL": "postgresql+pg8000://nobody@127.0.0.1:1/none",
        "EVENT_KEY": "11" * 32,
    }
    with started(built_for_dev(target), settings, readonly=False) as container:
        container.ready()
        assert container.get("/healthz") == (200, "ok\n")
        # skaffold runs tar in the container; what counts is whose file it is and that it is noticed.
        container.does("sed", "-i", "s/'ok'/'changed'/", f"/{PACKAGES}/auricle/runtime/bind.py")
        end = time.monotonic() + 60
        answer = (0, "")
        while answer != (200, "changed\n") and time.monotonic() < end:
            with contextlib.suppress(urllib3.exceptions.HTTPError):  # it starts again
                answer = container.get("/healthz")
            time.sleep(0.2)
        assert answer == (200, "changed\n"), container.printed()

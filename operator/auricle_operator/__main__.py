"""`python -m auricle_operator`: run the operator until it is told to stop."""

from __future__ import annotations

import logging
import random
import sys

import kopf
from msgspec import structs

from auricle.errors import Invalid
from auricle_operator.handlers import registry
from auricle_operator.metrics import served
from auricle_operator.settings import settings


def main() -> int:
    """Run it; returns the exit status."""
    try:
        chosen = settings()
    except Invalid as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if chosen.peering and not chosen.priority:
        chosen = structs.replace(chosen, priority=random.randint(1, 1_000_000))  # noqa: S311 - two shall differ, that is all
    kopf.configure(log_format=kopf.LogFormat.JSON)
    # kopf has a line per event that was heard, and an error per step of a teardown that goes on: we tell what matters.
    for chatty, level in (("httpx2", logging.WARNING), ("aiohttp.access", logging.WARNING), ("kopf.objects", logging.CRITICAL)):
        logging.getLogger(chatty).setLevel(level)
    with served(chosen.port + 1):
        kopf.run(
            registry=registry(chosen),
            clusterwide=True,
            standalone=None if chosen.peering else True,
            peering_name=chosen.peering or None,
            priority=chosen.priority if chosen.peering else None,
            liveness_endpoint=f"http://0.0.0.0:{chosen.port}/healthz",
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

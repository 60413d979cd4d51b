"""Models on the node before the first pod needs them: pulled, verified and in the page cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from auricle_gpu.models import Model, State, list_models, resolve, verify
from auricle_gpu.pulling import Hub, pull


def prefetch(
    names: Sequence[str], models_dir: Path | None, progress: Callable[[str, float], None], hub: Hub | None = None
) -> list[Model]:
    """Make each model ready to load and read it once, so that its bytes are in memory when a pod maps them.

    `progress` hears the model and 0..1. Models that are there are not asked for at the hub: a node without a way out works.
    """
    ready: list[Model] = []
    for name in names:

        def tell(fraction: float, name: str = name) -> None:
            progress(name, fraction)

        absent = any(listed.name == name and listed.state is State.ABSENT for listed in list_models(models_dir))
        if absent and models_dir is not None:
            pull(name, models_dir, tell, hub)
        verify(name, models_dir, tell)
        ready.append(resolve(name, models_dir))
    return ready

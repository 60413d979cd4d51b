"""Models on the node before the first pod needs them: pulled, verified and in the page cache."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from auricle.errors import AuricleError
from auricle_gpu.models import Model, State, list_models, resolve, verify
from auricle_gpu.pulling import pull
from auricle_gpu.sources.hub import Hub


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


def main(arguments: Sequence[str]) -> int:
    """`python -m auricle_gpu.prefetch FOLDER NAME…`: for jobs that fill a volume; the last line says what is there."""
    if len(arguments) < 2:
        sys.stderr.write("Say the folder and at least one model: python -m auricle_gpu.prefetch /models whisper-small\n")
        return 2
    told: dict[str, int] = {}

    def progress(name: str, fraction: float) -> None:
        if (tenth := int(fraction * 10)) != told.get(name):
            told[name] = tenth
            sys.stdout.write(f"{name}: {tenth * 10} %\n")
            sys.stdout.flush()

    try:
        ready = prefetch(arguments[1:], Path(arguments[0]), progress)
    except AuricleError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"ready: {', '.join(model.name for model in ready)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

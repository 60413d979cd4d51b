"""The generated part of `manifests/base/operator`: the kinds and the operator's role.

`python -m auricle_operator.generated` writes it; with `--check` it fails when something is out of step.
"""

from __future__ import annotations

import sys
from pathlib import Path

from auricle.deploy.generated import MANIFESTS, settle, text
from auricle_operator.api.crds import RESOURCES, definition
from auricle_operator.role import role

FOLDER = MANIFESTS / "base" / "operator"
COMMAND = "python -m auricle_operator.generated"
HEAD = f"# Generated from the code by `{COMMAND}`: change the declaration, not this file.\n"


def files() -> dict[Path, str]:
    """Every generated file, by absolute path."""
    crds = {FOLDER / "crds" / f"{kind.plural}.yaml": text([definition(kind)], HEAD) for kind in RESOURCES}
    return crds | {FOLDER / "role.yaml": text(role(), HEAD)}


def superfluous() -> list[Path]:
    """Definitions of kinds that are no more."""
    wanted = files()
    return [path for path in sorted((FOLDER / "crds").glob("*.yaml")) if path not in wanted]


def main(check: bool) -> int:
    """Write what is out of step, or say what is; returns how many were."""
    return settle(files(), superfluous(), check=check, command=COMMAND)


if __name__ == "__main__":
    raise SystemExit(1 if main(check="--check" in sys.argv) and "--check" in sys.argv else 0)

"""A function in a functions-framework process of its own, as in its container: `auricle up --isolate`.

`python -m auricle.runtime.local.isolated functions/main.py` with PORT, AURICLE_FUNCTION and THREADS.
"""

from __future__ import annotations

import sys

from functions_framework._cli import _cli

from auricle.runtime.local.parent import watch_parent

OPTIONS = ("--target", "handle", "--signature-type", "http", "--host", "127.0.0.1")


def main(source: str) -> None:
    """Run functions-framework's own command in this process, and end with the broker that started us."""
    watch_parent()  # takes gunicorn's worker along: we lead the group
    _cli(["--source", source, *OPTIONS], prog_name="functions-framework")


if __name__ == "__main__":
    main(sys.argv[1])

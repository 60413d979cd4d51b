"""A function in a functions-framework process of its own, as in its container: `auricle up --isolate`.

`python -m auricle.runtime.local.isolated functions/main.py` with PORT, AURICLE_FUNCTION and THREADS.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from auricle.runtime.local.tether import end_with_parent
from auricle.runtime.settings import child_environment


def main(source: str) -> None:
    """Become functions-framework, and end with the broker that started us."""
    end_with_parent()
    program = Path(sys.executable).with_name("functions-framework")
    settings = {
        "HOST": "127.0.0.1",
        "WORKERS": "1",
        "CLOUD_RUN_TIMEOUT_SECONDS": "0",  # the broker has the deadlines
    }
    command = [str(program), "--source", source, "--target", "handle", "--signature-type", "http"]
    os.execve(command[0], command, child_environment(settings))  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1])

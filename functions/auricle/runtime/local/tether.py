"""Children that do not outlive their parent, even when it is killed."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def ends_with_parent(number: int) -> Callable[[], None] | None:
    """For `Popen(preexec_fn=…)`: the kernel sends signal `number` to the child when this process's main thread is gone.

    Linux only (None elsewhere). The arrangement survives `exec`, not a change of user: it is made after that.
    """
    if sys.platform != "linux":
        return None
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died before the arrangement was made
            os._exit(1)

    return arrange

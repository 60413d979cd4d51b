"""Children that end with their parent, also when it is killed and can tell nobody."""

from __future__ import annotations

import os
import select
import signal
import stat
import threading
import time

EVERY = 0.5
"""Seconds between two looks at the parent's process id."""


def watch_parent() -> None:
    """End this process as soon as the one that started it has ended; call it once, early.

    Started by `Workers` it has a pipe as standard input whose other end only the parent holds: its closing is noticed at
    once, by grandchildren too (gunicorn's workers), and takes the whole process group along. Else the parent's id is watched.
    """
    threading.Thread(target=_watch, args=(os.getppid(), _piped()), name="parent", daemon=True).start()


def _piped() -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(0).st_mode)
    except OSError:  # no standard input at all
        return False


def _watch(parent: int, piped: bool) -> None:
    hung_up = False
    while os.getppid() == parent and not hung_up:
        if piped:
            hung_up = _closed()
        else:
            time.sleep(EVERY)
    if piped and os.getsid(0) == os.getpgrp() and os.getpgrp() in (os.getpid(), parent):
        os.killpg(os.getpgrp(), signal.SIGKILL)  # a group of our own: `Workers` starts each child in a new session
    os._exit(1)


def _closed() -> bool:
    readable, _, _ = select.select([0], [], [], EVERY)
    return bool(readable) and not os.read(0, 4096)  # what is sent is of no interest

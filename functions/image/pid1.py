"""Lets a container end while it is still starting.

The kernel ignores signals that PID 1 has no handler for, and gunicorn sets its own only after everything is imported. A pod
that is told to go in its first second would otherwise finish starting, serve nobody, and hold its place (and its GPU) until
the grace period, a quarter of an hour, is over. `pid1.pth` makes Python import this before anything else (a sitecustomize
would be hidden by Debian's own).
"""

import os
import signal
import sys

if os.getpid() == 1:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

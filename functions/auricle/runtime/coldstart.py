"""Where the time goes when nobody was awake: from the event to the first byte, measured from inside the new process.

Functions may not ask the Kubernetes API. What kubelet and the container runtime leave behind in a container says the same,
because each makes its files right before or after the step they stand for:

- the emptyDir at /tmp is born when kubelet begins with a pod that the scheduler has just bound,
- /etc/resolv.conf is written while the runtime makes the pod's sandbox,
- /etc/hosts is written by kubelet right before it creates the container, when the image is there,
- /proc knows when the first process started (in steps of 10 ms).

Without a pod (a laptop) only the process and what follows are known.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from auricle.runs.model import ColdStart

PHASES = ("queued", "scheduled", "image", "process", "model", "first_byte")
"""As `ColdStart` describes them; one ends where the next one begins."""
_MADE_AT = time.time()
Loaded = TypeVar("Loaded")


@dataclass(frozen=True, slots=True)
class Birth:
    """When the pod and the process came to be: seconds since the epoch by this node's clock; None where nobody can know."""

    started: float
    bound: float | None = None
    sandbox: float | None = None
    created: float | None = None


def birth_of_process(in_pod: bool) -> Birth:
    """This process's birth. In a pod it is the container's: the server there forks, and its first process counts."""
    if not in_pod:
        return Birth(started=_started(os.getpid()))
    return Birth(
        started=_started(1),
        bound=_born("/tmp"),  # noqa: S108 -- kubelet's emptyDir, looked at and not written
        sandbox=_written("/etc/resolv.conf"),
        created=_written("/etc/hosts"),
    )


@dataclass(frozen=True, slots=True)
class Phases:
    """One cold start: when it begins, and the seconds of each phase that is known, in order."""

    since: float
    seconds: dict[str, float]

    @property
    def waited(self) -> float:
        """Seconds until the work itself could begin."""
        return sum(value for name, value in self.seconds.items() if name != "first_byte")


AT_ONCE = 5.0
"""Seconds. A request says not since when it waits; one that comes so soon after the start is what the start was for."""


def phases(
    birth: Birth, since: float | None, ready: float, loaded: float | None, answered: float, arrived: float | None = None
) -> Phases | None:
    """What passed between `since` (an event's time; None: a request without one, which `arrived` then) and `answered`.

    None when everything was awake at `since`. Clocks of several machines are involved: no phase is negative.
    """
    awake = max(ready, loaded or 0.0)
    if since is not None and since >= awake:
        return None
    if since is None and arrived is not None and arrived > awake + AT_ONCE:
        return None
    first = birth.bound if birth.bound is not None else birth.started
    begin = first if since is None else since
    ends = (
        ("queued", first if since is not None else None),
        ("scheduled", birth.sandbox if birth.bound is not None else None),
        ("image", birth.created),
        ("process", ready),
        ("model", loaded if loaded is not None and loaded > ready else None),
        ("first_byte", answered),
    )
    seconds: dict[str, float] = {}
    last = begin
    for name, end in ends:
        if end is not None:
            seconds[name] = round(max(0.0, end - last), 3)
            last = max(last, end)
    return Phases(begin, seconds)


class ColdStarts:
    """One process's cold start: measured at its first answer, told to one run."""

    def __init__(self, birth: Callable[[], Birth], clock: Callable[[], float] = time.time) -> None:
        """`birth` is asked when somebody wants to know, never at the start."""
        self._birth = birth
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Birth | None = None
        self._ready = clock()
        self._loaded: float | None = None
        self._measured = False
        self._told = False

    def ready(self) -> None:
        """Everything is imported: requests are answered from now on."""
        self._ready = self._clock()

    def model_loaded(self) -> None:
        """A model has come into memory. Only those that the first answer waits for count."""
        if not self._measured:
            self._loaded = self._clock()

    def measure(self, since: datetime | None, arrived: float) -> Phases | None:
        """The phases, for the process's first answer only, and only when it had to be started for it."""
        with self._lock:
            if self._measured:
                return None
            found = self._phases(since, arrived)
            self._measured = True
            return found

    def tell(self, function: str, since: datetime, index: int = 0) -> ColdStart | None:
        """The same for a run's readers: the first of its deliveries that had to wait for this process."""
        with self._lock:
            found = None if self._told else self._phases(since)
            if found is None:
                return None
            self._told = True
        from auricle.runs.model import ColdStart  # processes without rooms have a telemetry too

        at = datetime.fromtimestamp(found.since, UTC)
        return ColdStart(function=function, at=at, index=index, **found.seconds)

    def _phases(self, since: datetime | None, arrived: float | None = None) -> Phases | None:
        if self._known is None:
            self._known = self._birth()
        begin = since.timestamp() if since is not None else None
        return phases(self._known, begin, self._ready, self._loaded, self._clock(), arrived)


in_pod = False
"""Whether this process is a pod's; `begin` says so before anything is measured."""
process = ColdStarts(lambda: birth_of_process(in_pod))
"""This process's."""


def begin(pod: bool) -> None:
    """Called once everything is imported; `pod`: this is a container that Kubernetes started."""
    global in_pod
    in_pod = pod
    process.ready()


def timed_loading(load: Callable[..., Loaded], done: Callable[[str, float], None]) -> Callable[..., Loaded]:
    """`load`, a model pool's loader, that also tells when a model is in memory: `done(name, seconds)`."""

    def loading(model: Any, *more: Any) -> Loaded:
        began = time.monotonic()
        loaded = load(model, *more)
        process.model_loaded()
        done(model.name, time.monotonic() - began)
        return loaded

    return loading


def _written(path: str) -> float | None:
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return None


def _started(pid: int) -> float:
    """When a process started. Elsewhere than on Linux: when this module was imported."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return _MADE_AT


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_uint32), ("padding", ctypes.c_int32))


class _Statx(ctypes.Structure):
    """Linux's `struct statx` as far as the birth of a file; its size is fixed (statx(2))."""

    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("before", ctypes.c_uint8 * 60),
        ("accessed", _Moment),
        ("born", _Moment),
        ("after", ctypes.c_uint8 * 160),
    )


_AT_CWD = -100
_WANTS_BIRTH = 0x800


def _born(path: str) -> float | None:
    """When a file was made: what servers write to /tmp before us changes its other times. None: the file system forgets."""
    if sys.platform != "linux":
        return None
    try:
        statx = ctypes.CDLL(None, use_errno=True).statx
    except (OSError, AttributeError):
        return None
    found = _Statx()
    failed = statx(_AT_CWD, path.encode(), 0, _WANTS_BIRTH, ctypes.byref(found))
    if failed or not found.mask & _WANTS_BIRTH:
        return None
    return float(found.born.seconds + found.born.nanoseconds / 1e9)

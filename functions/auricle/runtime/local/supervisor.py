"""Keeping a few processes alive: started in order, started again when they die, stopped in reverse. Stays small itself.

Everything happens in one thread: it sleeps until a child ends or a signal comes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

from auricle.runtime.local.errors import CannotStart
from auricle.runtime.local.tether import ends_with_parent

log = logging.getLogger(__name__)

FIRST_WAIT = 0.2
LONGEST_WAIT = 10.0
"""Seconds before a child that died is started again: 0.2, 0.4 … 10."""
STEADY = 5.0
"""A child that lived this long starts with the shortest wait again: whatever killed it, it was not its start."""
FIRST_TRIES = 5
"""Starts of a child that never became ready, before the host gives up and says why."""
MAX_LOG = 16 * 2**20
"""Bytes of a log before it is moved to `.1`; so one log takes twice that at most."""
LOOK_AT_LOGS = 60.0

Process = subprocess.Popen[bytes]


class Stopped(Exception):
    """Somebody asked the host to stop."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process to keep alive. `spawn` writes to the log it is given."""

    name: str
    spawn: Callable[[IO[bytes]], Process]
    ready: Callable[[Process], bool]
    ending: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 1.5),)
    """Signals that ask it to end, and the seconds that each is given. Then it is killed."""


@dataclass(slots=True)
class _Kept:
    """A child and how it fares."""

    child: Child
    process: Process | None = None
    since: float = 0.0
    restarts: int = 0
    wait: float = FIRST_WAIT
    due: float = field(default=0.0)


def program(
    name: str,
    command: Sequence[str],
    env: Mapping[str, str],
    ready: Callable[[], bool],
    *,
    patience: float = 1.5,
    fds: Sequence[int] = (),
) -> Child:
    """A child that is a program of ours: ends on SIGTERM, and with this process. `fds` are handed down to it."""

    def spawn(output: IO[bytes]) -> Process:
        return subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=tuple(fds),
            start_new_session=True,  # Ctrl-C reaches the supervisor alone: it stops its children in order
            preexec_fn=ends_with_parent(signal.SIGTERM),
        )

    return Child(name, spawn, lambda process: ready(), ((signal.SIGTERM, patience),))


class Supervisor:
    """The parent of the host's processes. Use within `with`: leaving stops them all, in reverse order."""

    def __init__(self, logs: Path, changed: Callable[[Supervisor], None] = lambda supervisor: None) -> None:
        """`logs` gets a file per child; `changed` is told whenever a process came or went."""
        self._logs = logs
        self._changed = changed
        self._kept: list[_Kept] = []
        self._asked = 0
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()
        self._before: dict[int, Any] = {}
        self._next_look = time.monotonic() + LOOK_AT_LOGS

    def __enter__(self) -> Supervisor:
        """Take over the signals."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._ask)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop everything and give the signals back."""
        self.stop()
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for end in self._wake:
            os.close(end)

    @property
    def processes(self) -> list[tuple[str, int, float, int]]:
        """Name, process id, start (Unix time), restarts: of those that live."""
        return [(k.child.name, k.process.pid, k.since, k.restarts) for k in self._kept if k.process is not None]

    def start(self, child: Child) -> None:
        """Start `child` and wait until it is ready, however long it lives; `CannotStart` when it keeps dying."""
        kept = _Kept(child)
        self._kept.append(kept)
        self._spawn(kept)
        while not (kept.process is not None and child.ready(kept.process)):
            if kept.restarts >= FIRST_TRIES:
                raise CannotStart(
                    f"The {child.name} does not start: {self._last_words(child.name)} See {self._log_of(child.name)}."
                )
            self._pause(0.02)

    def run(self, name: str, command: Sequence[str], env: Mapping[str, str], given: bytes = b"") -> bytes:
        """Run a program to its end and return what it wrote to standard output; `given` is its input (less than 64 KiB)."""
        with self._open_log(name) as output:
            process = subprocess.Popen(
                command,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
                preexec_fn=ends_with_parent(signal.SIGTERM),
            )
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(given)
            process.stdin.close()
        try:
            said = self._read(process.stdout)
            while process.poll() is None:
                self._pause(0.02)
        except Stopped:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()
        if process.returncode:
            raise CannotStart(f"The step {name} failed: {self._last_words(name)} See {self._log_of(name)}.")
        return said

    def watch(self) -> None:
        """Keep everything alive until somebody asks to stop."""
        with contextlib.suppress(Stopped):
            while True:
                self._pause(self._until_next())
                if time.monotonic() >= self._next_look:
                    self._next_look = time.monotonic() + LOOK_AT_LOGS
                    self._turn_logs()

    def stop(self, seconds: float = 4.7) -> None:
        """End all children, the last one first. Whoever needs longer than its patience, or than all have, is killed."""
        deadline = time.monotonic() + seconds
        for kept in reversed(self._kept):
            if kept.process is not None and kept.process.poll() is None:
                for number, patience in kept.child.ending:
                    kept.process.send_signal(number)
                    self._await_end(kept.process, min(time.monotonic() + patience, deadline))
            if kept.process is not None:
                _kill_group(kept.process)
                kept.process.wait()
                kept.process = None
        self._kept.clear()

    def _await_end(self, process: Process, until: float) -> None:
        """Wait for the end of `process`; a second Ctrl-C ends the patience."""
        asked = self._asked
        while process.poll() is None and time.monotonic() < until and self._asked < asked + 1:
            select.select([self._wake[0]], [], [], 0.05)
            self._drain()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked += 1

    def _pause(self, seconds: float) -> None:
        """Sleep until something happens, see to the children; raises `Stopped`."""
        if not self._asked:
            select.select([self._wake[0]], [], [], seconds)
        self._drain()
        if self._asked:
            raise Stopped
        self._see_to_children()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake[0], 512):
                pass

    def _read(self, stream: IO[bytes]) -> bytes:
        """All of `stream`, seeing to the children meanwhile."""
        os.set_blocking(stream.fileno(), False)
        parts: list[bytes] = []
        while True:
            try:
                part = os.read(stream.fileno(), 65536)
            except BlockingIOError:
                self._pause(0.02)
                continue
            if not part:
                return b"".join(parts)
            parts.append(part)

    def _see_to_children(self) -> None:
        now = time.monotonic()
        for kept in self._kept:
            if kept.process is not None and kept.process.poll() is not None:
                self._bury(kept, now)
            if kept.process is None and now >= kept.due:
                kept.restarts += 1
                self._spawn(kept)

    def _bury(self, kept: _Kept, now: float) -> None:
        assert kept.process is not None
        how = _how_it_ended(kept.process.returncode)
        _kill_group(kept.process)  # what it had started dies with it, so that its successor finds nothing in its way
        if time.time() - kept.since > STEADY:
            kept.wait = FIRST_WAIT
        wait, kept.wait = kept.wait, min(kept.wait * 2, LONGEST_WAIT)
        why = "" if kept.process.returncode == -signal.SIGKILL else f": {self._last_words(kept.child.name)}"  # it had no say
        log.warning("the %s %s; started again in %.1f s%s", kept.child.name, how, wait, why)
        kept.process = None
        kept.due = now + wait
        self._changed(self)

    def _spawn(self, kept: _Kept) -> None:
        with self._open_log(kept.child.name) as output:
            try:
                kept.process = kept.child.spawn(output)
            except OSError as error:  # out of memory or processes: tried again
                log.warning("the %s could not be started: %s", kept.child.name, error)
                kept.due = time.monotonic() + LONGEST_WAIT
                return
        kept.since = time.time()
        self._changed(self)

    def _until_next(self) -> float:
        """Seconds until something is due."""
        now = time.monotonic()
        due = [k.due for k in self._kept if k.process is None]
        return max(0.0, min([self._next_look, *due]) - now)

    def _log_of(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _open_log(self, name: str) -> IO[bytes]:
        return self._log_of(name).open("ab")

    def _last_words(self, name: str) -> str:
        """The last line of a child's log that says something."""
        try:
            with self._log_of(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
                lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
        except OSError:
            return "nothing is known."
        said = _message(next((line for line in reversed(lines) if line), "it said nothing."))
        return said[:500] if said.endswith(".") else f"{said[:500]}."

    def _turn_logs(self) -> None:
        """Keep logs bounded. Children append, so their file can be emptied under them."""
        for path in self._logs.glob("*.log"):
            if path.stat().st_size > MAX_LOG:
                path.with_suffix(".log.1").write_bytes(path.read_bytes()[-MAX_LOG:])
                os.truncate(path, 0)


def _message(line: str) -> str:
    """What a log's line says to people: our own programs write JSON."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, KeyError, TypeError):
        return line


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with status {code}"


def _kill_group(process: Process) -> None:
    """Kill what is left of the process and of those it started (each child leads a group of its own)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _pipe() -> tuple[int, int]:
    """`pipe2` where there is none (macOS)."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends

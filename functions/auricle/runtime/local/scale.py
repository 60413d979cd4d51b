"""What `Scale` costs on a laptop: the overlay of the embedded host. Numbers stand here and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from auricle.contract.choices import Scale


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the numbers depend on."""

    cores: int
    speech_workers: int = 0
    """`AURICLE_SPEECH_WORKERS`: transcribing processes; 0 leaves it to the table."""
    accelerator: bool = False


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """How one function (or pool of them) runs here."""

    max_workers: int = 1
    concurrency: int = 1
    compute_threads: int = 0
    """CPU threads of the models in one worker; 0: not a model's worker."""
    idle_seconds: float = 60.0
    """A minute of quiet, then the memory belongs to the person again (issue: scale to zero after 60 s)."""

    @property
    def threads(self) -> int:
        """Of the web server: its work, and four for the probes that share them."""
        return self.concurrency + 4


API_CONCURRENCY = 8
"""Events that the one API process handles at once: they wait for the database, not for the processor."""
API_THREADS = 32
"""8 for events, 16 for listeners (each open page holds one for its live progress), 8 for people."""
API_POOL = 10
"""Connections of the API process: 8 events, and a person never waits behind them."""

_TABLE: dict[Scale, Numbers] = {
    # With --isolate every function is a process of its own; one is enough for one person.
    Scale.INTERACTIVE: Numbers(concurrency=8),
    Scale.STREAM: Numbers(concurrency=32),  # each listener holds a thread
    Scale.BURST: Numbers(concurrency=8),  # rows, not computation
    Scale.TIMER: Numbers(),
    # Decoding fills a core and streams: a second file waits, so that speech gets its turn.
    Scale.BATCH: Numbers(),
}


def numbers(scale: Scale, function: str, machine: Machine) -> Numbers:
    """The numbers of `function`, which declares `scale`."""
    if scale is not Scale.GPU:
        return _TABLE[scale]
    return _transcribing(machine) if function == "transcribe" else _listening(machine)


def _transcribing(machine: Machine) -> Numbers:
    """Two processes with half the cores each: one process does not keep more than a few cores busy, two models still fit."""
    if machine.speech_workers:
        workers = machine.speech_workers
    elif machine.accelerator:
        workers = 1  # one process per device: two would load the model twice
    else:
        workers = 2 if machine.cores >= 2 else 1
    return Numbers(max_workers=workers, compute_threads=max(1, machine.cores // workers))


def _listening(machine: Machine) -> Numbers:
    """Voices are found several times faster than words: half the cores keep up, and words come first."""
    return Numbers(compute_threads=max(1, machine.cores // 2))


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, within the quota of its container."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(bound, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or no quota (`max`)
        return bound


def accelerator_present() -> bool:
    """Whether an NVIDIA device is in this machine. Looking at its device file loads no library."""
    return Path("/dev/nvidiactl").exists()

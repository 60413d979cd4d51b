"""Warm models: each is loaded once per process, shared by all who need it, and leaves when others need its memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from auricle.errors import Invalid, Permanent, Retryable
from auricle.ports.media import Clip
from auricle.ports.speech import (
    Diarizer,
    Samples,
    Span,
    SpeakerHints,
    Transcriber,
    Transcription,
    TranscriptionOptions,
    Voices,
)
from auricle_gpu.batching import ShrinkingBatches, give_back_memory, is_out_of_memory
from auricle_gpu.budget import Device, chosen, memory_budget
from auricle_gpu.models import Kind, Model, require_verified, resolve

PATIENCE = 600.0
"""Seconds that a caller waits for memory that others are using before it is told to come back."""


class SpeechSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the pool is told by whoever starts it."""

    models_dir: Path | None = None
    """Folder of pulled models; None: only the demo models."""
    device: Device = Device.AUTO
    threads: int = 0
    """CPU threads per model; 0: all cores."""
    memory_budget_bytes: int | None = None
    """Device memory for warm models; None: a share of what is free."""
    pinned: str = ""
    """The only model that this process serves; empty: any."""
    verified_only: bool = False
    """Refuse folders that nobody verified (no `.ok`)."""
    digests: bool = False
    """Verifying a model before its first use reads every byte, instead of comparing sizes."""


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model is loaded to."""

    device: Device
    threads: int


Loader = Callable[[Model, Placement], Any]


class _Slot:
    """One model, warm or on its way; `users` hold it, `used` orders the idle ones."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.warm: Any = None
        self.users = 1
        self.used = 0


class Pool:
    """The process's warm models within one device's memory. Safe to share between threads."""

    def __init__(self, settings: SpeechSettings, load: Loader | None = None, patience: float = PATIENCE) -> None:
        """Touches no device and loads nothing yet. `load` makes an adapter out of a model."""
        self._settings = settings
        self._load = load or load_adapter
        self._patience = patience
        self._changed = threading.Condition()
        self._slots: dict[str, _Slot] = {}
        self._clock = 0
        self._place: tuple[Placement, int] | None = None

    def transcriber(self, name: str) -> Transcriber:
        """A `Transcriber` over the model `name`, loaded when it is first used. `NotFound` or `Invalid` right away."""
        return _PooledTranscriber(self, self._resolved(name, (Kind.WHISPER,), "words"))

    def diarizer(self, name: str) -> Diarizer:
        """A `Diarizer` over the model `name`, loaded when it is first used. `NotFound` or `Invalid` right away."""
        return _PooledDiarizer(self, self._resolved(name, (Kind.VOICES, Kind.PYANNOTE), "voices"))

    def warm_up(self, names: Sequence[str]) -> None:
        """Load these models now, so that the first piece of work does not wait. Raises what is wrong with them."""
        for name in names:
            with self.lease(self._found(name)):
                pass

    def warm(self) -> tuple[str, ...]:
        """Names of the models in memory, longest unused first."""
        with self._changed:
            return tuple(s.model.name for s in sorted(self._slots.values(), key=lambda s: s.used) if s.warm is not None)

    def close(self) -> None:
        """Forget the idle models."""
        with self._changed:
            self._evict(everything=True)

    @contextmanager
    def lease(self, model: Model) -> Iterator[Any]:
        """The warm adapter of `model`, which stays as long as the context lasts.

        Raises `Permanent` when the model can never fit, `Retryable` when memory stays taken or runs out.
        """
        slot = self._acquire(model)
        try:
            yield slot.warm
        finally:
            with self._changed:
                slot.users -= 1
                self._changed.notify_all()

    def _acquire(self, model: Model) -> _Slot:
        placement, budget = self._placed()
        if model.memory_bytes > budget:
            raise Permanent(
                f"The model {model.name} takes {_megabytes(model.memory_bytes)} and the {placement.device} may give "
                f"{_megabytes(budget)}: choose a smaller model or raise SPEECH_MEMORY_BYTES."
            )
        deadline = time.monotonic() + self._patience
        with self._changed:
            while True:
                slot = self._slots.get(model.name)
                if slot is not None and slot.warm is not None:
                    slot.users += 1
                    return self._touched(slot)
                if slot is None and self._make_room(model.memory_bytes, budget):
                    slot = self._slots[model.name] = _Slot(model)
                    break
                if not self._changed.wait(deadline - time.monotonic()):
                    raise Retryable(f"The {placement.device} is busy with other models: try again later.", delay=30.0)
        return self._loaded(slot, placement)

    def _loaded(self, slot: _Slot, placement: Placement) -> _Slot:
        """Load outside the lock: others go on working meanwhile, and those who want the same model wait for it."""
        try:
            warm = self._load_with_room(slot.model, placement)
        except BaseException:
            with self._changed:
                del self._slots[slot.model.name]
                self._changed.notify_all()
            raise
        with self._changed:
            slot.warm = warm
            self._changed.notify_all()
            return self._touched(slot)

    def _load_with_room(self, model: Model, placement: Placement) -> Any:
        """The adapter; when the device is fuller than the budget thinks, once more with every idle model gone."""
        for last in (False, True):
            try:
                return self._load(model, placement)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if last:
                    raise Retryable(
                        f"The {placement.device} has no memory left for the model {model.name}: it will be tried again.",
                        delay=30.0,
                    ) from error
            with self._changed:
                self._evict(everything=True)
            give_back_memory()
        raise AssertionError("unreachable")

    def _make_room(self, needed: int, budget: int) -> bool:
        """Evict idle models, longest unused first, until `needed` bytes are free; False when users hold too much."""
        while sum(slot.model.memory_bytes for slot in self._slots.values()) + needed > budget:
            if not self._evict():
                return False
        return True

    def _evict(self, everything: bool = False) -> bool:
        """Forget the longest unused idle model, or all idle ones; says whether there was any."""
        idle = sorted((s for s in self._slots.values() if s.users == 0 and s.warm is not None), key=lambda s: s.used)
        for slot in idle if everything else idle[:1]:
            del self._slots[slot.model.name]
            slot.warm = None
        if idle:
            give_back_memory()
            self._changed.notify_all()
        return bool(idle)

    def _touched(self, slot: _Slot) -> _Slot:
        self._clock += 1
        slot.used = self._clock
        return slot

    def _placed(self) -> tuple[Placement, int]:
        """Device and budget, found out once, when the first model is needed."""
        with self._changed:
            if self._place is None:
                device = chosen(self._settings.device)
                threads = self._settings.threads or _cores()
                budget = memory_budget(device, self._settings.memory_budget_bytes)
                self._place = Placement(device=device, threads=threads), budget
            return self._place

    def _resolved(self, name: str, kinds: tuple[Kind, ...], what: str) -> Model:
        if self._settings.pinned and name != self._settings.pinned:
            raise Invalid(
                f"This function serves the model {self._settings.pinned} and was sent work for {name}: "
                f"its Trigger must filter on model: {self._settings.pinned}."
            )
        model = self._found(name)
        if model.kind not in kinds:
            raise Invalid(f"The model {name} does not hear {what}: choose one of kind {' or '.join(kinds)}.")
        return model

    def _found(self, name: str) -> Model:
        """The model's folder, looked at as strictly as this deployment wants."""
        if self._settings.verified_only:
            return require_verified(name, self._settings.models_dir, digests=self._settings.digests)
        return resolve(name, self._settings.models_dir)


class _PooledTranscriber:
    def __init__(self, pool: Pool, model: Model) -> None:
        self._pool = pool
        self._model = model

    def transcribe(
        self,
        audio: Samples,
        offset: float,
        clips: Sequence[Clip],
        options: TranscriptionOptions,
        progress: Callable[[float], None],
    ) -> Transcription:
        with self._pool.lease(self._model) as warm:
            result: Transcription = warm.transcribe(audio, offset, clips, options, progress)
            return result


class _PooledDiarizer:
    def __init__(self, pool: Pool, model: Model) -> None:
        self._pool = pool
        self._model = model

    def listen(self, audio: Samples, span: Span, clips: Sequence[Clip], progress: Callable[[float], None]) -> bytes:
        with self._pool.lease(self._model) as warm:
            evidence: bytes = warm.listen(audio, span, clips, progress)
            return evidence

    def cluster(self, evidence: Sequence[bytes], hints: SpeakerHints) -> Voices:
        with self._pool.lease(self._model) as warm:
            voices: Voices = warm.cluster(evidence, hints)
            return voices


def load_adapter(model: Model, placement: Placement) -> Any:
    """The adapter of the model's kind with its weights on the device. Imports only what that kind needs."""
    device, run = placement.device.value, model.run
    batch = run.batch.cuda if placement.device is Device.CUDA else run.batch.cpu
    if model.kind is Kind.WHISPER:
        from auricle.adapters.speech.faster_whisper import FasterWhisper

        return FasterWhisper(
            model.path,
            device=device,
            compute_type=run.compute_type.cuda if placement.device is Device.CUDA else run.compute_type.cpu,
            threads=placement.threads,
            decoding=run.decoding,
            batches=ShrinkingBatches(batch),
        )
    if model.kind is Kind.VOICES:
        from auricle.adapters.speech.onnx_voices import OnnxVoices

        return OnnxVoices(model.path, device=device, threads=placement.threads, rules=run.rules)
    try:
        from auricle.adapters.speech.pyannote import PyannoteVoices

        return PyannoteVoices(
            model.path,
            device=device,
            threads=placement.threads,
            segmentation_batches=ShrinkingBatches(batch),
            embedding_batches=ShrinkingBatches(batch),
        )
    except ModuleNotFoundError as error:
        raise Permanent(
            f"The voice model {model.name} needs {error.name}, which is not installed: "
            "install Auricle with its gpu extra, or choose voices-demo."
        ) from error


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _megabytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MB"

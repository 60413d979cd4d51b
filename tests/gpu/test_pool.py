"""Warm models: loaded once, shared, and gone when others need the memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest

from auricle.errors import Invalid, NotFound, Permanent, Retryable
from auricle.ports.media import Clip
from auricle.ports.speech import TranscriptionOptions
from auricle_gpu.budget import Device
from auricle_gpu.models import Kind, Model, Run
from auricle_gpu.pool import Placement, Pool, SpeechSettings

MB = 2**20


def model(name: str, megabytes: int = 40) -> Model:
    return Model(name=name, kind=Kind.WHISPER, path=Path(name), memory_bytes=megabytes * MB, run=Run())


class Shelf:
    """A loader that counts, and fails when told to."""

    def __init__(self, errors: Sequence[Exception] = ()) -> None:
        self.loaded: list[str] = []
        self.placements: list[Placement] = []
        self.errors = list(errors)
        self.gate: threading.Event | None = None

    def __call__(self, wanted: Model, placement: Placement) -> object:
        if self.gate:
            self.gate.wait(10)
        if self.errors:
            raise self.errors.pop(0)
        self.loaded.append(wanted.name)
        self.placements.append(placement)
        return f"warm {wanted.name}"


def pool_of(shelf: Shelf, megabytes: int = 100, patience: float = 10.0) -> Pool:
    return Pool(SpeechSettings(device=Device.CPU, memory_budget_bytes=megabytes * MB), shelf, patience)


def use(pool: Pool, *models: Model) -> None:
    for wanted in models:
        with pool.lease(wanted):
            pass


def test_a_model_is_loaded_once_for_everybody() -> None:
    shelf = Shelf()
    shelf.gate = threading.Event()
    pool = pool_of(shelf)

    def lease(_: int) -> object:
        with pool.lease(model("a")) as warm:
            return warm

    with ThreadPoolExecutor(8) as threads:
        leases = [threads.submit(lease, n) for n in range(8)]
        shelf.gate.set()
        assert {found.result(10) for found in leases} == {"warm a"}
    assert shelf.loaded == ["a"]


def test_nothing_is_loaded_before_it_is_needed() -> None:
    shelf = Shelf()
    pool = Pool(SpeechSettings(), shelf)
    pool.transcriber("whisper-demo")
    pool.diarizer("voices-demo")
    assert shelf.loaded == []
    assert pool.warm() == ()


def test_the_longest_unused_model_leaves_first() -> None:
    shelf = Shelf()
    pool = pool_of(shelf)
    use(pool, model("a"), model("b"), model("a"), model("c"))
    assert pool.warm() == ("a", "c")
    assert shelf.loaded == ["a", "b", "c"]


def test_a_model_in_use_stays() -> None:
    shelf = Shelf()
    pool = pool_of(shelf)
    with pool.lease(model("a")):
        use(pool, model("b"), model("c"))
        assert pool.warm() == ("a", "c")


def test_who_needs_memory_that_others_use_waits_for_it() -> None:
    shelf = Shelf()
    pool = pool_of(shelf)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with pool.lease(model("big", 80)):
            entered.set()
            leave.wait(10)

    with ThreadPoolExecutor(2) as threads:
        holder = threads.submit(hold)
        assert entered.wait(10)
        waiter = threads.submit(use, pool, model("other", 80))
        assert shelf.loaded == ["big"]
        leave.set()
        holder.result(10)
        waiter.result(10)
    assert shelf.loaded == ["big", "other"]
    assert pool.warm() == ("other",)


def test_who_waits_too_long_is_told_to_come_back() -> None:
    pool = pool_of(Shelf(), patience=0.05)
    with pool.lease(model("big", 80)), pytest.raises(Retryable, match="busy with other models"):
        use(pool, model("other", 80))


def test_a_model_that_can_never_fit_is_refused_in_words() -> None:
    with pytest.raises(Permanent, match="takes 400 MB and the cpu may give 100 MB"):
        use(pool_of(Shelf()), model("huge", 400))


def test_a_load_that_runs_out_of_memory_is_tried_once_more_without_the_idle_models() -> None:
    shelf = Shelf()
    pool = pool_of(shelf)
    use(pool, model("a"))
    shelf.errors = [RuntimeError("CUDA failed with error out of memory")]
    use(pool, model("b"))
    assert pool.warm() == ("b",)


def test_a_device_that_stays_full_is_no_fault_of_the_work() -> None:
    shelf = Shelf([MemoryError(), MemoryError()])
    pool = pool_of(shelf)
    with pytest.raises(Retryable, match="no memory left"):
        use(pool, model("a"))
    use(pool, model("a"))
    assert pool.warm() == ("a",)


def test_a_failed_load_leaves_nothing_behind() -> None:
    shelf = Shelf([ValueError("broken weights")])
    pool = pool_of(shelf)
    with pytest.raises(ValueError, match="broken weights"):
        use(pool, model("a", 90))
    use(pool, model("b", 90))
    assert pool.warm() == ("b",)


def test_an_error_in_the_work_gives_the_lease_back() -> None:
    pool = pool_of(Shelf())
    with pytest.raises(KeyError), pool.lease(model("a", 90)):
        raise KeyError("work")
    use(pool, model("b", 90))
    assert pool.warm() == ("b",)


def test_closing_forgets_idle_models() -> None:
    pool = pool_of(Shelf())
    use(pool, model("a"), model("b"))
    pool.close()
    assert pool.warm() == ()


def test_names_are_checked_when_they_are_asked_for() -> None:
    pool = Pool(SpeechSettings(), Shelf())
    with pytest.raises(NotFound, match="There is no speech model"):
        pool.transcriber("nothing-like-it")
    with pytest.raises(Invalid, match="does not hear words"):
        pool.transcriber("voices-demo")
    with pytest.raises(Invalid, match="does not hear voices"):
        pool.diarizer("whisper-demo")


def test_models_are_told_their_device_and_threads() -> None:
    shelf = Shelf()
    pool = Pool(SpeechSettings(device=Device.CPU, threads=3), shelf)
    use(pool, model("a"))
    assert shelf.placements == [Placement(device=Device.CPU, threads=3)]


def test_pooled_models_do_real_work() -> None:
    pool = Pool(SpeechSettings(device=Device.CPU, threads=1))
    pool.warm_up(["whisper-demo"])
    assert pool.warm() == ("whisper-demo",)
    silence = numpy.zeros(16_000, numpy.float32)
    heard = pool.transcriber("whisper-demo").transcribe(silence, 0.0, [Clip(5.0, 6.0)], TranscriptionOptions(), lambda _: None)
    assert heard.passages == ()

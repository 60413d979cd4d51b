"""Running out of memory, and knowing how much there is."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from auricle.errors import Permanent, Retryable
from auricle_gpu import budget
from auricle_gpu.batching import ShrinkingBatches, is_out_of_memory
from auricle_gpu.budget import Device, chosen, memory_budget


class OutOfMemoryError(RuntimeError):
    """torch's has this name."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("std::bad_alloc"),
        OutOfMemoryError("Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_libraries_are_understood_when_they_run_out_of_memory(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), ValueError("out of memory"), OSError(2, "No such file")])
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA failed with error out of memory")])
def test_batches_are_halved_until_they_fit_and_stay_small(error: Exception) -> None:
    tried: list[int] = []

    def work(size: int) -> int:
        tried.append(size)
        if size > 3:
            raise error
        return size

    batches = ShrinkingBatches(16)
    assert batches.attempt(work) == 2
    assert batches.attempt(work) == 2
    assert tried == [16, 8, 4, 2, 2]


def test_one_piece_that_does_not_fit_is_tried_again_later() -> None:
    def work(_: int) -> int:
        raise MemoryError

    with pytest.raises(Retryable, match="out of memory even for one piece"):
        ShrinkingBatches(4).attempt(work)


def test_errors_of_the_work_itself_pass_through() -> None:
    def work(_: int) -> int:
        raise ValueError("no such clip")

    batches = ShrinkingBatches(4)
    with pytest.raises(ValueError, match="no such clip"):
        batches.attempt(work)
    assert batches.size == 4


def test_cuda_is_chosen_when_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_cuda_devices", lambda: 1)
    assert chosen(Device.AUTO) is Device.CUDA
    assert chosen(Device.CPU) is Device.CPU


def test_cuda_that_is_not_there_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_cuda_devices", lambda: 0)
    assert chosen(Device.AUTO) is Device.CPU
    with pytest.raises(Permanent, match="SPEECH_DEVICE"):
        chosen(Device.CUDA)


def test_a_wished_budget_is_kept() -> None:
    assert memory_budget(Device.CPU, 123) == 123


def test_the_budget_is_a_share_of_what_is_free() -> None:
    assert 2**28 < memory_budget(Device.CPU, None) < 2**45


def test_a_container_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert budget._left_in_cgroup(tmp_path) == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert budget._left_in_cgroup(tmp_path) > 2**60


def test_available_memory_is_read_as_the_kernel_tells_it(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 2000 kB\nMemAvailable:    1500 kB\n")
    assert budget._available(tmp_path / "meminfo") == 1500 * 1024
    assert budget._available(tmp_path / "nothing") == budget.PLENTY


class Nvml:
    """NVIDIA's management library, as far as it is asked."""

    def __init__(self, status: int) -> None:
        self.status = status

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return self.status

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: object) -> int:  # noqa: N802
        return self.status

    def nvmlDeviceGetMemoryInfo(self, handle: object, memory: object) -> int:  # noqa: N802
        ctypes.cast(memory, ctypes.POINTER(budget._NvmlMemory)).contents.free = 5_000_000_000  # type: ignore[arg-type]
        return self.status


def test_the_driver_tells_how_much_of_the_gpu_is_free() -> None:
    assert budget._free_by_nvml(Nvml(status=0)) == 5_000_000_000
    assert budget._free_by_nvml(Nvml(status=999)) == budget.PLENTY

"""Which device speech models run on, and how much of its memory they may take."""

from __future__ import annotations

import ctypes
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

from auricle.errors import Permanent

SHARE = {"cpu": 0.5, "cuda": 0.9}
"""Of the memory that is free at start: laptops have other things to do, a pool's device has not."""
PLENTY = 8 * 2**30
"""Bytes assumed free where the system does not tell."""


class Device(StrEnum):
    """Where models run."""

    AUTO = "auto"  # cuda when there is one
    CPU = "cpu"
    CUDA = "cuda"


def chosen(device: Device) -> Device:
    """CPU or CUDA; raises `Permanent` when CUDA is asked for and there is none."""
    if device is Device.CPU:
        return device
    if _cuda_devices() > 0:
        return Device.CUDA
    if device is Device.CUDA:
        raise Permanent("SPEECH_DEVICE is cuda, but no CUDA device is found: check the driver, or set it to auto or cpu.")
    return Device.CPU


def memory_budget(device: Device, wished: int | None) -> int:
    """Bytes of the device that warm models may take together: `wished`, else a share of what is free now."""
    if wished:
        return wished
    free = _free_cuda() if device is Device.CUDA else _free_ram()
    return int(free * SHARE[device.value])


def _cuda_devices() -> int:
    import ctranslate2

    return int(ctranslate2.get_cuda_device_count())


def _free_cuda() -> int:
    """Free bytes of the first CUDA device, from torch when it is loaded, else from the driver's management library."""
    if "torch" in sys.modules:
        free, _ = sys.modules["torch"].cuda.mem_get_info()
        return int(free)
    try:
        return _free_by_nvml(ctypes.CDLL("libnvidia-ml.so.1"))
    except OSError:
        return PLENTY


class _NvmlMemory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def _free_by_nvml(nvml: Any) -> int:
    handle, memory = ctypes.c_void_p(), _NvmlMemory()
    told = (
        nvml.nvmlInit_v2() == 0
        and nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)) == 0
        and nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0
    )
    return int(memory.free) if told else PLENTY


def _free_ram() -> int:
    """What the machine and the container both still have, in bytes."""
    return min(_available(Path("/proc/meminfo")), _left_in_cgroup(Path("/sys/fs/cgroup")))


def _available(meminfo: Path) -> int:
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    return PLENTY


def _left_in_cgroup(folder: Path) -> int:
    """Bytes up to the container's limit (cgroup v2)."""
    try:
        most = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except OSError:
        return sys.maxsize
    return sys.maxsize if most == "max" else max(0, int(most) - used)

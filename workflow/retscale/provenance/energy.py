"""The energy that GPUs have used, by the counters of NVIDIA's driver (NVML)."""

import ctypes
import os
from functools import cache

UINT64 = ctypes.c_ulonglong


def joules(count: int) -> float | None:
    """Of the first `count` GPUs that this process may use, since their driver was loaded.

    None without NVML, or if a GPU has no counter (before Volta, or a part of a GPU).
    """
    nvml = _nvml()
    if nvml is None:
        return None
    millijoules = [_millijoules(nvml, name) for name in visible()[:count]]
    return None if None in millijoules or len(millijoules) < count else sum(filter(None, millijoules)) / 1000


def visible() -> list[str]:
    """Numbers or UUIDs of the GPUs that CUDA shows to this process; without a choice those of NVML, in its order."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    nvml, number = _nvml(), ctypes.c_uint()
    if nvml is None or nvml.nvmlDeviceGetCount_v2(ctypes.byref(number)):
        return []
    return [str(index) for index in range(number.value)]


@cache
def _nvml() -> ctypes.CDLL | None:
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return None if nvml.nvmlInit_v2() else nvml


def _millijoules(nvml: ctypes.CDLL, name: str) -> int | None:
    device, energy = ctypes.c_void_p(), UINT64()
    if name.isdigit():
        failed = nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(name)), ctypes.byref(device))
    else:
        failed = nvml.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(device))
    if failed or nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(energy)):
        return None
    return energy.value

"""What NVIDIA's driver says of the GPUs of this process (NVML): its version, and the energy that they have used."""

import ctypes
import os
from functools import cache

UINT64 = ctypes.c_ulonglong
VERSION_LENGTH = 80  # NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE


def joules() -> list[float | None]:
    """Of each GPU that this process may use, since the driver was loaded; none without NVML.

    None of a GPU without a counter (before Volta, or a part of a GPU).
    """
    nvml = _nvml()
    return [] if nvml is None else [_joules(nvml, name) for name in visible()]


def driver() -> str | None:
    """The version of the driver, None without one."""
    nvml, version = _nvml(), ctypes.create_string_buffer(VERSION_LENGTH)
    if nvml is None or nvml.nvmlSystemGetDriverVersion(version, ctypes.c_uint(VERSION_LENGTH)):
        return None
    return version.value.decode()


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


def _joules(nvml: ctypes.CDLL, name: str) -> float | None:
    device, millijoules = ctypes.c_void_p(), UINT64()
    if name.isdigit():
        failed = nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(name)), ctypes.byref(device))
    else:
        failed = nvml.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(device))
    if failed or nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(millijoules)):
        return None
    return millijoules.value / 1000

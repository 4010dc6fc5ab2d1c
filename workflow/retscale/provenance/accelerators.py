"""The accelerators that this process has computed on."""

import os
import sys

from typing_extensions import TypedDict


class Accelerator(TypedDict):
    """Its name, its memory, and the most that this process held of it."""

    name: str
    bytes: int
    peak_bytes: int


def used() -> list[int]:
    """The numbers of those that held something, as torch counts them: it is asked only where the job has imported it.

    Of several processes on a machine each has one of its own, and the first stands for all.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return []
    there = range(torch.cuda.device_count())
    if processes_here() > 1:
        return list(there[: processes_here()])
    return [index for index in there if torch.cuda.max_memory_allocated(index)]


def described() -> list[Accelerator]:
    """Those in `used`."""
    described: list[Accelerator] = []
    for index in used():
        cuda = sys.modules["torch"].cuda
        device, peak = cuda.get_device_properties(index), cuda.max_memory_allocated(index)
        described.append({"name": device.name, "bytes": device.total_memory, "peak_bytes": peak})
    return described


def processes_here() -> int:
    """The processes of this job on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))

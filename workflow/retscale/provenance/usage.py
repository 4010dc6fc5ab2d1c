"""What a job has used: time, processors, memory, GPUs and their energy."""

import os
import resource
import sys
import time
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from retscale.provenance import energy

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Usage(TypedDict):
    """`cpu_seconds` and `peak_bytes` are those of the job's first process and of the ended processes that it started.

    `peak_bytes` is the largest of them, since its start. `joules` are those of the GPUs, None if that is not known.
    """

    seconds: Amount
    cpu_seconds: Amount
    peak_bytes: Amount
    gpus: Amount
    joules: Amount | None


class Meter:
    """Measures what this process uses from now on; of several processes of a job the first one measures."""

    def __init__(self):
        self.started = time.time()
        self._clock, self._cpu = time.monotonic(), _cpu_seconds()
        self._joules = energy.joules(_processes_here())

    def read(self) -> Usage:
        gpus = int(os.environ.get("WORLD_SIZE", 1)) if _uses_gpu() else 0
        joules = energy.joules(gpus) if gpus == _processes_here() else None  # no counter shows those of other nodes
        return {
            "seconds": round(time.monotonic() - self._clock, 3),
            "cpu_seconds": round(_cpu_seconds() - self._cpu, 3),
            "peak_bytes": 1024 * max(resource.getrusage(who).ru_maxrss for who in _MEASURED),
            "gpus": gpus,
            "joules": None if joules is None or self._joules is None else round(joules - self._joules, 3),
        }


_MEASURED = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


def _processes_here() -> int:
    """Each has a GPU of its own, if it has one."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def _uses_gpu() -> bool:
    """Asked of torch only where the job has imported it."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()

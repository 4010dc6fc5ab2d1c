"""What a job has used: time, processors, memory, GPUs and their energy."""

import os
import resource
import time
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from retscale.provenance import accelerators, nvml

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
    """Measures what this process uses from now on; of several processes of a job the first one measures.

    Each of several processes has a GPU of its own; no counter shows those of other nodes.
    """

    def __init__(self):
        self.started = time.time()
        self._clock, self._cpu = time.monotonic(), _cpu_seconds()
        self._joules = nvml.joules()

    def read(self) -> Usage:
        here, processes = accelerators.used(), int(os.environ.get("WORLD_SIZE", 1))
        gpus = processes if here and processes > 1 else len(here)
        return {
            "seconds": round(time.monotonic() - self._clock, 3),
            "cpu_seconds": round(_cpu_seconds() - self._cpu, 3),
            "peak_bytes": 1024 * max(resource.getrusage(who).ru_maxrss for who in _MEASURED),
            "gpus": gpus,
            "joules": self._joules_since(here) if here and gpus == len(here) else None,
        }

    def _joules_since(self, gpus: list[int]) -> float | None:
        """Of these GPUs, None if one has no counter."""
        before, now = ([each[gpu] for gpu in gpus if gpu < len(each)] for each in (self._joules, nvml.joules()))
        if None in (*before, *now) or not len(before) == len(now) == len(gpus):
            return None
        return round(sum(map(float, now)) - sum(map(float, before)), 3)


_MEASURED = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def _cpu_seconds() -> float:
    return sum(os.times()[:4])

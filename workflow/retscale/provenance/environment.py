"""Where a job ran: the versions of its packages, the machine, and what the workflow and Slurm say of the job."""

import importlib.metadata
import os
import platform
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from retscale.common.machine import cores
from retscale.provenance import accelerators, nvml
from retscale.provenance.schema import Machine, Slurm

PACKAGES = [
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "peft",
    "datasets",
    "mteb",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "matplotlib",
    "seaborn",
    "numba",
    "snakemake",
]
ATTEMPT = "RETSCALE_ATTEMPT"  # set by workflow/rules/messages.smk


@cache
def versions() -> dict[str, str]:
    """The version of Python and of each package that results may depend on."""
    by_package = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            by_package[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            by_package[package] = "not installed"
    return by_package


def machine() -> Machine:
    """Host, processor and cores, and the accelerators that this process has used with their driver."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    devices = accelerators.described()
    return {
        "host": socket.gethostname(),
        "cpu": cpu,
        "cores": cores(),
        "system": platform.platform(),
        "accelerators": devices,
        "driver": nvml.driver() if devices else None,
    }


def slurm(environment: Mapping[str, str] = os.environ) -> Slurm | None:
    """The job of Slurm that this process is part of."""
    if not (job := environment.get("SLURM_JOB_ID")):
        return None
    restarts = environment.get("SLURM_RESTART_COUNT") or 0
    return {"job": job, "partition": environment.get("SLURM_JOB_PARTITION"), "restarts": int(restarts)}


def attempt(environment: Mapping[str, str] = os.environ) -> int | None:
    """Which attempt of Snakemake's job this is, from 1, since it last ended well; None outside of the workflow."""
    number = environment.get(ATTEMPT, "")
    return int(number) if number.isdecimal() else None


def threads(environment: Mapping[str, str] = os.environ) -> int:
    """How many threads this process was allotted: a model's own number stands in the spec."""
    number = environment.get("OMP_NUM_THREADS", "")
    return int(number) if number.isdecimal() else cores(environment)

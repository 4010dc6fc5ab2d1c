"""The accelerator that a job was given: torch must see it, or else a GPU's job would run on the CPU for days."""

import os
import re
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch

from retscale.common.environment import ALLOCATOR
from retscale.errors import UserError


def ready() -> None:
    """Let torch use the accelerator of this job; called before CUDA starts. UserError if one was given and none is seen."""
    for name, value in ALLOCATOR.items():
        os.environ.setdefault(name, value)
    node = any(Path("/dev").glob("nvidia[0-9]*"))
    if (source := given(os.environ, node, torch.version.cuda)) is None:
        return
    seen, reason = _seen()
    if not seen:
        raise UserError(refusal(source, driver(), torch.version.cuda, reason))


def given(environment: Mapping[str, str], device_node: bool, wheel_cuda: str | None) -> str | None:
    """What says that this job has a GPU; None: nothing does.

    CUDA_VISIBLE_DEVICES has the last word: empty, -1 or no device at its head means none. A device node alone says so
    only to a torch built for CUDA: whoever has installed one for CPUs on a machine with a GPU has not asked for it.
    """
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:  # CUDA reads up to the first name that is no device
        return f"CUDA_VISIBLE_DEVICES={chosen}" if re.match(r"\s*(\d|GPU-|MIG-)", chosen) else None
    if which := environment.get("SLURM_JOB_GPUS"):
        return f"SLURM_JOB_GPUS={which}"
    for name in ("SLURM_GPUS_ON_NODE", "SLURM_GPUS"):  # how many, perhaps after their type
        if environment.get(name, "").rpartition(":")[2] not in ("", "0"):
            return f"{name}={environment[name]}"
    return "a device node /dev/nvidia*" if device_node and wheel_cuda else None


def refusal(source: str, driver_version: str, wheel_cuda: str | None, reason: str) -> str:
    """What is said to a job whose GPU torch does not see."""
    wheel = f"torch {torch.__version__} is built for {f'CUDA {wheel_cuda}' if wheel_cuda else 'CPUs only'}"
    todo = (
        "update the driver, or install a torch for its CUDA"
        if wheel_cuda
        else "install a torch for CUDA (make .venv/study.ok TORCH=gpu)"
    )
    return (
        f"this job was given a GPU ({source}), but torch sees none{f' ({reason})' if reason else ''}: the driver is "
        f"{driver_version}, {wheel}; {todo}, or set CUDA_VISIBLE_DEVICES= (empty) to compute on the CPU"
    )


def driver(proc: Path = Path("/proc/driver/nvidia/version")) -> str:
    """The version of NVIDIA's driver, or that there is none."""
    try:
        if version := re.search(r"\b\d+\.\d+(\.\d+)*\b", proc.read_text().splitlines()[0]):
            return version[0]
    except (OSError, IndexError):
        pass
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return "not found"
    lines = answer.stdout.split()
    return lines[0] if answer.returncode == 0 and lines else "not found"


def _seen() -> tuple[bool, str]:
    """Whether torch sees a GPU, and if not, why by its own words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seen = torch.cuda.is_available()
    return seen, str(caught[0].message).partition(". ")[0].splitlines()[0] if caught else ""

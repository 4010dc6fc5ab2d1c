"""Where a job ran: the versions of its packages, and the machine."""

import importlib.metadata
import platform
import socket
from pathlib import Path

from retscale.common.machine import cores

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


def versions() -> dict[str, str]:
    """The version of Python and of each package that results may depend on."""
    by_package = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            by_package[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            by_package[package] = "not installed"
    return by_package


def machine() -> dict:
    """Host, processor and cores; the accelerator is in the notes of the stages that use one."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "host": socket.gethostname(),
        "cpu": cpu,
        "cores": cores(),
        "system": platform.platform(),
    }

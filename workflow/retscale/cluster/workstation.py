"""One machine without a scheduler: what it has, found when Snakemake starts, and how its jobs share it."""

from typing import TYPE_CHECKING

from retscale.cluster import gpus
from retscale.common import machine
from retscale.common.phrase import counted
from retscale.plan.sizes import catalog_sizes

if TYPE_CHECKING:
    from retscale.cluster.resources import Resources
    from retscale.cluster.site import Site

GB = 1e9
USABLE = 0.9  # of the memory; the rest is the system's
NO_LIMIT_HOURS = 10_000


def nodes() -> dict[str, dict]:
    """What a site file would say of this machine."""
    memory = machine.memory()
    shared = {"cores": machine.cores(), "memory_gb": round(USABLE * memory / GB, 1), "hours": NO_LIMIT_HOURS}
    if not (cards := gpus.here()):
        return {"cpu": shared}
    smallest = min(gpu.memory or memory for gpu in cards)
    kinds = [kind for kind in catalog_sizes()["gpus"] if kind.replace("-", " ") in cards[0].model.lower()]
    kind = {"kind": max(kinds, key=len)} if kinds else {}
    return {"cpu": shared, "gpu": {**shared, "gpus": len(cards), "gpu_memory_gb": round(smallest / GB, 1), **kind}}


def limits(site: "Site") -> dict[str, int]:
    """What all jobs that run at once may have together, by the names that resources.SNAKEMAKE gives it."""
    return {"gpu": site.gpu.gpus if site.gpu else 0, "mem_mb": int(1000 * site.cpu.memory_gb)}


def cores(site: "Site", given: "Resources") -> int:
    """Cores of a job: those of the GPUs are few enough that all GPUs work at once, and other jobs beside them."""
    if not (site.gpu and given.gpus):
        return given.cores
    return min(given.cores, given.gpus * max(1, site.gpu.cores // (site.gpu.gpus + 1)))


def describe(site: "Site") -> str:
    gpu = site.gpu
    of_gpus = f"{counted(gpu.gpus, 'GPU')} of {gpu.gpu_memory_gb:.0f} GB" if gpu else "no GPU, so jobs run on the CPU"
    return f"{counted(site.cpu.cores, 'core')}, {site.cpu.memory_gb:.0f} GB of memory, {of_gpus}"

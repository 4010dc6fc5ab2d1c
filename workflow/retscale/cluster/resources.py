"""What a job gets on a cluster. The rules, `retscale plan` and `retscale check` all ask here."""

import math
from dataclasses import dataclass
from operator import attrgetter

from retscale.cluster import launch
from retscale.cluster.needs import Needs
from retscale.cluster.site import GpuNodes, Nodes, Override, Site
from retscale.plan.sizes import catalog_sizes

# Cores of a node for a job, by stage, and of each process of a training; the others have one.
CORES = {"checkpoint": 4, "mine": 16, "leakage": 4, "finetune": 8, "evaluate": 8, "icl": 8}
# Hours beside the arithmetic: downloads, reading, tokenizing, generated answers.
HOURS = {"checkpoint": 4, "pairs": 4, "task": 4, "mine": 4, "leakage": 4, "finetune": 2, "evaluate": 2, "icl": 8}
UNKNOWN_HOURS = 8
# The share of a GPU's peak that small models reach, and twice the time that follows.
UTILIZATION, MARGIN = 0.2, 2
CORE_FLOPS = 1e10


@dataclass(frozen=True)
class Resources:
    """What a job gets: `nodes`, and of each of them `gpus`, `cores` and `memory_mb`, for `minutes`.

    `sharded`: a model that does not fit one GPU is spread over all of them. `too_*`: by the estimate it still does not
    fit.
    """

    nodes: int
    gpus: int
    cores: int
    memory_mb: int
    minutes: int
    partition: str
    sharded: bool = False
    too_few_gpus: bool = False
    too_little_memory: bool = False

    @property
    def launch(self) -> str:
        """The shell command that starts a training with these."""
        return launch.command(self.nodes, max(1, self.gpus), self.sharded, self.gpus > 0)


# The names of Snakemake and of its plugins for Slurm.
SNAKEMAKE = {
    "mem_mb": attrgetter("memory_mb"),
    "runtime": attrgetter("minutes"),
    "gpu": lambda resources: resources.gpus or None,
    "nodes": lambda resources: resources.nodes if resources.nodes > 1 else None,  # of a group, Snakemake would add them
    "slurm_partition": lambda resources: resources.partition or None,
}


def resources(needs: Needs, site: Site, attempt: int = 1) -> Resources:
    """What the `attempt`-th try of a job gets: the second twice the memory and time of the first, as far as a node has it."""
    override = override_of(needs, site)
    gpu = site.gpu if needs.uses_gpu else None
    nodes: Nodes = gpu or site.cpu
    shards, node_count, gpus = _gpus(needs, gpu, override) if gpu else (1, 1, 0)
    processes = max(1, gpus)
    cores = override.cores or CORES.get(needs.stage, 1) * processes
    memory_gb = override.memory_gb or needs.memory_gb + processes * needs.process_gb
    hours = override.hours or _hours(needs, gpu, cores, node_count * gpus)
    return Resources(
        nodes=node_count,
        gpus=gpus,
        cores=min(cores, nodes.cores),
        memory_mb=math.ceil(1000 * min(memory_gb * 2 ** (attempt - 1), nodes.memory_gb)),
        minutes=math.ceil(60 * min(hours * attempt, nodes.hours)),
        partition=nodes.partition,
        sharded=shards > 1,
        too_few_gpus=shards > max(1, node_count * gpus),
        too_little_memory=memory_gb > nodes.memory_gb,
    )


def override_of(needs: Needs, site: Site) -> Override:
    """What the site file says of this stage and size; of this size before `all`."""
    by_size = site.stages.get(needs.stage, {})
    given = [by_size[key].model_dump(exclude_none=True) for key in ("all", needs.size) if key in by_size]
    return Override(**{key: value for part in given for key, value in part.items()})


def _gpus(needs: Needs, gpu: GpuNodes, override: Override) -> tuple[int, int, int]:
    """GPUs over which the model must be spread, nodes, and GPUs of each: a power of two, or whole nodes."""
    shards = max(1, math.ceil(needs.gpu_gb / ((1 - needs.gpu_headroom) * gpu.gpu_memory_gb)))
    if override.gpus:
        node_count = override.nodes or math.ceil(override.gpus / gpu.gpus)
        return shards, node_count, math.ceil(override.gpus / node_count)
    wanted = 2 ** math.ceil(math.log2(shards)) if needs.divisible else 1
    if wanted <= gpu.gpus:
        return shards, override.nodes or 1, wanted
    return shards, override.nodes or min(gpu.nodes, math.ceil(shards / gpu.gpus)), gpu.gpus


def _hours(needs: Needs, gpu: GpuNodes | None, cores: int, gpus: int) -> float:
    fixed = HOURS.get(needs.stage, 1)
    if needs.flops is None:
        return max(fixed, UNKNOWN_HOURS)
    rate = gpus * catalog_sizes()["gpus"][gpu.kind] * UTILIZATION if gpu else cores * CORE_FLOPS
    return fixed + MARGIN * needs.flops / rate / 3600

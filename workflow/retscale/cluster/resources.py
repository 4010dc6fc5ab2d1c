"""What a job gets on a cluster. The rules, `retscale plan` and `retscale check` all ask here."""

import math
from dataclasses import dataclass
from operator import attrgetter

from retscale.cluster import launch, way
from retscale.cluster.needs import Needs
from retscale.cluster.site import GpuNodes, Nodes, Override, Site
from retscale.cluster.way import Training, Way
from retscale.finetune.footprint import USABLE
from retscale.plan.sizes import catalog_sizes
from retscale.plan.times import CPU, Device

# Cores of a node for a job, by stage, and of each process of a training; the others have one.
CORES = {
    "checkpoint": 4,
    "mine": 16,
    "reference": 16,
    "leakage": 4,
    "tokens": 8,
    "finetune": 8,
    "evaluate": 8,
    "icl": 8,
}
# Hours beside the arithmetic: downloads, reading, tokenizing, generated answers.
HOURS = {
    "checkpoint": 4,
    "pairs": 4,
    "task": 4,
    "mine": 4,
    "reference": 4,
    "leakage": 4,
    "tokens": 4,
    "finetune": 2,
    "evaluate": 2,
    "icl": 8,
}
UNKNOWN_HOURS = 8
MARGIN = 2  # hours that are asked for, for each that is estimated


@dataclass(frozen=True)
class Resources:
    """What a job gets: `nodes`, and of each of them `gpus`, `cores` and `memory_mb`, for `minutes`.

    `way` of a training on GPUs: it has one process for each. `hours`: the estimate, without any margin, None if it is
    unknown. `impossible`: why no GPU of the site is enough, or its nodes' memory; empty if all is well.
    """

    nodes: int
    gpus: int
    cores: int
    memory_mb: int
    minutes: int
    partition: str
    hours: float | None = None
    way: Way | None = None
    impossible: str = ""

    @property
    def launch(self) -> str:
        """The shell command that starts a training with these."""
        return launch.command(self.nodes, max(1, self.gpus), bool(self.way and self.way.sharded), self.gpus > 0)


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
    alone = hours(needs, gpu)
    impossible, chosen_way, node_count, gpus = "", None, 1, 1 if gpu else 0
    memory_gb = needs.memory_gb + (way.cpu_gb(needs.training) if needs.training and not gpu else 0)
    if gpu and needs.training:
        exactly = _exactly(gpu, override)
        most = (gpu.hours - HOURS["finetune"]) / MARGIN
        chosen_way = way.way(needs.training, alone, gpu.gpu_memory_gb, gpu.gpus, gpu.nodes, most, exactly)
        node_count, gpus = (chosen_way.nodes, chosen_way.gpus) if chosen_way else exactly or (gpu.nodes, gpu.gpus)
        if chosen_way:
            memory_gb += way.host_gb(needs.training, chosen_way)
        else:
            impossible = _too_large(needs.training, gpu, exactly)
    elif gpu and needs.gpu_gb > USABLE * gpu.gpu_memory_gb:
        impossible = f"its weights take {needs.gpu_gb:.0f} GB of a GPU that has {gpu.gpu_memory_gb:g}"
    memory_gb = override.memory_gb or memory_gb
    if not impossible and memory_gb > nodes.memory_gb:
        impossible = (
            f"needs about {memory_gb:.0f} GB of memory, but a node has {nodes.memory_gb:g}; if you know better, give its "
            "memory_gb under `stages`"
        )
    cores = override.cores or CORES.get(needs.stage, 1) * max(1, gpus)
    estimate = None if alone is None else alone * chosen_way.longer / chosen_way.processes if chosen_way else alone
    asked = override.hours or (
        max(HOURS.get(needs.stage, 1), UNKNOWN_HOURS)
        if estimate is None
        else HOURS.get(needs.stage, 1) + MARGIN * estimate
    )
    return Resources(
        nodes=node_count,
        gpus=gpus,
        cores=min(cores, nodes.cores),
        memory_mb=math.ceil(1000 * min(memory_gb * 2 ** (attempt - 1), nodes.memory_gb)),
        minutes=math.ceil(60 * min(asked * attempt, nodes.hours)),
        partition=nodes.partition,
        hours=estimate,
        way=chosen_way,
        impossible=impossible,
    )


def hours(needs: Needs, gpu: GpuNodes | None) -> float | None:
    """Of one GPU of the site, or of one core; None where sizes are unknown."""
    kind = gpu.kind if gpu else CPU
    seconds = Device(kind, catalog_sizes()["gpus"][kind]).seconds(needs.stage, [*needs.costs], needs.n_params)
    if seconds.unknown:
        return None
    return seconds.known / 3600


def override_of(needs: Needs, site: Site) -> Override:
    """What the site file says of this stage and size; of this size before `all`."""
    by_size = site.stages.get(needs.stage, {})
    given = [by_size[key].model_dump(exclude_none=True) for key in ("all", needs.size) if key in by_size]
    return Override(**{key: value for part in given for key, value in part.items()})


def _exactly(gpu: GpuNodes, override: Override) -> tuple[int, int] | None:
    """Nodes, and GPUs of each, if the site file says how many a training gets."""
    if override.gpus:
        node_count = override.nodes or math.ceil(override.gpus / gpu.gpus)
        return node_count, math.ceil(override.gpus / node_count)
    return (override.nodes, gpu.gpus) if override.nodes else None


def _too_large(training: Training, gpu: GpuNodes, exactly: tuple[int, int] | None) -> str:
    """Why there is no way, and what would be one."""
    node_count, gpus = exactly or (gpu.nodes, gpu.gpus)
    tuning, batch = training.recipe.tuning, training.recipe.batch_queries
    if exactly and batch % (node_count * gpus):
        return f"{batch} queries of a batch cannot be divided among {node_count * gpus} GPUs; change gpus in stages"
    enough = way.enough_nodes(training, gpu.gpu_memory_gb, gpu.gpus)
    advice = (["gpu.nodes or stages" if exactly else f"gpu.nodes: {enough}"] if enough else []) + (
        ["tuning: lora"] if tuning == "full" else []
    )
    return (
        f"tuning: {tuning} does not fit {node_count} x {gpus} GPUs of {gpu.gpu_memory_gb:g} GB; "
        + (f"give it {' or '.join(advice)}, or " if advice else "")
        + "leave it out with `only`"
    )

"""What is wrong with a site file, by what Slurm says of its partitions."""

from retscale.cluster.site import GpuNodes, Nodes, Site
from retscale.cluster.slurm import Partition
from retscale.common.phrase import counted, hint


def problems(site: Site, partitions: list[Partition], file: str) -> list[str]:
    """One line for each key of the site file that Slurm would refuse."""
    lines = []
    for kind, nodes in {"cpu": site.cpu, "gpu": site.gpu}.items():
        if nodes:
            lines += [f"{file}: {kind}.{line}" for line in _of_nodes(nodes, partitions)]
    return lines


def _of_nodes(nodes: Nodes, partitions: list[Partition]) -> list[str]:
    known = {partition.name: partition for partition in partitions}
    default = next((partition for partition in partitions if partition.default), None)
    partition = known.get(nodes.partition) if nodes.partition else default
    if partition is None:
        if not nodes.partition:
            return ["partition: this cluster has no default one; name one of " + ", ".join(known)]
        return [f"partition: {nodes.partition!r} is not a partition of this cluster{hint(nodes.partition, known)}"]
    limits = {
        "cores": (nodes.cores, partition.cores),
        "memory_gb": (nodes.memory_gb, partition.memory_mb / 1000),
        "hours": (nodes.hours, float("inf") if partition.minutes is None else partition.minutes / 60),
    }
    lines = [
        f"{key}: {value:g}, but the partition {partition.name} has {limit:g}"
        for key, (value, limit) in limits.items()
        if value > limit
    ]
    return lines + (_of_gpus(nodes, partition) if isinstance(nodes, GpuNodes) else [])


def _of_gpus(nodes: GpuNodes, partition: Partition) -> list[str]:
    if nodes.model and nodes.model not in partition.gpus:
        known = [model for model in partition.gpus if model]
        return [f"model: the partition {partition.name} has no GPU {nodes.model!r}{hint(nodes.model, known)}"]
    most = partition.gpus.get(nodes.model, 0) if nodes.model else max(partition.gpus.values(), default=0)
    lines = []
    if nodes.gpus > most:
        lines.append(f"gpus: {nodes.gpus}, but a node of the partition {partition.name} has {most}")
    if nodes.nodes > partition.nodes:
        lines.append(f"nodes: {nodes.nodes}, but the partition {partition.name} has {counted(partition.nodes, 'node')}")
    return lines

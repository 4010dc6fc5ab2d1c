"""What a study's jobs get on a cluster, as a table."""

from collections import defaultdict
from collections.abc import Iterable

from retscale.cluster.needs import Needs, needs
from retscale.cluster.resources import Resources, resources
from retscale.cluster.site import Site
from retscale.plan import formatting
from retscale.plan.costs import Costs
from retscale.plan.jobs import jobs

Allotted = list[tuple[Needs, Resources]]


def allotted(costs: Costs, site: Site) -> Allotted:
    """What each job gets in its first try."""
    parts = [needs(costs, job.stage, job.name) for job in jobs(costs.study)]
    return [(part, resources(part, site)) for part in parts]


def table(parts: Allotted) -> list[str]:
    """One row for the jobs of a stage that get as many nodes and GPUs: the most that one of them gets."""
    groups: dict[tuple, Allotted] = defaultdict(list)
    for need, given in parts:
        groups[need.stage, given.nodes, given.gpus].append((need, given))
    rows = []
    for (stage, nodes, gpus), group in groups.items():
        given = [part for _, part in group]
        rows.append(
            [
                f"{stage} {_sizes(need for need, _ in group)}".rstrip(),
                f"{len(group):,}",
                given[0].partition or "(default)",
                str(nodes),
                str(gpus or "-"),
                str(max(part.cores for part in given)),
                f"{max(part.memory_mb for part in given) / 1000:.0f}",
                formatting.hours(max(part.minutes for part in given) / 60),
            ]
        )
    return formatting.table(["stage", "jobs", "partition", "nodes", "GPUs", "cores", "GB", "hours"], rows)


def trainings(parts: Allotted) -> list[str]:
    """One row for the trainings of a size and recipe: what each gets, and what is expected of it."""
    rows = {}
    for need, given in parts:
        if need.training and given.way:
            way, shape = given.way, need.training.shape
            row = [
                f"{formatting.short(shape.total)}{'' if shape.known else ' (shape assumed)'}",
                need.training.recipe.tuning,
                f"{way.nodes} x {way.gpus}",
                "yes" if way.sharded else "no",
                f"{way.microbatch}{' (checkpointed)' if way.checkpointing else ''}",
                f"{way.gpu_gb:.0f}",
                f"{given.memory_mb / 1000:.0f}",
                "?" if given.hours is None else formatting.hours(given.hours),
                formatting.hours(given.minutes / 60),
            ]
            rows[shape.total, tuple(row)] = row
    head = ["parameters", "tuning", "nodes x GPUs", "sharded", "queries at once", "GB of a GPU", "GB of a node"]
    ordered = [rows[key] for key in sorted(rows)]
    return formatting.table([*head, "hours", "asked for"], ordered) if rows else []


def unfit(parts: Allotted) -> list[str]:
    """The stages and sizes that by the estimate need more than the site file says there is."""
    lines = {(need.stage, need.size): given.impossible for need, given in parts if given.impossible}
    return [f"{stage} {size}".rstrip() + f" {line}" for (stage, size), line in lines.items()]


def _sizes(parts: Iterable[Needs]) -> str:
    """Of the checkpoints: `70M`, or `14M to 2.8B`."""
    by_params = sorted({(part.n_params or 0, part.size) for part in parts})
    names = list(dict.fromkeys(size for _, size in by_params))
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"

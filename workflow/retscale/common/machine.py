"""What this process may use of the machine: Slurm and Linux's control groups may allow less than there is."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

# The file that holds a group's limit, by version, and where its groups lie; a limit of version 1 that is none is huge.
_GROUPS = {2: ("memory.max", Path("sys/fs/cgroup")), 1: ("memory.limit_in_bytes", Path("sys/fs/cgroup/memory"))}


def memory(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> int:
    """Bytes of memory for all processes of this job on this machine: the least of what the machine has, what its control
    groups allow, and what Slurm has allotted."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_group_limits(root), *_allotted(environment)])


def cores(environment: Mapping[str, str] = os.environ) -> int:
    """Processors for this process."""
    affinity = len(os.sched_getaffinity(0))
    return min(affinity, int(environment.get("SLURM_CPUS_ON_NODE") or affinity))


def _group_limits(root: Path) -> Iterator[int]:
    """The limit of this process's group, and those of the groups around it."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, group = line.split(":", 2)
        version = 2 if number == "0" else 1
        if version == 1 and "memory" not in controllers.split(","):
            continue
        name, top = _GROUPS[version]
        place = Path(group.lstrip("/"))
        for folder in (place, *place.parents):
            try:
                limit = (root / top / folder / name).read_text().strip()
            except OSError:
                continue  # the top has none, and a container may not show the groups around it
            if limit.isdecimal():
                yield int(limit)


def _allotted(environment: Mapping[str, str]) -> Iterator[int]:
    """What Slurm has given; it counts in MiB, and 0 is all."""
    per_node, per_cpu = (int(environment.get(f"SLURM_MEM_PER_{unit}") or 0) for unit in ("NODE", "CPU"))
    if per_node:
        yield per_node * 2**20
    elif per_cpu:
        yield per_cpu * cores(environment) * 2**20

"""How much of the machine a job may use."""

import os

import pytest
import torch

from retscale.common import machine
from retscale.finetune.memory import device_memory

MiB = 2**20
WHOLE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def group(root, cgroup: str, limits: dict[str, str]):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for path, limit in limits.items():
        (root / "sys/fs/cgroup" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "sys/fs/cgroup" / path).write_text(f"{limit}\n")
    return root


@pytest.mark.parametrize(
    ("cgroup", "limits", "memory"),
    [
        ("0::/job/step\n", {"job/step/memory.max": "max", "job/memory.max": str(64 * MiB)}, 64 * MiB),
        ("0::/job\n", {"job/memory.max": str(64 * MiB), "memory.max": str(32 * MiB)}, 32 * MiB),
        ("0::/job\n", {"job/memory.max": "max"}, WHOLE),
        (
            "9:cpuset:/\n4:cpu,memory:/job/step\n0::/\n",
            {
                "memory/job/step/memory.limit_in_bytes": str(2**63 - 4096),
                "memory/job/memory.limit_in_bytes": str(16 * MiB),
            },
            16 * MiB,
        ),
        ("0::/../elsewhere\n", {}, WHOLE),
    ],
    ids=["around it", "at the top", "no limit", "version 1", "not shown"],
)
def test_control_groups(tmp_path, cgroup, limits, memory):
    assert machine.memory(group(tmp_path, cgroup, limits), {}) == memory


@pytest.mark.parametrize(
    ("environment", "memory"),
    [
        ({"SLURM_MEM_PER_NODE": "100"}, 100 * MiB),
        ({"SLURM_MEM_PER_NODE": "0"}, WHOLE),
        ({"SLURM_MEM_PER_CPU": "30", "SLURM_CPUS_ON_NODE": "1"}, 30 * MiB),
        ({"SLURM_MEM_PER_NODE": str(WHOLE)}, WHOLE),  # a node that states more than it has
    ],
)
def test_what_slurm_allots(tmp_path, environment, memory):
    assert machine.memory(tmp_path, environment) == memory


def test_cores_are_those_of_the_job():
    own = len(os.sched_getaffinity(0))
    assert machine.cores({}) == own and machine.cores({"SLURM_CPUS_ON_NODE": "1"}) == 1
    assert machine.cores({"SLURM_CPUS_ON_NODE": str(own + 8)}) == own


def test_processes_of_a_training_share_the_memory_of_a_cpu(monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: 64 * MiB)
    assert device_memory(torch.device("cpu")) == 64 * MiB
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert device_memory(torch.device("cpu")) == 16 * MiB

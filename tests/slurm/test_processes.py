"""A training of two processes on the nodes of a Slurm: it learns what one process learns, and survives a requeue.

The GPUs of the virtual nodes are none that torch sees, so the site file tells the processes to compute on the CPU; all
else, from the rule to `srun` and the rendezvous, is as on a cluster with GPUs.
"""

import json
import shutil
from pathlib import Path

import packages
import pytest
from cluster import running, wait_for
from conftest import Clone
from safetensors.torch import load_file
from study import (
    ENCODER,
    SITE,
    TRAINING,
    TRAINING_LOG,
    Driver,
    undisturbed,  # noqa: F401
    untrained,  # noqa: F401
)

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(packages.obstacle()), reason=packages.obstacle())]

SITE_OF_TWO = """
cpu: {{partition: cpu, cores: 4, memory_gb: 8, hours: 1}}
gpu: {{partition: gpu, cores: 4, memory_gb: 8, hours: 1, gpus: 2, nodes: 2, gpu_memory_gb: 80}}
environment: {{ACCELERATE_USE_CPU: "true"}}
stages: {{finetune: {{all: {{gpus: 2, nodes: {nodes}, cores: 2, memory_gb: 3}}}}}}
"""


@pytest.mark.parametrize("nodes", [1, 2], ids=["two on a node", "one on each of two nodes"])
def test_two_processes_train_as_one_and_resume_to_the_same_bits(nodes, undisturbed, untrained, tmp_path):
    whole, requeued = untrained, Clone(tmp_path / "requeued")
    (whole.folder / SITE).write_text(SITE_OF_TWO.format(nodes=nodes))
    shutil.copytree(whole.folder, requeued.folder, symlinks=True)
    with running(tmp_path) as cluster:
        drivers = [Driver(clone, cluster, target=ENCODER) for clone in (requeued, whole)]
        state = (requeued.folder / ENCODER).parent / ".encoder.json.state"
        log = state / "log.jsonl"
        wait_for("a step", lambda: log.exists() and log.stat().st_size, 240)
        job = (requeued.folder / TRAINING_LOG).read_text().partition("Slurm job ")[2].split()[0]
        cluster.hold(job)
        assert not (requeued.folder / ENCODER).exists(), "it ended before it could be stopped"
        cluster.run("scontrol", "requeue", job)
        for driver in drivers:
            driver.end()
        assert cluster.job(TRAINING)["NumNodes"] == str(nodes)
    resumed = (requeued.folder / TRAINING_LOG).read_text()
    assert resumed.count(f"Slurm job {job}") == 2 and "resumes after step" in resumed, resumed
    assert weights(requeued).read_bytes() == weights(whole).read_bytes()
    one, two = load_file(weights(undisturbed)), load_file(weights(whole))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-4
    assert json.loads((whole.folder / ENCODER).with_name("encoder.record.json").read_text())["notes"]["processes"] == 2


def weights(clone: Clone) -> Path:
    return (clone.folder / ENCODER).with_name("model.safetensors")

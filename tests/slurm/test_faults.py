"""What goes wrong on a cluster, one thing a test: the study completes with the same bytes, or says in one line why not."""

import os
import shutil
import time

import packages
import pytest
from cluster import running, small_disk, wait_for, without
from fault_table import happened  # noqa: F401
from study import (
    ENCODER,
    PATIENCE_S,
    RESULTS,
    SITE,
    STUDY,
    TRAINING,
    TRAINING_LOG,
    Driver,
    differences,
    training,
    undisturbed,  # noqa: F401
    untrained,  # noqa: F401
)

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(packages.obstacle()), reason=packages.obstacle())]

OUTAGE_S = 60
GPU_NODES = "gpu: {partition: gpu, cores: 4, memory_gb: 8, hours: 1, gpus: 2, gpu_memory_gb: 80}\n"


@pytest.fixture
def cluster(tmp_path):
    with running(tmp_path) as cluster:
        yield cluster


def all_trainings(override: str) -> str:
    """The lines of a site file that give every training this."""
    return f"stages: {{finetune: {{all: {{{override}}}}}}}\n"


def shim(clone, program: str, script: str) -> dict[str, str]:
    """Variables that put a shell script before the program $real of this name."""
    folder = clone.folder / "shim"
    folder.mkdir()
    real = shutil.which(program, path=clone.environment["PATH"])
    (folder / program).write_text(f"#!/bin/sh\nreal={real}\n{script}\n")
    (folder / program).chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{clone.environment['PATH']}"}


def test_nothing(cluster, undisturbed, tmp_path, happened):
    """nothing, the whole study"""
    from conftest import copy_repository

    clone = copy_repository(tmp_path / "clone")
    shutil.copy(clone.folder / "tests/slurm/site.yaml", clone.folder / SITE)
    Driver(clone, cluster, target="all").end()
    assert differences(clone, undisturbed) == []
    jobs = len(cluster.run("squeue", "--noheader", "--states", "all").splitlines())
    happened(f"the same bytes as without Slurm, in {jobs} jobs")


def test_rule_fails_once(cluster, undisturbed, untrained, happened):
    """a rule fails once"""
    fails = shim(untrained, "python", 'mkdir failed 2>/dev/null && { echo "bad luck"; exit 3; }\nexec $real "$@"')
    printed = Driver(untrained, cluster, **fails).end()
    assert "bad luck" in printed
    assert differences(untrained, undisturbed) == []
    happened("tried again")


def test_time_limit(cluster, undisturbed, untrained, happened):
    """the time limit is over, three times"""
    driver = Driver(untrained, cluster, "--retries", "3")
    steps = []
    for attempt in (1, 2, 3):
        job = training(untrained, cluster, attempt)
        cluster.end_time_limit(job)
        wait_for("the limit", lambda job=job: cluster.state(job) == "TIMEOUT", 180)
        steps += [path.name for path in (untrained.folder / ENCODER).parent.glob(".encoder.json.state/step-*")]
    printed = driver.end()
    assert printed.count("time limit") == 3
    assert len(set(steps)) == 3
    assert differences(untrained, undisturbed) == []
    happened(f"resumed after {', '.join(steps)}")


def test_node_killed(cluster, undisturbed, untrained, happened):
    """a node is killed"""
    driver = Driver(untrained, cluster)
    job = training(untrained, cluster)
    node = cluster.job(TRAINING)["NodeList"]
    cluster.kill_node(node)
    driver.end()
    assert cluster.job(TRAINING)["JobId"] == job and cluster.job(TRAINING)["NodeList"] != node
    assert differences(untrained, undisturbed) == []
    happened("Slurm started the job again on another node")


def test_preemption(cluster, undisturbed, untrained, happened):
    """a job is preempted"""
    driver = Driver(untrained, cluster)
    training(untrained, cluster)
    everywhere = ("--partition=urgent", "--nodes=2", "--exclusive", "--mem=0", "--output=/dev/null")
    cluster.run("sbatch", *everywhere, "--wrap", "sleep 5")
    driver.end()
    assert cluster.job(TRAINING)["Restarts"] == "1"
    assert "resume" in (untrained.folder / TRAINING_LOG).read_text()
    assert differences(untrained, undisturbed) == []
    happened("Slurm started the job again, and it resumed")


@pytest.mark.parametrize("accounting", [False, True], ids=["without accounting", "with accounting"])
def test_controller_down(accounting, tmp_path, undisturbed, untrained, happened):
    """the controller is down for 60 s while a job runs and the next is submitted"""
    with running(tmp_path, accounting) as cluster:
        driver = Driver(untrained, cluster)
        job = training(untrained, cluster)
        cluster.stop_controller()
        down = time.monotonic()
        cluster.release(job)
        wait_for("the end of the training", (untrained.folder / ENCODER).exists, PATIENCE_S)
        wait_for("the outage", lambda: time.monotonic() - down > OUTAGE_S, OUTAGE_S + 1)
        assert driver.process.poll() is None
        cluster.start_controller()
        printed = driver.end()
        assert printed.count("Slurm does not answer") == 1 and "Slurm answers again" in printed
        assert differences(untrained, undisturbed) == []
    happened("it waited, and submitted the next job then")


def test_scancel(cluster, undisturbed, untrained, happened):
    """scancel"""
    driver = Driver(untrained, cluster)
    job = training(untrained, cluster)
    cluster.run("scancel", job)
    printed = driver.end()
    assert "was cancelled" in printed
    assert differences(untrained, undisturbed) == []
    happened("said so, and submitted the job again")


def test_driver_killed(cluster, undisturbed, untrained, happened):
    """the driver is killed while a job runs, and started again at once"""
    first = Driver(untrained, cluster)
    job = training(untrained, cluster)
    first.kill()
    second = Driver(untrained, cluster)
    wait_for("its adoption", lambda: f"job {job} of an earlier driver" in second.printed())
    cluster.release(job)
    second.end()
    assert cluster.job(TRAINING)["JobId"] == job
    assert differences(untrained, undisturbed) == []
    happened("the second adopted the job of the first")


def test_full_scratch(cluster, undisturbed, untrained, happened):
    """the disk is full when a training saves its state"""
    folder = (untrained.folder / ENCODER).parent
    with small_disk(cluster, 1) as disk:
        folder.parent.mkdir(exist_ok=True)
        folder.symlink_to(disk)
        (disk / "full").write_bytes(bytes((1 << 20) - (64 << 10)))
        driver = Driver(untrained, cluster, "--retries", "0")
        job = training(untrained, cluster)
        cluster.terminate_training(job)
        cluster.release(job)
        printed = driver.end(1)
        lines = [line for line in printed.splitlines() if f"job {job} failed" in line]
        assert len(lines) == 1 and "cannot be written" in lines[0], printed
        assert "Traceback" not in printed + (untrained.folder / TRAINING_LOG).read_text()
        folder.unlink()
    Driver(untrained, cluster).end()
    assert differences(untrained, undisturbed) == []
    happened(f"{lines[0]}; with space the study completes")


@pytest.mark.parametrize(
    "edit, said",
    [
        (lambda site: site.replace("partition: cpu", "partition: vast"), "vast"),
        (lambda site: site.replace("memory_gb: 8", "memory_gb: 99") + all_trainings("memory_gb: 99"), "99 GB"),
        (lambda site: site + GPU_NODES + all_trainings("gpus: 4, nodes: 1, memory_gb: 6"), "4 GPUs"),
    ],
    ids=["partition", "memory", "gpus"],
)
def test_refused(edit, said, cluster, untrained, happened):
    """Slurm refuses a job"""
    site = untrained.folder / SITE
    site.write_text(edit(site.read_text()))
    printed = Driver(untrained, cluster).end(1)
    lines = [line for line in printed.splitlines() if "Slurm refuses" in line]
    assert len(lines) == 1 and said in lines[0] and SITE in lines[0], printed
    assert "is submitted" not in printed
    happened(lines[0])


def test_two_gpus(cluster, untrained, happened):
    """a training gets two GPUs"""
    with (untrained.folder / SITE).open("a") as site:
        site.write(GPU_NODES + all_trainings("gpus: 2, memory_gb: 6"))
    counts = shim(untrained, "python", 'echo "$CUDA_VISIBLE_DEVICES" >> started\nexec $real "$@"')
    printed = Driver(untrained, cluster, "--retries", "0", target=ENCODER, **counts).end(1)
    assert (untrained.folder / "started").read_text() == "0,1\n"
    lines = [line for line in printed.splitlines() if f"job {cluster.job(TRAINING)['JobId']} failed" in line]
    assert len(lines) == 1 and "was given a GPU (CUDA_VISIBLE_DEVICES=0,1), but torch sees none" in lines[0]
    assert not (untrained.folder / ENCODER).exists()
    happened("its script was started once and saw both, which torch did not: one line")


def test_downloads_on_the_login_node(cluster, untrained):
    """`fetch: login`, for nodes without a network"""
    for stage in ("task", "pairs", "mine"):
        shutil.rmtree(untrained.folder / RESULTS / stage)
    with (untrained.folder / SITE).open("a") as site:
        site.write("fetch: login\n")
    Driver(untrained, cluster, target=f"{RESULTS}/mine/boolq/negatives.parquet").end()
    assert cluster.run("squeue", "--noheader", "--states", "all", "--format", "%j").split() == ["faults/mine/boolq"]


def test_check_asks_slurm(cluster, untrained):
    untrained.edit(SITE, "partition: cpu", "partition: vast")
    untrained.environment |= {name: cluster.environment[name] for name in ("SLURM_CONF", "PATH")}
    printed = untrained.run("retscale", "check", STUDY, "--profile", "slurm", status=1).stderr
    assert printed.splitlines() == [
        f"retscale check: error: {SITE}: cpu.partition: 'vast' is not a partition of this cluster; known: cpu, gpu, urgent"
    ]


def test_no_sbatch(cluster, untrained, tmp_path, happened):
    """there is no sbatch"""
    (tmp_path / "bin").mkdir()
    path = without("sbatch", untrained.environment, tmp_path / "bin")["PATH"]
    printed = Driver(untrained, cluster, PATH=path).end(1)
    lines = [line for line in printed.splitlines() if "sbatch is not on the PATH" in line]
    assert len(lines) == 1, printed
    happened(lines[0])

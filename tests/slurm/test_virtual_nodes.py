"""The cluster that the other tests here break: it runs jobs, and its faults are what they are called."""

import subprocess
import sys
from pathlib import Path

import packages
import processes
import pytest
from cluster import Cluster, running, small_disk, wait_for, without

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(packages.obstacle()), reason=packages.obstacle())]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


def submit(cluster: Cluster, folder: Path, command: str, *options: str) -> str:
    """The id of a job that runs `command` in the shell and writes what it prints to `folder`/ID."""
    return cluster.run(
        "sbatch", "--parsable", "--mem=100", f"--output={folder}/%j", "--open-mode=append", *options, "--wrap", command
    ).strip()


def printed(folder: Path, job: str) -> str:
    path = folder / job
    return path.read_text() if path.exists() else ""


def test_a_job_has_its_gpus(cluster, tmp_path):
    job = submit(cluster, tmp_path, "echo gpus $CUDA_VISIBLE_DEVICES on $SLURMD_NODENAME", "-p", "gpu", "--gpus=2")
    wait_for("the job", lambda: printed(tmp_path, job).startswith("gpus 0,1 on g"))


def test_tasks_run_on_two_nodes(cluster, tmp_path):
    job = submit(cluster, tmp_path, "srun sh -c 'echo $SLURM_PROCID $SLURMD_NODENAME'", "-p", "gpu", "-N", "2")
    wait_for("the tasks", lambda: sorted(printed(tmp_path, job).splitlines()) == ["0 g1", "1 g2"])


def test_a_time_limit_is_over_when_it_is_said(cluster, tmp_path):
    job = submit(cluster, tmp_path, "trap 'echo saved; exit 1' TERM; echo begun; while :; do sleep 0.1; done")
    wait_for("the job", lambda: printed(tmp_path, job))
    cluster.hold(job)
    cluster.end_time_limit(job)
    wait_for("the limit", lambda: cluster.state(job) == "TIMEOUT", 180)
    assert "saved" in printed(tmp_path, job)


def test_urgent_jobs_preempt_others(cluster, tmp_path):
    whole = ("--nodelist=c1", "--exclusive")
    job = submit(cluster, tmp_path, "echo begun; until [ -e go ]; do sleep 0.1; done", *whole, f"--chdir={tmp_path}")
    wait_for("the job", lambda: printed(tmp_path, job))
    urgent = submit(cluster, tmp_path, "true", "-p", "urgent", *whole)
    wait_for("the urgent job", lambda: cluster.state(urgent) == "COMPLETED")
    assert cluster.state(job) == "PENDING"
    (tmp_path / "go").touch()
    wait_for("the job again", lambda: cluster.state(job) == "COMPLETED", 180)
    assert printed(tmp_path, job).count("begun") == 2


def test_a_killed_node_takes_its_jobs_along_and_slurm_starts_them_again(cluster, tmp_path):
    job = submit(cluster, tmp_path, "echo begun; until [ -e go ]; do sleep 0.1; done", "-w", "c2", f"-D{tmp_path}")
    wait_for("the job", lambda: printed(tmp_path, job))
    assert {"slurmd", "slurmstepd", "slurm_script"} <= set(cluster.kill_node("c2"))
    assert not cluster.job_processes(job)
    wait_for("the controller", lambda: cluster.node_state("c2").startswith("down"))
    assert cluster.state(job) == "PENDING"
    (tmp_path / "go").touch()
    cluster.start_node("c2")
    wait_for("the job again", lambda: cluster.state(job) == "COMPLETED", 180)
    assert printed(tmp_path, job).count("begun") == 2


def test_a_job_outlives_the_controller(cluster, tmp_path):
    job = submit(cluster, tmp_path, "echo begun; until [ -e go ]; do sleep 0.1; done; echo over", f"-D{tmp_path}")
    wait_for("the job", lambda: printed(tmp_path, job))
    cluster.stop_controller()
    assert subprocess.run(["squeue"], env=cluster.environment, capture_output=True).returncode
    (tmp_path / "go").touch()
    wait_for("the job", lambda: "over" in printed(tmp_path, job))
    cluster.start_controller()
    wait_for("its end", lambda: cluster.state(job) == "COMPLETED")


def test_accounting_answers_until_it_is_stopped(tmp_path):
    with running(tmp_path, accounting=True) as cluster:
        job = submit(cluster, tmp_path, "true")
        ask = ("sacct", "--noheader", "--allocations", "--jobs", job, "--format", "state")
        wait_for("accounting", lambda: cluster.run(*ask).strip() == "COMPLETED")
        cluster.stop_accounting()
        assert subprocess.run(ask, env=cluster.environment, capture_output=True).returncode


def test_a_small_disk_becomes_full(cluster):
    with small_disk(cluster, 1) as disk, pytest.raises(OSError, match="No space left"):
        (disk / "file").write_bytes(bytes(2 << 20))


def test_a_program_can_be_absent(cluster, tmp_path):
    environment = without("sbatch", cluster.environment, tmp_path)
    listed = subprocess.run(["sh", "-c", "command -v squeue sbatch"], env=environment, capture_output=True, text=True)
    assert listed.stdout.split() == [str(tmp_path / "squeue")]


def test_it_ends_with_whoever_started_it(tmp_path):
    code = "import sys, cluster, pathlib\nwith cluster.running(pathlib.Path(sys.argv[1])) as it:\n"
    code += "    it.run('sbatch', '--wrap', 'sleep 1000', '--output=/dev/null')\n    print(it.folder, flush=True)\n    sys.stdin.read()"
    owner = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    folder = Path(owner.stdout.readline().strip())
    assert len(processes.marked(SLURM_CONF=str(folder / "slurm.conf"))) >= 6
    owner.kill()
    owner.wait()
    wait_for("its end", lambda: not folder.exists())
    assert not processes.marked(SLURM_CONF=str(folder / "slurm.conf"))

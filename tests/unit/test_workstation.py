"""A machine with several GPUs and no scheduler: what it has, and how its jobs share it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retscale.cluster import gpus, workstation
from retscale.cluster import site as sites
from retscale.cluster.gpus import Gpu
from retscale.cluster.resources import Resources
from retscale.common import machine
from retscale.errors import UserError

SMI = """#!/bin/sh
case "$1" in
-L) echo "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aa)"; echo "GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bb)" ;;
*) echo "GPU-aa, 81559"; echo "GPU-bb, 40000" ;;
esac
"""
SITE = Path("profiles/workstation/site.yaml")


@pytest.fixture
def smi(tmp_path, monkeypatch) -> Path:
    """An nvidia-smi of two GPUs, the first program of its name."""
    file = tmp_path / "bin" / "nvidia-smi"
    file.parent.mkdir()
    file.write_text(SMI)
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return file


A, B = Gpu("GPU-aa", "NVIDIA H100 80GB HBM3", 81559 * 2**20), Gpu("GPU-bb", "NVIDIA H100 80GB HBM3", 40000 * 2**20)


def test_what_nvidia_smi_lists(smi):
    assert gpus.here({}) == [A, B]
    assert gpus.here({"CUDA_VISIBLE_DEVICES": ""}) == []


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (None, [A, B]),
        ("1", [B]),
        ("1, 0", [B, A]),
        ("GPU-b", [B]),
        ("0,-1,1", [A]),
        ("-1", []),
        ("NoDevFiles", []),
        ("MIG-cc,5", [Gpu("MIG-cc"), Gpu("5")]),
    ],
)
def test_what_cuda_visible_devices_names(names, meant):
    assert gpus.chosen([A, B], names) == meant


def test_a_machine_without_nvidia_smi_has_none_and_one_where_it_fails_is_mended_first(smi, monkeypatch):
    smi.write_text("#!/bin/sh\necho Failed to initialize NVML: Driver/library version mismatch; exit 18\n")
    with pytest.raises(UserError, match=r"nvidia-smi -L fails \(Failed to initialize NVML: Driver.*; mend the driver"):
        gpus.here({})
    monkeypatch.setenv("PATH", str(smi.parent.parent))
    assert gpus.here({}) == []


def test_the_site_is_what_the_machine_has_and_what_the_file_says(smi, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: 100 * 10**9)
    monkeypatch.setattr(machine, "cores", lambda: 16)
    site = sites.read(SITE)
    assert (site.cpu.cores, site.cpu.memory_gb) == (16, 90)
    assert (site.gpu.gpus, site.gpu.gpu_memory_gb, site.gpu.kind) == (2, 41.9, "h100")  # the smaller one's memory
    assert workstation.limits(site) == {"gpu": 2, "mem_mb": 90_000}
    assert workstation.describe(site) == "16 cores, 90 GB of memory, 2 GPUs of 42 GB"
    own = tmp_path / "site.yaml"
    own.write_text("this_machine: true\ncpu: {cores: 4, memory_gb: 9, hours: 1}\n")
    assert sites.read(own).cpu.cores == 4
    own.write_text("this_machine: true\nscratch: /scratch\n")
    with pytest.raises(UserError, match="scratch: only jobs in Slurm use it"):
        sites.read(own)


def test_a_gpu_that_shares_the_memory_of_the_machine(smi, monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: 100 * 10**9)
    smi.write_text(SMI.replace("81559", "[N/A]").replace("40000", "[N/A]"))
    assert sites.read(SITE).gpu.gpu_memory_gb == 100


def test_the_cores_are_shared_so_that_all_gpus_work_and_other_jobs_beside_them(smi, monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 16)
    site = sites.read(SITE)
    given = [Resources(nodes=1, gpus=n, cores=8 * max(1, n), memory_mb=1, minutes=1, partition="") for n in (0, 1, 2)]
    assert [workstation.cores(site, x) for x in given] == [8, 5, 10]


JOB = """
import sys
from retscale.cluster import gpus
gpus.LOOK_EVERY_S = (0.01, 0.02)
sys.exit(gpus.main(sys.argv[1:]))
"""


def job(folder: Path, name: str, count: int = 1, command: tuple[str, ...] = ()) -> subprocess.Popen:
    """A command that writes the GPUs which it sees to the file `name`, and ends when its gate is opened and closed."""
    os.mkfifo(folder / f"{name}.gate")
    command = command or (
        "sh",
        "-c",
        f'echo "$CUDA_VISIBLE_DEVICES" > {name}.new; mv {name}.new {name}; exec cat {name}.gate',
    )
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(count), *command], cwd=folder, stderr=(folder / f"{name}.said").open("w")
    )


def seen(folder: Path, name: str) -> str:
    """What the job writes, once it has."""
    return until(lambda: (folder / name).exists() and (folder / name).read_text().strip())


def until(true, patience: float = 60):
    end = time.monotonic() + patience
    while not (value := true()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return value


def let_go(folder: Path, name: str) -> None:
    (folder / f"{name}.gate").write_text("")


def test_three_jobs_on_two_gpus_have_one_each_and_a_killed_one_frees_its_own(smi, tmp_path):
    jobs = {name: job(tmp_path, name) for name in ("a", "b")}
    assert {seen(tmp_path, "a"), seen(tmp_path, "b")} == {"GPU-aa", "GPU-bb"}
    jobs["c"] = job(tmp_path, "c")
    until(lambda: (tmp_path / "c.said").read_text() == "waiting for 1 of 2 GPUs; other jobs have the others\n")
    assert not (tmp_path / "c").exists()
    jobs["a"].kill()
    assert seen(tmp_path, "c") == (tmp_path / "a").read_text().strip()
    for name in ("b", "c"):
        let_go(tmp_path, name)
        assert jobs[name].wait(60) == 0


def test_a_job_of_two_gpus_waits_until_both_are_free(smi, tmp_path):
    first = job(tmp_path, "one")
    seen(tmp_path, "one")
    two = job(tmp_path, "two", 2)
    until(lambda: "waiting for 2 of 2 GPUs" in (tmp_path / "two.said").read_text())
    let_go(tmp_path, "one")
    assert seen(tmp_path, "two") == "GPU-aa,GPU-bb"
    let_go(tmp_path, "two")
    assert (first.wait(60), two.wait(60)) == (0, 0)
    three = job(tmp_path, "three", 3)
    assert three.wait(60) == 1
    assert "this job needs 3 GPUs, but here are 2" in (tmp_path / "three.said").read_text()


def test_a_gpu_is_taken_as_long_as_a_process_of_a_training_lives(smi, tmp_path, monkeypatch):
    """Here its launcher is killed, and the process that it started goes on."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    program = "import os; open('rank', 'w').write(str(os.getpid())); open('lonely.gate').read()"
    launcher = (sys.executable, "-m", "retscale.finetune.launch", "--processes", "1", "-c", program)
    training = job(tmp_path, "lonely", command=launcher)
    seen(tmp_path, "rank")
    training.kill()
    training.wait()
    lock = tmp_path / "retscale-GPU-aa.lock"
    assert gpus._lock(lock) is None
    let_go(tmp_path, "lonely")
    until(lambda: gpus._lock(lock))


def test_a_command_that_is_not_there_is_one_line(smi, monkeypatch, capfd):
    monkeypatch.setattr(gpus, "take", lambda *_: ["GPU-aa"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.main(["1", "no-such-command"]) == 127
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and "no-such-command cannot be started" in error

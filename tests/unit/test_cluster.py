"""What a job gets on a cluster, what is said of the site file, and what Slurm's commands are asked and answer."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from retscale.cluster import check, lines, script, show, slurm
from retscale.cluster import site as sites
from retscale.cluster.needs import Needs, needs
from retscale.cluster.resources import resources
from retscale.cluster.way import Training
from retscale.errors import UserError
from retscale.finetune.config import Recipe
from retscale.plan.costs import Costs
from retscale.plan.estimate import Cost
from retscale.plan.shapes import shape
from retscale.study import load

SITE = sites.read(Path("profiles/slurm/site.yaml"))


def site(**changes) -> sites.Site:
    return SITE.model_copy(update=changes)


@pytest.fixture(scope="module")
def costs():
    return Costs(load.study(Path("config/open-ladders.yaml")), Path("results/none"))


def training(n_params: int, recipe: Recipe = Recipe(), **more) -> Needs:
    return Needs("finetune", uses_gpu=True, training=Training(shape(n_params), recipe), n_params=n_params, **more)


def test_an_evaluation_of_a_huge_corpus_gets_a_gpu_and_memory(costs):
    given = resources(needs(costs, "evaluate", ("olmo-2-7b", "portes2025", "msmarco")), SITE)
    assert given.gpus == 1 and given.partition == "gpu" and 40_000 < given.memory_mb < 120_000
    small = resources(needs(costs, "evaluate", ("pythia-160m", "portes2025", "scifact")), SITE)
    assert small.memory_mb < 8_000 and small.minutes < given.minutes


def test_each_try_gets_more_up_to_what_a_node_has():
    need = Needs("mine", memory_gb=40)
    tries = [resources(need, SITE, attempt) for attempt in (1, 2, 3)]
    assert [given.memory_mb for given in tries] == [40_000, 80_000, 120_000]
    assert [round(given.minutes / 240, 1) for given in tries] == [1, 2, 3]
    assert resources(need, site(cpu=SITE.cpu.model_copy(update={"hours": 5})), 2).minutes == 300


def test_without_gpus_everything_runs_on_cpus():
    given = resources(training(1_000_000_000), site(gpu=None))
    assert (given.gpus, given.nodes, given.partition) == (0, 1, "cpu")
    assert 24_000 < given.memory_mb < 60_000 and not given.impossible  # 16 bytes a parameter, and 8 to read and write


def test_a_site_overrides_by_stage_and_size():
    stages = {"finetune": {"7B": sites.Override(gpus=8, hours=3), "all": sites.Override(memory_gb=99, hours=1)}}
    given = resources(training(6_738_415_616, size="7B"), site(stages=stages))
    assert (given.gpus, given.memory_mb, given.minutes) == (8, 99_000, 180)
    assert resources(training(6_738_415_616, size="13B"), site(stages=stages)).minutes == 60


def test_gpus_of_the_site_file_must_divide_the_batch_and_hold_the_model():
    def line(total: int, **given) -> str:
        stages = {"finetune": {"all": sites.Override(**given)}}
        return resources(training(total), site(stages=stages)).impossible

    assert line(162_322_944, gpus=3) == "64 queries of a batch cannot be divided among 3 GPUs; change gpus in stages"
    assert "does not fit 1 x 2 GPUs of 80 GB; give it gpu.nodes or stages" in line(12_853_386_240, gpus=2)
    assert line(12_853_386_240, gpus=8) == ""


def test_unknown_sizes_are_unknown_hours_not_none():
    assert resources(Needs("evaluate", uses_gpu=True, costs=(Cost(flops=None),)), SITE).minutes == 480


def test_the_table_of_a_plan_joins_sizes_that_get_as_many_gpus(costs):
    rows = show.table(show.allotted(costs, SITE))
    assert any(re.match(r"finetune 14M to 2\.8B +74 +gpu +1 +1 +8 ", row) for row in rows)
    assert any(re.match(r"finetune 32B +4 +gpu +2 +8 ", row) for row in rows)


SINFO = """\
cpu*|1-00:00:00|128000|32|(null)|10
gpu|2-12:00:00|1031000+|64|gpu:a100:8(S:0-1)|3
gpu|2-12:00:00|515000|48|gpu:a100:4|2
tiny|30:00|4000|2|gpu:2|1
free|infinite|4000|2|(null)|1
"""


def test_sinfo():
    cpu, gpu, tiny, free = slurm.parse_partitions(SINFO)
    assert (cpu.name, cpu.default, cpu.minutes, cpu.memory_mb, cpu.cores, cpu.gpus) == (
        "cpu", True, 1440, 128_000, 32, {},
    )  # fmt: skip
    assert (gpu.minutes, gpu.memory_mb, gpu.cores, gpu.gpus, gpu.nodes) == (3600, 1_031_000, 64, {"a100": 8}, 5)
    assert (tiny.minutes, tiny.gpus) == (30, {"": 2})
    assert free.minutes is None


@pytest.mark.parametrize(
    "key, value, line",
    [
        ("partition", "gpus", "gpu.partition: 'gpus' is not a partition of this cluster; did you mean 'gpu'?"),
        ("cores", 65, "gpu.cores: 65, but the partition gpu has 64"),
        ("memory_gb", 1100.0, "gpu.memory_gb: 1100, but the partition gpu has 1031"),
        ("hours", 61.0, "gpu.hours: 61, but the partition gpu has 60"),
        ("gpus", 9, "gpu.gpus: 9, but a node of the partition gpu has 8"),
        ("nodes", 6, "gpu.nodes: 6, but the partition gpu has 5 nodes"),
        ("model", "h100", "gpu.model: the partition gpu has no GPU 'h100'; did you mean 'a100'?"),
    ],
)
def test_the_site_file_is_compared_with_sinfo(key, value, line):
    partitions = slurm.parse_partitions(SINFO)
    assert check.problems(SITE, partitions, "site.yaml") == []
    wrong = site(gpu=SITE.gpu.model_copy(update={key: value}))
    assert check.problems(wrong, partitions, "site.yaml") == [f"site.yaml: {line}"]


@pytest.mark.parametrize(
    "content, message",
    [
        ("[]", "must hold a mapping"),
        ("cpu: {cores: 4, memory_gb: 8, hours: 1, core: 2}", "cpu.core: unknown key; did you mean 'cores'?"),
        ("cpu: {cores: 0, memory_gb: 8, hours: 1}", "cpu.cores: "),
        ("cpu: {cores: 4, memory_gb: 8, hours: 1}\nstages: {finetunes: {}}", "unknown stage 'finetunes'; did you mean"),
        ("cpu: {cores: 4, memory_gb: 8}", "cpu.hours: this key is required"),
    ],
)
def test_a_wrong_site_file_is_one_line(tmp_path, content, message):
    (tmp_path / "site.yaml").write_text(content)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        sites.read(tmp_path / "site.yaml")
    assert "\n" not in str(error.value)


def test_a_profile_of_no_cluster_is_one_line():
    assert sites.of_profile("slurm") == Path("profiles/slurm/site.yaml")
    with pytest.raises(UserError, match="default-resources names no `site`"):
        sites.of_profile("local")
    with pytest.raises(UserError, match=r"there is no profiles/slurms/config\.yaml"):
        sites.of_profile("slurms")


def command(tmp_path, monkeypatch, name: str, text: str) -> None:
    """The only command on the PATH: it runs the shell `text`."""
    (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
    (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize(
    "message",
    [
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
        "sbatch: error: QOSMaxSubmitJobPerUserLimit",
        "sbatch: error: Munge encode failed: Failed to access socket",
    ],
)
def test_what_passes_is_waited_for(tmp_path, monkeypatch, message):
    command(tmp_path, monkeypatch, "sbatch", f"echo {shlex.quote(message)} >&2; exit 1")
    with pytest.raises(slurm.Unanswered):
        slurm.submit("", [])


def test_what_does_not_pass_is_refused(tmp_path, monkeypatch):
    text = "echo 'sbatch: error: invalid partition specified: gpus' >&2; echo 'sbatch: error: Batch job submission failed: Invalid partition name specified' >&2; exit 1"
    command(tmp_path, monkeypatch, "sbatch", text)
    with pytest.raises(slurm.Refused, match=r"^invalid partition specified: gpus; Batch job submission failed: Inv"):
        slurm.submit("", [])
    (tmp_path / "sbatch").unlink()
    with pytest.raises(slurm.Refused, match="sbatch is not on the PATH"):
        slurm.submit("", [])


def test_the_settings_of_a_surrounding_job_are_not_handed_on(tmp_path, monkeypatch):
    command(tmp_path, monkeypatch, "sbatch", "/usr/bin/env >&2; echo 17")
    for name in ("SLURM_JOB_ID", "SBATCH_PARTITION", "SLURM_CONF"):
        monkeypatch.setenv(name, "x")
    seen = {}
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: seen.setdefault("done", run(*a, **k)))
    assert slurm.submit("", []) == "17"
    assert set(re.findall(r"^(S(?:LURM|BATCH)_\w+)=", seen["done"].stderr, re.M)) == {"SLURM_CONF"}


def test_squeue():
    text = "7|RUNNING|c1|None|retscale-ab-cd|1:02|mini/finetune/d24/own\n8|PENDING||Resources|(null)|0:00|a|b\nnoise\n"
    first, second = slurm.parse_jobs(text)
    assert (first.id, first.state, first.node, first.comment, first.name) == (
        "7", "RUNNING", "c1", "retscale-ab-cd", "mini/finetune/d24/own",
    )  # fmt: skip
    assert (second.reason, second.name) == ("Resources", "a|b")


def options(**resources) -> list[str]:
    return script.options("s/finetune/a", "c", resources, 8, SITE, Path("/work"), Path("/logs"))


def test_options_of_a_job_with_gpus_and_without():
    chosen = options(gpu=2, nodes=2, mem_mb=5000, runtime=600, slurm_partition="gpu")
    assert {"--gpus-per-node=2", "--nodes=2", "--mem=5000", "--time=600", "--partition=gpu"} <= set(chosen)
    assert {"--requeue", "--job-name=s/finetune/a", "--signal=B:TERM@120"} <= set(chosen)
    assert not any("gpus" in option for option in options(runtime=5)) and "--signal=B:TERM@30" in options(runtime=5)
    assert "--mem=120000" in options(mem_mb=10**6)  # of a group, Snakemake adds up what its jobs need


def test_a_refusal_names_the_key_to_edit_and_says_gpus():
    asked = {"gpu": 8, "mem_mb": 64_000, "runtime": 60, "slurm_partition": "gpu"}
    line = lines.refusal("Requested node configuration is not available", "site.yaml", asked, 8)
    assert "8 GPUs, 8 cores, 64 GB" in line and "correct gpu.memory_gb, gpu.cores or gpu.gpus in site.yaml" in line
    line = lines.refusal("invalid partition specified: gpus", "site.yaml", {"slurm_partition": "gpus"}, 1)
    assert "correct cpu.partition in site.yaml" in line


def run_script(tmp_path, command: str, **popen) -> subprocess.Popen:
    text = script.script(command, site(environment={"HF_HOME": "/a b"}, setup="export LOADED=yes"), tmp_path)
    return subprocess.Popen(
        ["bash", "-c", text], env={"SLURM_JOB_ID": "5", "PATH": "/usr/bin:/bin"}, start_new_session=True, **popen
    )


def test_a_job_leaves_its_exit_status_and_has_its_environment(tmp_path):
    (tmp_path / "5").write_text("0")  # of an earlier start of the same job
    process = run_script(
        tmp_path, 'echo "$LOADED $HF_HOME"; cat 5 2>&1; exit 3', stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    printed, _ = process.communicate(timeout=60)
    assert printed.splitlines()[0] == "yes /a b" and "No such file" in printed
    assert process.returncode == 3 and (tmp_path / "5").read_text() == "3\n"


def test_a_job_that_is_asked_to_stop_may_finish(tmp_path):
    """The signal goes to the shell of the script alone, as `--signal=B:TERM` sends it."""
    save = "trap 'sleep 0.2; echo saved; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    process = run_script(tmp_path, f"bash -c {shlex.quote(save)}", stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.communicate(timeout=60)[0] == "saved\n"
    assert process.returncode == 7 and (tmp_path / "5").read_text() == "7\n"


def test_the_last_line_of_a_log_counts_only_if_it_is_new(tmp_path):
    log = tmp_path / "x.log"
    log.write_text("first\nretscale fit: error: no points\n\n")
    written = log.stat().st_mtime
    assert lines.last_line(log, written - 1) == "retscale fit: error: no points"
    assert lines.last_line(log, written + 1) == "" == lines.last_line(tmp_path / "none.log", 0)

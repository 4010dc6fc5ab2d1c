"""What a user may ask of a fresh clone without running anything."""

import time

import pytest


def test_the_default_study_is_mini(clone):
    plan = clone.run("snakemake", "-n", "--quiet", "rules").stdout
    assert "results/mini" in clone.run("snakemake", "-n", "--summary").stdout and "finetune" in plan


@pytest.mark.parametrize("study", ["mini", "smoke", "smollm2", "portes2025", "open-ladders"])
def test_every_study_plans(clone, study):
    plan = clone.plan(study=f"config/{study}.yaml")
    assert plan["report"] == 1 and plan["figure"] >= 4 and plan["finetune"] >= plan["checkpoint"]
    assert plan["collect"] == plan["fit"] == plan["pairs"] == plan["mine"] == 1


def test_the_slurm_profile_plans_with_a_gpu_for_training(clone):
    done = clone.run(
        "snakemake", "--profile", "slurm", "-n", "--configfile", "config/open-ladders.yaml", "--quiet", "rules"
    )
    assert "finetune" in done.stdout
    verbose = clone.run(
        "snakemake", "--profile", "slurm", "-n", "--configfile", "config/open-ladders.yaml", "--until", "finetune"
    ).stdout
    job = verbose[verbose.index("rule finetune:") :].split("\n[")[0]
    assert "gpu=1" in job and "slurm_partition=gpu" in job and "profiles/slurm/accelerate.yaml" in job


def test_the_slurm_profile_gives_every_evaluation_a_gpu(clone):
    """A huge corpus is a rule of its own, so the profile must name each."""
    plan = clone.run("snakemake", "--profile", "slurm", "-n", "--configfile", "config/open-ladders.yaml").stdout
    jobs = [job for job in plan.split("\n[") if "\nrule evaluate_" in job]
    assert len(jobs) == 140
    assert [job.splitlines()[1] for job in jobs if "gpu=1" not in job] == []


def test_planning_takes_seconds(clone):
    clone.plan(study="config/mini.yaml")  # reads the files once
    start = time.process_time(), time.monotonic()
    clone.plan(study="config/mini.yaml")
    assert time.monotonic() - start[1] < 15  # a bound against importing torch here, not a benchmark


def test_the_driver_imports_nothing_heavy(clone):
    script = "import sys; from retscale.study import load, specs; import retscale.provenance.code, retscale.cli; " \
        "print([name for name in ('torch', 'transformers', 'mteb', 'datasets', 'scipy', 'pandas', 'matplotlib') if name in sys.modules])"  # fmt: skip
    assert clone.run("python", "-c", script).stdout.strip() == "[]"


def test_lint(clone):
    assert "good condition" in (done := clone.run("snakemake", "--lint")).stdout + done.stderr


def test_a_bad_study_stops_before_any_job(clone):
    clone.edit("config/smoke.yaml", "pairs: {use: boolq", "pares: {use: boolq")
    done = clone.run("snakemake", "-n", "--configfile", "config/smoke.yaml", status=None)
    assert done.returncode != 0
    assert "config/smoke.yaml: pares: unknown key; did you mean 'pairs'?" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (clone.folder / "results").exists()


def test_check_says_what_would_run(clone):
    assert "evaluations  8 of 4 encoders in 4 jobs" in clone.run("retscale", "check", "config/smoke.yaml").stdout


def test_help_shows_examples(clone):
    assert "retscale audit results/mini/figure/1b.png" in clone.run("retscale", "--help").stdout

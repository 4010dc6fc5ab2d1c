"""What a user may ask of a fresh clone without running anything."""

import re

import pytest
from conftest import counts


def test_the_default_study_is_mini(clone):
    plan = clone.run("snakemake", "-n", "-p").stdout
    assert "results/mini/report.html" in plan and "finetune" in counts(plan)


@pytest.mark.parametrize("study, figures", [("mini", 13), ("smoke", 11), ("smollm2", 5)])
def test_every_study_plans(dry_run, study, figures):
    plan = counts(dry_run(study))
    assert plan["report"] == 1 and plan["figure"] == figures and plan["finetune"] >= plan["checkpoint"]
    assert plan["collect"] == plan["fit"] == plan["pairs"] == plan["mine"] == 1
    assert "items" not in plan  # wheels are read in place
    encoders = 1 if study == "smoke" else 0  # which continue no text
    assert plan["icl"] == plan["checkpoint"] - encoders


@pytest.mark.parametrize(
    "study, planned",
    [
        ("mini", {"evaluate_small": 6, "evaluate_small_after_20_60": 16}),
        ("smoke", {"evaluate_small": 4, "evaluate_small_after_8": 1}),
        ("smollm2", {"evaluate_small": 1}),
    ],
)
def test_kept_encoders_are_evaluated_with_the_last_one(dry_run, study, planned):
    plan = counts(dry_run(study))
    assert {rule: count for rule, count in plan.items() if rule.startswith("evaluate")} == planned
    assert sum(planned.values()) == plan["finetune"]


ONE_DATA_SET = "pairs: {use: boolq, max_pairs: 1000}"
TWO_DATA_SETS = "pairs: [{use: boolq, max_pairs: 1000}, {use: boolq, id: also, max_pairs: 500, seed: 1}]"


def test_each_training_data_set_has_its_own_jobs_and_each_recipe_its_own_data_sets(clone):
    clone.edit("config/smoke.yaml", ONE_DATA_SET, TWO_DATA_SETS)
    clone.edit("config/smoke.yaml", "{use: microbatch-mini,", "{use: microbatch-mini, weights: {boolq: 1},")
    text = clone.run("snakemake", "-n", "-p", "--configfile", "config/smoke.yaml").stdout
    plan = counts(text)
    assert plan["pairs"] == plan["mine"] == 2 and plan["finetune"] == 5 and plan["report"] == 1
    names = {"own-mini": ["also", "boolq"], "microbatch-mini": ["boolq"]}
    for recipe, used in names.items():
        files = " ".join(f"results/smoke/pairs/{name}/pairs.json" for name in used)
        mined = " ".join(f"results/smoke/mine/{name}/negatives.parquet" for name in used)
        tokens = " ".join(f"results/smoke/tokens/d24/{recipe}/training/{name}.json" for name in used)
        job = (
            f" --pairs {files} --negatives {mined} --tokens {tokens} "
            f"--out results/smoke/finetune/d24/{recipe}/encoder.json\n"
        )
        assert text.count(job) == 1, job
    for name in ("also", "boolq"):
        assert f"attempt logs/smoke/pairs/{name}.log; " in text and f"attempt logs/smoke/mine/{name}.log; " in text
        assert (
            f" --pairs results/smoke/pairs/{name}/pairs.json --encoder  --guide  --out results/smoke/mine/{name}/neg"
            in text
        )
    files, mined = (
        " ".join(f"results/smoke/{stage}/{name}/{file}" for name in ("boolq", "also"))
        for stage, file in (("pairs", "pairs.json"), ("mine", "negatives.parquet"))
    )
    assert f" --pairs {files} --negatives {mined} --tasks " in text


def test_a_data_set_added_trains_only_the_recipes_that_use_it(clone):
    clone.edit("config/smoke.yaml", "{use: own-mini,", "{use: own-mini, weights: {boolq: 1},")
    clone.pretend()
    assert clone.plan() == {}
    clone.edit("config/smoke.yaml", ONE_DATA_SET, TWO_DATA_SETS)
    assert clone.plan() == {
        "pairs": 1,
        "mine": 1,
        "tokens": 1,
        "finetune": 1,
        "evaluate_small_after_8": 1,
        "leakage": 1,
        "collect": 1,
        "fit": 1,
        "figure": 11,
        "report": 1,
    }


def test_data_sets_in_another_order_change_nothing(clone):
    clone.edit("config/smoke.yaml", ONE_DATA_SET, "pairs: [boolq, {use: boolq, id: also, max_pairs: 500}]")
    clone.pretend()
    assert clone.plan() == {}
    clone.edit(
        "config/smoke.yaml",
        "[boolq, {use: boolq, id: also, max_pairs: 500}]",
        "[{use: boolq, id: also, max_pairs: 500}, boolq]",
    )
    assert clone.plan() == {}


SLURM = ("--profile", "slurm")


def test_the_slurm_profile_plans_with_a_gpu_for_training(dry_run):
    jobs = [job for job in dry_run("open-ladders", *SLURM).split("\n[") if "\nrule finetune:" in job]
    assert len(jobs) == 95
    # Snakemake prints the jobs of a rule in no order, and the large checkpoints need several GPUs.
    assert [job.splitlines()[1] for job in jobs if "slurm_partition=gpu" not in job or "gpu=0" in job] == []
    (small,) = [job for job in jobs if "/finetune/pythia-160m/" in job]
    assert "gpu=1," in small


def test_the_slurm_profile_gives_every_evaluation_a_gpu(dry_run):
    jobs = [job for job in dry_run("open-ladders", *SLURM).split("\n[") if "\nrule evaluate_" in job]
    assert len(jobs) == 95 * 6  # every checkpoint, the small tasks and five huge corpora
    assert [job.splitlines()[1] for job in jobs if "gpu=1" not in job] == []


def test_the_slurm_profile_gives_kept_encoders_a_gpu(dry_run):
    jobs = [
        job for job in dry_run("luo2024", *SLURM).split("\n[") if "\nrule evaluate_msmarco_after_100_400_1500" in job
    ]
    assert len(jobs) == 16 and all("gpu=1" in job for job in jobs)


HEAVY = {"torch", "transformers", "mteb", "datasets", "scipy", "pandas", "matplotlib"}


def test_the_driver_imports_nothing_heavy(clone):
    script = "from retscale.study import check, load, specs; import sys, retscale.provenance.code, retscale.cli; print(*sys.modules)"
    imported = set(clone.run("python", "-c", script).stdout.split())
    assert "retscale.cli" in imported and not imported & HEAVY


@pytest.mark.parametrize("study", ["mini", "portes2025"])
def test_a_dry_run_imports_nothing_heavy(clone, study):
    """What the Snakefile and the rules import counts as well."""
    options = ["-X", "importtime", "-m", "snakemake", "-n", "--configfile", f"config/{study}.yaml"]
    imported = set(re.findall(r"\| +([\w.]+)$", clone.run("python", *options).stderr, re.M))
    assert {"retscale.study.load", "retscale.provenance.code"} <= imported and not imported & HEAVY - {"pandas"}


TIMED = (("log", "log"), ("benchmark", "tsv"))


def test_lint(clone):
    done = clone.run("snakemake", "--lint", status=1)
    lints = set(re.findall(r"^    \* (.*):$", done.stdout + done.stderr, re.M))
    # One environment (envs/) serves all rules and Snakemake itself, so no rule names one of its own.
    assert lints == {"Specify a conda environment or container for each rule."}


def test_every_job_is_timed_beside_its_log(dry_run):
    plan = dry_run("smoke")
    logs, timed = (re.findall(rf"^    {key}: (.*)\.{ending}$", plan, re.M) for key, ending in TIMED)
    assert logs == timed and len(logs) == sum(counts(plan).values())


@pytest.mark.parametrize("study, profile", [("mini", "local"), ("luo2024", "slurm")])
def test_a_dry_run_counts_the_jobs_and_lists_them_if_asked(clone, dry_run, study, profile):
    summary = clone.run("snakemake", "-n", "--profile", profile, "--configfile", f"config/{study}.yaml").stdout
    assert (
        len(summary.splitlines()) < 35 + len(counts(summary))
        and "snakemake -n -p" in summary
        and summary.count("\nJob stats:") == 1
    )
    listed = dry_run(study, "--profile", profile)
    assert len(re.findall("^rule finetune:", listed, re.M)) == counts(summary)["finetune"]


def test_a_bad_study_stops_before_any_job(clone):
    clone.edit("config/smoke.yaml", "pairs: {use: boolq", "pares: {use: boolq")
    done = clone.run("snakemake", "-n", "--configfile", "config/smoke.yaml", status=None)
    assert done.returncode != 0
    assert "config/smoke.yaml: pares: unknown key; did you mean 'pairs'?" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (clone.folder / "results").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--config", "seed=7", "--configfile", "config/smoke.yaml"),
        ("--config", "seed=7"),
        ("--configfile", "config/mini.yaml", "config/smoke.yaml"),
        ("--configfile", "config/mini.yaml", "--configfile=config/smoke.yaml"),
        ("--profile", "mine", "--configfile", "config/smoke.yaml"),
    ],
)
def test_a_study_is_one_file(clone, options):
    """Keys given beside it would be taken by Snakemake and used by nobody."""
    (clone.folder / "mine").mkdir()
    (clone.folder / "mine/config.yaml").write_text("config: [seed=7]\n")
    done = clone.run("snakemake", "-n", *options, status=1)
    text = done.stdout + done.stderr
    assert "a study is one file: give one --configfile and no --config" in text and "Traceback" not in text


def test_a_broken_published_table_stops_a_run_before_any_job(clone):
    """Its own job runs near the end of a study. A dry run may plan with it."""
    study = clone.folder / "config/smoke.yaml"
    study.write_text(study.read_text() + "external: [{table: a.csv, source: s}, {table: b.csv, source: s}]\n")
    wrong = {50.1: "b.csv, line 2: the value 50.1 lies outside 0 to 1", 0.1: "b.csv, line 2: x has a second value"}
    for value, message in wrong.items():
        for name, number in {"a": 0.5, "b": value}.items():
            (clone.folder / f"{name}.csv").write_text(f"model,task,ndcg_at_10\nx,consumer-contracts,{number}\n")
        assert clone.plan()["external"] == 1
        target = "results/smoke/pairs/boolq/pairs.json"
        done = clone.run("snakemake", target, "--cores", "1", "--configfile", "config/smoke.yaml", status=1)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if message in line]
        assert len(lines) == 1 and "Traceback" not in done.stdout + done.stderr
        assert not (clone.folder / "results").exists()
        assert message in clone.run("retscale", "check", "config/smoke.yaml", status=1).stderr


def test_check_says_what_would_run(clone):
    text = clone.run("retscale", "check", "config/smoke.yaml").stdout
    assert (
        "evaluations  10 of 5 encoders in 5 jobs\ncurves       2 of 1 kept encoder, in the jobs of the last ones\n"
        "lengths      10 evaluations at 128 tokens, in the jobs of the encoder's own\n" in text
    )


def test_help_shows_examples(clone):
    assert "retscale audit results/mini/figure/1b.png" in clone.run("retscale", "--help").stdout

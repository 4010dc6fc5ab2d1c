"""The studies of a cluster: what a dry run counts, against the grids that they name, counted here by hand."""

import re

import pytest
from conftest import counts

# Table 2 of Portes et al. 2025, cells a size: 125M, 350M, 760M, 1B, 3B, 7B; and its two references.
PORTES = 8 + 5 + 4 + 3 + 5 + 2 + 2
# Cerebras-GPT; Pythia's steps by size, 14M to 12B, and their ends; OLMo-2's and their ends; SmolLM2's and their ends.
OPEN = 7 + (8 + 7 + 6 + 6 + 5 + 4 + 3 + 3 + 1 + 1) + 10 + (7 + 5 + 4 + 3) + 4 + (2 + 2 + 4) + 3
# Phi 2, Gemma 2, Llama 3, Qwen1.5 4, BERT 2, T5 3.
LUO = 2 + 2 + 3 + 4 + 2 + 3

HUGE = {"dbpedia", "fever", "hotpotqa", "msmarco", "nq"}  # corpora of millions; Climate-FEVER has FEVER's
GAUNTLET = 31 + 8


@pytest.mark.parametrize(
    ("study", "checkpoints", "items"),
    [("portes2025", PORTES, GAUNTLET), ("open-ladders", OPEN, GAUNTLET)],
)
def test_a_study_of_a_cluster_plans_as_many_jobs_as_it_says(dry_run, study, checkpoints, items):
    plan = counts(dry_run(study, "--profile", "slurm"))
    each = ["checkpoint", "tokens", "finetune"]
    each += [f"{stage}_{batch}" for stage in ("tokens", "evaluate") for batch in ("small", *HUGE)]
    once = ["pairs", "mine", "leakage", "collect", "fit", "report"]
    expected = dict.fromkeys(each, checkpoints) | dict.fromkeys(once, 1) | {"figure": 12}  # no ablation, nothing kept
    expected |= {"items": items, "icl": checkpoints}
    if study != "open-ladders":
        expected |= {f"reference_{batch}": 1 for batch in ("small", *HUGE)}  # BM25
    tasks = plan.pop("task")
    assert plan == expected
    assert tasks >= 14


def test_the_six_dimensions_plan_as_many_jobs_as_they_are(dry_run):
    """Each backbone once on MS MARCO; four of them with instructions, on a mixture, and on its other part."""
    plan = counts(dry_run("luo2024", "--profile", "slurm"))
    trained = LUO + 3 * 4
    by_stage: dict[str, int] = {}
    for rule, count in plan.items():
        by_stage[rule.partition("_")[0]] = by_stage.get(rule.partition("_")[0], 0) + count
    # MS MARCO with TREC-DL, BEIR with and without instructions, CQADupstack's forums, FollowIR with and without,
    # InstructIR, and LongEmbed's four.
    tasks = 3 + 2 * 13 + 12 + 2 * 3 + 1 + 4
    once = ["leakage", "collect", "fit", "external", "report"]
    expected = dict.fromkeys(once, 1) | {"checkpoint": LUO, "pairs": 2, "mine": 2, "task": tasks, "figure": 16}
    expected |= {
        "reference": 1 + len(HUGE),  # BM25
        "finetune": trained,
        "evaluate": trained * (1 + len(HUGE)),
        "tokens": trained * (1 + len(HUGE)) + trained + 4,
    }
    assert by_stage == expected
    assert plan["evaluate_msmarco_after_100_400_1500"] == LUO  # with those kept on the way
    # BERT; Phi; Llama 2 and T5; Gemma and Llama 3; Qwen: each up to its own length, in the jobs of the small tasks.
    lengths = [512, 1024, 2048, 4096, 8192, 16384, 32768]
    at = {count: f"evaluate_small_at_{'_'.join(map(str, lengths[:count]))}" for count in (1, 3, 4, 5, 7)}
    assert [plan[name] for name in at.values()] == [2, 2, 5, 3, 4] and plan["evaluate_small"] == 3 * 4


def test_weights_that_nobody_published_stop_a_run_with_one_line_and_no_plan(clone):
    done = clone.run("snakemake", "--cores", "1", "--configfile", "config/portes2025.yaml", status=1)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "checkpoints wait for missing files" in line]
    assert len(lines) == 1 and "such as models/mpt-125m-tpr20 of mpt-125m-tpr20" in lines[0]
    assert "under `checkpoints`" in lines[0] and "`only`" in lines[0] and "models/mpt-7b-tpr285" in lines[0]
    assert "Traceback" not in done.stdout + done.stderr and not (clone.folder / "results").exists()
    done = clone.run("retscale", "check", "config/portes2025.yaml", status=1)
    assert f"{PORTES} encoders" in done.stdout and lines[0].partition(": ")[2] in done.stderr
    assert done.stderr.count("\n") == 1


def test_only_runs_what_is_there(clone):
    model = clone.folder / "models" / "mpt-125m-tpr20"
    model.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (model / name).touch()
    path = clone.folder / "config" / "portes2025.yaml"
    path.write_text(path.read_text() + "only: [mpt-125m-tpr20, mistral-7b]\n")
    plan = clone.plan(study="config/portes2025.yaml")
    assert plan["checkpoint"] == plan["finetune"] == plan["icl"] == plan["evaluate_nq"] == 2
    text = clone.run("retscale", "check", "config/portes2025.yaml").stdout
    assert re.search(r"^checkpoints  2: mpt-125m-tpr20, mistral-7b$", text, re.M)

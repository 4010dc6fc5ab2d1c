"""What a change makes run again: the jobs that a dry run counts after the smoke study is finished."""

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest

ENCODERS = 5
FIGURES = 11


def test_nothing_changed(finished):
    assert finished.plan() == {}


def test_every_file_touched(finished):
    """In random order, so that many a result looks older than what it was made from."""
    files = [path for path in sorted(finished.folder.rglob("*")) if path.is_file()]
    random.Random(0).shuffle(files)
    for age, path in enumerate(files, int(time.time()) - len(files)):
        os.utime(path, (age, age))
    assert finished.plan() == {}


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("workflow/retscale/finetune/loss.py", '"""', '"""New words. '),
        ("workflow/retscale/fit/trend.py", "\n\n\ndef ", "\n\n\n# a comment\ndef "),
    ],
)
def test_a_comment_or_docstring_edited(finished, file, old, new):
    path = finished.folder / file
    path.write_text(path.read_text().replace(old, new, 1))
    assert finished.plan() == {}


def test_a_checkpoint_added(finished):
    line = "  - {id: d24-long,"
    text = (finished.folder / "config/smoke.yaml").read_text()
    row = next(row for row in text.splitlines() if row.startswith(line))
    finished.edit(
        "config/smoke.yaml", row, row + "\n" + row.replace("d24-long", "d24-longer").replace("131072", "163840")
    )
    assert finished.plan() == {
        "checkpoint": 1,
        "tokens": 1,
        "tokens_small": 1,
        "finetune": 1,
        "evaluate_small": 1,
        "icl": 1,
        "collect": 1,
        "fit": 1,
        "figure": FIGURES,
        "report": 1,
    }


def test_a_recipe_changed(finished):
    finished.edit("config/smoke.yaml", "{use: microbatch-mini,", "{use: microbatch-mini, temperature: 0.1,")
    assert finished.plan() == {
        "finetune": 1,
        "evaluate_small_after_8": 1,
        "collect": 1,
        "fit": 1,
        "figure": FIGURES,
        "report": 1,
    }


DATA = "{use: boolq, max_pairs: 1000}"


def test_a_training_data_set_added(finished):
    """Both recipes take all there are."""
    finished.edit("config/smoke.yaml", DATA, f"[{DATA}, {{use: boolq, id: also, max_pairs: 500, seed: 1}}]")
    assert finished.plan() == {
        "pairs": 1,
        "mine": 1,
        "tokens": ENCODERS,
        "finetune": ENCODERS,
        "evaluate_small": ENCODERS - 1,
        "evaluate_small_after_8": 1,
        "leakage": 1,
        "collect": 1,
        "fit": 1,
        "figure": FIGURES,
        "report": 1,
    }


def test_a_training_data_set_added_that_no_recipe_names(finished):
    for recipe in ("own-mini", "microbatch-mini"):
        finished.edit("config/smoke.yaml", f"{{use: {recipe},", f"{{use: {recipe}, weights: {{boolq: 1}},")
    assert finished.plan()["finetune"] == ENCODERS
    finished.run("snakemake", "--touch", "--cores", "1", "--configfile", "config/smoke.yaml")
    assert finished.plan() == {}
    finished.edit("config/smoke.yaml", DATA, f"[{DATA}, {{use: boolq, id: also, max_pairs: 500, seed: 1}}]")
    assert finished.plan() == {"pairs": 1, "leakage": 1, "report": 1}


def test_a_colour_of_one_figure_changed(finished):
    finished.edit(
        "config/smoke.yaml",
        "fit: {}",
        "fit: {}\nfigures: {1a: {}, 1b: {}, 2: {}, 3: {}, ablation: {accent: '#aa0000'}, curves: {}, training: {}}",
    )
    assert finished.plan() == {"figure": 1, "report": 1}


def test_a_module_of_the_analysis_edited(finished):
    path = finished.folder / "workflow/retscale/fit/trend.py"
    path.write_text(path.read_text() + "\n\nADDED = 1\n")
    assert finished.plan() == {"fit": 1, "figure": FIGURES, "report": 1}


def test_one_evaluation_deleted_is_made_again_and_only_it(finished):
    folder = finished.folder / "results/smoke/evaluate/d24/own-mini"
    kept, lost = folder / "fiqa.json", folder / "consumer-contracts.json"
    before = kept.read_bytes(), kept.with_name("fiqa.record.json").read_bytes(), lost.read_bytes()
    lost.unlink()
    assert finished.plan()["evaluate_small"] == 1
    finished.snakemake("--until", "evaluate_small")
    assert (kept.read_bytes(), kept.with_name("fiqa.record.json").read_bytes(), lost.read_bytes()) == before
    assert finished.plan() in ({}, {"collect": 1, "fit": 1, "figure": FIGURES, "report": 1})


def test_a_task_added_redoes_no_finished_task(finished):
    finished.edit(
        "config/smoke.yaml", "tasks: [fiqa, consumer-contracts]", "tasks: [fiqa, consumer-contracts, privacy-policy]"
    )
    folder = finished.folder / "results/smoke/evaluate/d24/own-mini"
    before = (folder / "fiqa.record.json").read_bytes()
    plan = finished.plan()
    assert plan["task"] == plan["leakage"] == plan["evaluate_small_after_8"] == 1
    assert plan["evaluate_small"] == ENCODERS - 1 and plan["tokens_small"] == ENCODERS
    assert not {"pairs", "mine", "finetune", "checkpoint", "tokens"} & plan.keys()
    finished.snakemake("results/smoke/evaluate/d24/own-mini/privacy-policy.json")
    assert (folder / "fiqa.record.json").read_bytes() == before
    assert (folder / "privacy-policy.json").exists()


def without_digests(path: Path) -> dict:
    """A record but for the digests of the records behind it."""
    content = json.loads(path.read_text())
    for row in content["inputs"]:
        row.pop("digest")
    return content


def test_a_step_kept_costs_the_training_and_its_evaluations(finished):
    """Weights cannot be had afterwards, so the recipe runs again; of its encoders only the new one is evaluated."""
    before = (finished.folder / "results/smoke/finetune/d24/microbatch-mini/step-8/model.safetensors").read_bytes()
    scores = finished.folder / "results/smoke/evaluate/d24/microbatch-mini"
    records = {path: without_digests(path) for path in scores.rglob("*.record.json")}
    finished.edit("config/smoke.yaml", "keep: [8]", "keep: [4, 8]")
    plan = finished.plan()
    assert plan == {
        "finetune": 1,
        "evaluate_small_after_4_8": 1,
        "collect": 1,
        "fit": 1,
        "figure": FIGURES,
        "report": 1,
    }
    finished.snakemake("results/smoke/evaluate/d24/microbatch-mini/step-4/fiqa.json")
    folder = finished.folder / "results/smoke/finetune/d24/microbatch-mini"
    assert (folder / "step-8/model.safetensors").read_bytes() == before
    assert (folder / "step-4/model.safetensors").read_bytes() != before
    # They were not made again, but name the record of the new training.
    assert {path: without_digests(path) for path in records} == records
    assert {path.parent.name for path in scores.rglob("*.record.json")} == {
        "microbatch-mini",
        "length-128",
        "step-4",
        "step-8",
    }


def test_tasks_of_learning_curves_chosen(finished):
    finished.edit("config/smoke.yaml", "\nicl:", "\ncurve_tasks: [fiqa]\nicl:")
    plan = finished.plan()
    assert "finetune" not in plan and "evaluate_small" not in plan and plan["collect"] == 1
    finished.edit("config/smoke.yaml", "curve_tasks: [fiqa]", "curve_tasks: [fiqua]")
    assert "did you mean 'fiqa'?" in finished.run("retscale", "check", "config/smoke.yaml", status=1).stderr


def test_a_label_changed_costs_only_the_tables(finished):
    text = (finished.folder / "config/smoke.yaml").read_text()
    (finished.folder / "config/smoke.yaml").write_text(text.replace("size: 0.06M,", "size: 0.056M,"))
    assert finished.plan() == {"collect": 1, "fit": 1, "figure": FIGURES, "report": 1}


def test_results_of_another_study_do_not_interfere(finished):
    shutil.copy(finished.folder / "config/smoke.yaml", finished.folder / "config/other.yaml")
    finished.edit("config/other.yaml", "name: smoke", "name: other")
    assert finished.plan(study="config/other.yaml")["checkpoint"] == 4

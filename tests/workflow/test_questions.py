"""The studies of open questions: short files over one base, whose plans count as their grids do, by hand."""

from collections import Counter
from pathlib import Path

import pytest
from conftest import counts

from retscale import cli
from retscale.plan.jobs import jobs
from retscale.study import load

CONFIG = Path(__file__).resolve().parents[2] / "config"
QUESTIONS = CONFIG / "questions"
# Checkpoints, and tasks to fetch.
GRIDS = {
    "air-bench": (7 + 10, 1),
    "alignment": (3 * 4 + 2 * 2 + 4 * 2, 10),
    "beyond-7b": (3 + 3 + 3 + 3 + 2 + 4 + 3, 10),
    "bright": (7 + 10 + 5, 12),
    "cross-lingual": (7 + 5 + 3, 8),
    "long-embed": (3 + 3 + 3 + 5, 4 + 2 * 8),
    "size-or-tokens": (7 * 5, 14 + 12),
}


def test_every_question_is_counted_here():
    assert {path.stem for path in QUESTIONS.glob("*.yaml")} == {*GRIDS, "shared"}


@pytest.mark.parametrize("name", GRIDS)
def test_a_question_is_a_few_lines_and_plans_its_grid(name, monkeypatch, capsys):
    monkeypatch.chdir(CONFIG.parent)
    file = QUESTIONS / f"{name}.yaml"
    assert len(file.read_text().splitlines()) <= 25
    study = load.study(file)
    assert study.name == name and study.written.base == QUESTIONS / "shared.yaml"
    checkpoints, tasks = GRIDS[name]
    planned = Counter(job.stage for job in jobs(study))
    figures = planned.pop("figure")
    each = dict.fromkeys(("checkpoint", "finetune", "evaluate"), checkpoints) | {"tokens": 2 * checkpoints}
    once = dict.fromkeys(("pairs", "mine", "leakage", "collect", "fit", "report"), 1)
    assert planned == each | once | {"task": tasks} and figures >= 7
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    status, printed = cli.main(["check", str(file)]), capsys.readouterr()
    assert f"base         {QUESTIONS / 'shared.yaml'}: " in printed.out
    waits = "1 of 1 task waits for missing files, such as data/air-bench of air-bench; put them there"
    assert (status, waits in printed.err) == ((1, True) if name == "air-bench" else (0, False))


@pytest.mark.slow
def test_snakemake_takes_a_file_with_a_base(clone):
    plan = clone.plan(study="config/questions/cross-lingual.yaml")
    checkpoints, tasks = GRIDS["cross-lingual"]
    assert (plan["finetune"], plan["evaluate_small"], plan["task"]) == (checkpoints, checkpoints, tasks)


@pytest.mark.slow
def test_ettins_grid(dry_run):
    """12 models at seven points, 12 that changed their objective, and the ends of the six decoders again."""
    plan = counts(dry_run("ettin", "--profile", "slurm"))
    checkpoints, encoders = 12 * 7 + 12, 12 * 7 + 12 + 6
    assert (plan["checkpoint"], plan["finetune"], plan["evaluate_small"]) == (checkpoints, encoders, encoders)
    assert plan["task"] == 10 and plan["fit"] == plan["report"] == 1

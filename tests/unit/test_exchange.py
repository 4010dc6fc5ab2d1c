"""What is written for other tools, read by those tools and by ourselves: mteb's results, a model card."""

import json
from pathlib import Path

import pandas as pd
import pytest
from artifacts import encoder
from huggingface_hub import ModelCard

mteb = pytest.importorskip("mteb")
from mteb.cache import ResultCache

from retscale import cli
from retscale.collect.summary import CollectSummary
from retscale.common.tables import read_table, write_tables
from retscale.encoder.card import Trained
from retscale.evaluate.metrics import STANDARD
from retscale.exchange.card import Described, card
from retscale.exchange.export import export
from retscale.exchange.mteb_files import UNKNOWN, mteb_task
from retscale.external import run as external
from retscale.external.config import Published
from retscale.external.mteb_results import read_results
from retscale.provenance import record
from retscale.study import load, names, source_files, specs
from retscale.task.config import Pool, RetrievalTask

ROOT = Path(__file__).resolve().parents[2]
STUDY = """
name: x
title: "A title: with a colon"
description: d
deviations: []
seed: 1
precision: fp32
checkpoints: [cerebras-gpt-111m, llama-2-7b]
pairs: msmarco
mine: {method: given, negatives: 15}
recipes: [{use: portes2025, id: r}]
tasks: [scifact, nano-nq, {use: nfcorpus, max_queries: 10}]
fit: {}
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study whose tables and encoders have been made, after a fashion, below the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "x.yaml").write_text(STUDY)
    study = load.study(Path("x.yaml"))
    rows = []
    for number, checkpoint in enumerate(study.checkpoints):
        folder = Path("results/x/finetune") / checkpoint / "r"
        folder.mkdir(parents=True)
        (folder / "encoder.json").write_text(json.dumps(encoder(checkpoint=checkpoint)))
        made = record.make("finetune", {"n": number}, "", [], folder, ["encoder.json"], None, 0.0)
        record.write(folder / "encoder.record.json", made)
        rows += [
            {"checkpoint": checkpoint, "recipe": "r", "task": task, "metric": metric, "value": (at + number) / 70}
            for at, (task, metric) in enumerate((task, metric) for task in study.tasks for metric in STANDARD)
        ]
    out = Path("results/x/collect")
    out.mkdir()
    about = {"study": "x", "headline": {}, "recipes": ["r"], "main_recipe": "r", "rows": {}}
    write_tables(out / "collect.json", CollectSummary, {"scores": pd.DataFrame(rows)}, about)
    return study


def values(tmp_path) -> dict:
    """Of the study's table."""
    table = pd.read_parquet(tmp_path / "results/x/collect/scores.parquet")
    return {tuple(key): value for *key, value in table.drop(columns="recipe").itertuples(index=False)}


def test_mteb_reads_the_scores_by_model_and_revision(study, tmp_path, capsys):
    assert cli.main(["export", "x.yaml", "--format", "mteb", "--out", "shared"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "shared/results: 2 models, 3 tasks",
        "not as mteb has them, so under their ids and of revision unknown: nfcorpus",
    ]
    expected = values(tmp_path)
    loaded = ResultCache(tmp_path / "shared").load_results(include_remote=False)
    assert {model.model_name for model in loaded} == {f"retscale/{checkpoint}-r" for checkpoint in study.checkpoints}
    for model in loaded:
        checkpoint = model.model_name.removeprefix("retscale/").removesuffix("-r")
        made = record.read(tmp_path / "results/x/finetune" / checkpoint / "r" / "encoder.json")
        assert model.model_revision == record.digest(made) and model.model_meta.n_parameters == 2
        about = {result.task_name: (result.dataset_revision, *result.scores) for result in model.task_results}
        scifact, nano = (study.tasks[id].source.revision for id in ("scifact", "nano-nq"))
        assert about == {
            "SciFact": (scifact, "test"),
            "NanoNQRetrieval": (nano, "train"),
            "nfcorpus": ("unknown", "test"),
        }
        main = {result.task_name: result.get_score() for result in model.task_results}
        ids = {"SciFact": "scifact", "NanoNQRetrieval": "nano-nq", "nfcorpus": "nfcorpus"}
        assert main == pytest.approx({name: expected[checkpoint, ids[name], "ndcg_at_10"] for name in main}, abs=6e-7)
        (scores,) = next(result for result in model.task_results if result.task_name == "SciFact").scores["test"]
        for metric in STANDARD:
            assert scores[metric] == pytest.approx(expected[checkpoint, "scifact", metric], abs=6e-7)
        assert scores["main_score"] == scores["ndcg_at_10"] and scores["languages"] == ["eng-Latn"]
    strict = ResultCache(tmp_path / "shared").load_results(
        tasks=[mteb.get_task("SciFact")], include_remote=False, validate_and_filter=True
    )
    assert [len(model.task_results) for model in strict] == [1, 1]
    table = strict.to_dataframe()
    assert table.iloc[0]["retscale/llama-2-7b-r"] == pytest.approx(
        expected["llama-2-7b", "scifact", "ndcg_at_10"], abs=6e-7
    )


def test_we_read_back_what_we_write(study, tmp_path):
    export(study, Path("results/x/collect/collect.json"), Path("shared"))
    settings = {"names": names.published(study), "splits": specs.splits(study), "columns": {}}
    published = Published(source="x", metric="ndcg_at_10", models=None, **settings)
    rows, elsewhere = read_results(sorted(Path("shared/results").rglob("*.json")), published)
    assert len(rows) == 6 and elsewhere == 0
    expected = values(tmp_path)
    for row in rows:
        checkpoint = row.model.removeprefix("retscale/").removesuffix("-r")
        assert row.value == pytest.approx(expected[checkpoint, row.task, "ndcg_at_10"], abs=6e-7)


def test_an_export_joins_a_study_as_points_of_others(study, tmp_path):
    export(study, Path("results/x/collect/collect.json"), Path("shared"))
    rows = [f"retscale/{checkpoint}-r,{number}e9,1e11" for number, checkpoint in enumerate(study.checkpoints, 1)]
    Path("models.csv").write_text("\n".join(["model,n_params,n_tokens", *rows]) + "\n")
    Path("y.yaml").write_text(f"{STUDY}external: {{results: shared/results, table: models.csv, source: x}}\n")
    other, out = load.study(Path("y.yaml")), Path("results/y/external/work")
    out.mkdir(parents=True)
    external.run(specs.external(other), {"tables": source_files.external(other)}, out)
    points, expected = read_table(out / "external.json", "external"), values(tmp_path)
    scores = points[points["task"] != "mean"]
    assert len(scores) == 6 and len(points) == 8  # with two means
    for row in scores.itertuples():
        checkpoint = row.model.removeprefix("retscale/").removesuffix("-r")
        assert row.y == pytest.approx(expected[checkpoint, row.task, "ndcg_at_10"], abs=6e-7)
    assert set(points["flops"]) == {6e20, 12e20}


def test_a_task_without_its_main_score_is_left_out_and_named(study):
    table = pd.read_parquet("results/x/collect/scores.parquet")
    lacking = table[(table["task"] != "scifact") | (table["metric"] != "ndcg_at_10")]
    about = json.loads(Path("results/x/collect/collect.json").read_text())
    write_tables(Path("results/x/collect/collect.json"), CollectSummary, {"scores": lacking}, about)
    lines = export(study, Path("results/x/collect/collect.json"), Path("shared"))
    assert lines[-1] == "left out for want of their main score: scifact (ndcg_at_10)"
    assert not list(Path("shared").rglob("SciFact.json"))


def test_a_cut_of_a_task_of_mteb_is_not_that_task():
    source = {"kind": "mteb", "name": "NFCorpus", "revision": "ec0fa4fe99da2ff19ca1214b7966684033a58814"}
    whole = RetrievalTask.model_validate({"source": source})
    cut = whole.model_copy(update={"cut_of": "nfcorpus", "pool": Pool(bm25=9)})
    assert mteb_task("nfcorpus", whole, "ndcg_at_10").revision == source["revision"]
    made = mteb_task("cut", cut, "ndcg_at_10")
    assert (made.name, made.revision) == ("cut", UNKNOWN)


def test_measures_that_mteb_counts_otherwise_are_left_out(study):
    wanted = study.file.evaluate.model_copy(update={"relevant": 2})
    object.__setattr__(study, "file", study.file.model_copy(update={"evaluate": wanted}))
    export(study, Path("results/x/collect/collect.json"), Path("shared"))
    (path, _) = sorted(Path("shared").rglob("SciFact.json"))
    assert {name for name in json.loads(path.read_text())["scores"]["test"][0] if "_at_" in name} == {"ndcg_at_10"}


@pytest.mark.parametrize(
    ("checkpoint", "licence"), [("cerebras-gpt-111m", ["apache-2.0"]), ("llama-2-7b", ["other", "Llama 2 community"])]
)
def test_the_hubs_own_class_reads_the_card(study, tmp_path, checkpoint, licence):
    scores = pd.DataFrame(
        [("scifact", 0.5, 0.41, 0.59, 300), ("mean", 0.45, None, None, 1000)],
        columns=["task", "y", "low", "high", "n_queries"],
    )
    made = Trained.model_validate(encoder(checkpoint=checkpoint))
    described = Described(study, made, "d" * 64, True, "ndcg_at_10", scores, 0.95)
    (tmp_path / "README.md").write_text(str(card(described)))
    read = ModelCard.load(tmp_path / "README.md")
    assert read.data.license == licence[0] and (read.data.license_name or "").startswith(
        licence[-1] * (len(licence) - 1)
    )
    assert read.data.base_model == study.checkpoints[checkpoint].source.repo
    assert read.data.datasets == ["sentence-transformers/msmarco-bm25"]
    (result,) = read.data.eval_results
    assert (result.dataset_type, result.metric_type, result.metric_value) == ("scifact", "ndcg_at_10", 0.5)
    for words in (
        "*A title: with a colon*",
        "- Parameters: 2 (1 without embeddings)",
        "- Fine-tuning: 45 steps on 1,440 pairs",
        f"`{'d' * 64}`",
        "| scifact | 0.500 [0.410, 0.590] | 300 |",
        "| mean | 0.450 | 1,000 |",
        "negatives: own",
        "| msmarco | Microsoft's terms, non-commercial research | MS MARCO",
        "SentenceTransformer(folder)",
    ):
        assert words in read.text, words
    assert "sees the whole text" not in read.text
    seeing = made.model_copy(update={"attention": "bidirectional"})
    text = str(card(Described(study, seeing, "d" * 64, False, "ndcg_at_10", scores, 0.95)))
    assert "sees the whole text, by `is_causal: false` of config.json, which transformers does not heed for mpt" in text


def test_an_encoder_that_the_study_does_not_train_is_refused(study, capsys):
    assert cli.main(["card", "llama/r", "x.yaml"]) == 1
    message = (
        "retscale card: error: the study trains no encoder 'llama/r'; it trains cerebras-gpt-111m/r, llama-2-7b/r\n"
    )
    assert capsys.readouterr().err == message

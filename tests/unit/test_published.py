"""A study of published results: its table of models, tables of scores and mteb's folders, and what it plans."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from retscale.collect import run as collect
from retscale.collect.config import Spec
from retscale.collect.summary import CollectSummary
from retscale.common.tables import read_table
from retscale.errors import UserError
from retscale.external.models import read_models
from retscale.plan.jobs import jobs
from retscale.study import load, overview, source_files, specs

CONFIG = Path(__file__).resolve().parents[2] / "config"
STUDY = CONFIG / "published.yaml"
# Published averages over BEIR's 14 tasks without MS MARCO, in percent (MTEB leaderboard; SGPT and GTR papers).
PUBLISHED_MEANS = {"SGPT-125M": 37.68, "SGPT-5.8B": 50.99, "GTR-base": 44.92, "GTR-xxl": 48.80}


@pytest.fixture
def study(monkeypatch):
    monkeypatch.chdir(CONFIG.parent)
    return load.study(STUDY)


def collected(spec: dict, models: Path, scores: list[Path], tmp_path: Path) -> dict[str, pd.DataFrame]:
    out = tmp_path / "study" / "collect" / "work"
    out.mkdir(parents=True)
    collect.run(spec, {"models": models, "published": scores}, out)
    return {name: read_table(out / "collect.json", name) for name in ("checkpoints", "scores", "per_query")} | {
        "summary": CollectSummary.read(out / "collect.json")
    }


def test_the_tables_have_the_published_averages(study, tmp_path):
    models, *scores = source_files.published(study)
    tables = collected(specs.collect(study), models, scores, tmp_path)
    rows = tables["scores"][tables["scores"]["task"].isin(tables["summary"].headline)]
    means = rows.groupby("checkpoint")["value"].mean()
    for model, mean in PUBLISHED_MEANS.items():
        assert round(100 * means[model], 2) == pytest.approx(mean, abs=0.011)
    assert (rows.groupby("checkpoint").size() == 14).all()
    assert list(tables["summary"].in_domain) == ["msmarco"]
    assert tables["per_query"].empty


def test_flops_are_6nd_and_unknown_where_tokens_are(study, tmp_path):
    models, *scores = source_files.published(study)
    checkpoints = collected(specs.collect(study), models, scores, tmp_path)["checkpoints"].set_index("checkpoint")
    known = checkpoints[checkpoints["n_tokens"].notna()]
    np.testing.assert_allclose(known["flops"], 6 * known["n_params"] * known["n_tokens"])
    unknown = checkpoints[checkpoints["n_tokens"].isna()]
    assert set(unknown["role"]) == {"external"} and unknown["flops"].isna().all()


def table(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def model(**changes) -> dict:
    row = {"model": "a", "family": "f", "size": "1B", "n_params": 1e9, "n_tokens": 1e11, "role": "fit", "evidence": "x"}
    return row | changes


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([model(), model()], "line 3: a has a second row"),
        ([model(), model(model="b")], "b is of the same family, parameters and tokens as a"),
        ([model(n_params="")], "line 2: n_params is missing"),
        ([model(n_params="-1")], "line 2: n_params: input should be greater than or equal to 1"),
        ([model(n_tokens="nan")], "line 2: n_tokens: input should be a finite number"),
        ([model(role="fitted")], "line 2: role: input should be 'fit', 'reference' or 'external'"),
        ([{key: value for key, value in model().items() if key != "evidence"}], "has no column evidence"),
    ],
)
def test_a_wrong_table_of_models_is_refused(rows, message, tmp_path):
    with pytest.raises(UserError, match=re.escape(message)):
        read_models(table(tmp_path / "models.csv", rows))


def own_spec(**changes) -> dict:
    names = {"FiQA2018": "fiqa", "fiqa": "fiqa", "forum": "forum", "forum-a": "forum-a", "forum-b": "forum-b"}
    published = {"source": "us", "metric": "ndcg_at_10", "models": None, "names": names, "splits": {"fiqa": "dev"}}
    columns = {"model": "model", "task": "task"}
    headline = {"fiqa": ["fiqa"], "forum": ["forum-a", "forum-b"]}
    spec = {"study": "own", "headline": headline, "published": published | {"columns": columns} | changes}
    Spec.model_validate(spec)
    return spec


def score(name: str, task: str, value: float) -> dict:
    return {"model": name, "task": task, "ndcg_at_10": value}


def test_a_group_has_its_own_value_or_the_mean_of_its_tasks(tmp_path):
    models = table(tmp_path / "models.csv", [model(), model(model="b", n_params=2e9), model(model="c", n_params=3e9)])
    rows = [score("a", "forum", 0.5), score("b", "forum-a", 0.2), score("b", "forum-b", 0.4), score("c", "fiqa", 0.1)]
    rows += [score("c", "forum-a", 0.9)]  # alone it is no value of the group
    tables = collected(own_spec(), models, [table(tmp_path / "scores.csv", rows)], tmp_path)
    values = tables["scores"].set_index(["checkpoint", "task"])["value"].to_dict()
    assert values == pytest.approx({("a", "forum"): 0.5, ("b", "forum"): 0.3, ("c", "fiqa"): 0.1})
    assert tables["summary"].headline == {"fiqa": ["fiqa"], "forum": ["forum"]}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([score("a", "forum", 0.5), score("a", "forum-a", 0.5)], "a has a value for forum and for tasks of it"),
        ([score("aa", "fiqa", 0.5)], "aa is not in the table of models; did you mean 'a'?"),
        ([score("a", "fiqa", 50)], "outside 0 to 1; percentages must be divided by 100"),
    ],
)
def test_wrong_scores_are_refused(rows, message, tmp_path):
    models = table(tmp_path / "models.csv", [model()])
    with pytest.raises(UserError, match=re.escape(message)):
        collected(own_spec(), models, [table(tmp_path / "scores.csv", rows)], tmp_path)


def written_by_mteb(folder: Path, name: str, task: str, split: str, value: float) -> Path:
    """As mteb's own class writes it."""
    from mteb.results import TaskResult

    path = folder / name.replace("/", "__") / "rev1" / f"{task}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {"ndcg_at_10": value, "main_score": value, "hf_subset": "default", "languages": ["eng-Latn"]}
    TaskResult(
        dataset_revision="r", task_name=task, mteb_version="2", scores={split: [entry]}, evaluation_time=1
    ).to_disk(path)
    return path


def test_a_folder_of_mteb_runs_the_same_way(tmp_path):
    pytest.importorskip("mteb")
    folder = tmp_path / "results"
    written_by_mteb(folder, "org/a", "FiQA2018", "dev", 0.3)
    written_by_mteb(folder, "org/a", "NQ", "test", 0.9)  # of no task of the study
    (folder / "org__a" / "rev1" / "model_meta.json").write_text("{}")
    files = sorted(folder.rglob("*.json"))
    models = table(tmp_path / "models.csv", [model(model="org/a")])
    scores = collected(own_spec(), models, files, tmp_path)["scores"]
    assert scores[["checkpoint", "task", "value"]].values.tolist() == [["org/a", "fiqa", 0.3]]
    assert scores["file"].tolist() == ["../results/org__a/rev1/FiQA2018.json"]


@pytest.mark.parametrize(
    ("split", "extra", "message"),
    [
        ("test", None, "has no scores of the split 'dev', only of test"),
        ("dev", "rev2", "org/a has a second value for fiqa"),
        ("dev", "broken", "is not a result of mteb"),
    ],
)
def test_wrong_results_of_mteb_are_refused(split, extra, message, tmp_path):
    pytest.importorskip("mteb")
    path = written_by_mteb(tmp_path / "results", "org/a", "FiQA2018", split, 0.3)
    if extra == "rev2":
        again = path.parent.parent / "rev2" / path.name
        again.parent.mkdir()
        again.write_bytes(path.read_bytes())
    if extra == "broken":
        path.write_text(json.dumps([1]))
    models = table(tmp_path / "models.csv", [model(model="org/a")])
    with pytest.raises(UserError, match=re.escape(message)):
        collected(own_spec(), models, sorted((tmp_path / "results").rglob("*.json")), tmp_path)


@pytest.mark.parametrize("stated", ["r", None])
def test_results_on_another_revision_of_a_task_are_refused_by_name(stated, tmp_path):
    """Unless they state none, or the study's task is not mteb's."""
    pytest.importorskip("mteb")
    path = written_by_mteb(tmp_path / "results", "org/a", "FiQA2018", "dev", 0.3)
    if stated is None:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset_revision": "unknown"}))
    models, spec = table(tmp_path / "models.csv", [model(model="org/a")]), own_spec()
    spec["published"]["revisions"] = {"fiqa": "s"}
    if stated is None:
        assert len(collected(spec, models, [path], tmp_path)["scores"]) == 1
        return
    message = f"{path}: is on revision r of FiQA2018, this study's is s, so they do not compare"
    with pytest.raises(UserError, match=re.escape(message)):
        collected(spec, models, [path], tmp_path)
    spec["published"]["revisions"] = {"fiqa": "r"}
    assert len(collected(spec, models, [path], tmp_path / "again")["scores"]) == 1


def test_revisions_are_those_of_the_catalog_and_only_of_a_folder(study, tmp_path):
    assert "revisions" not in specs.collect(study)["published"]
    path = tmp_path / "x.yaml"
    settings = yaml.safe_load(STUDY.read_text())["published"] | {"scores": str(tmp_path)}
    path.write_text(yaml.safe_dump({"base": str(STUDY), "name": "x", "published": settings}))
    revisions = specs.collect(load.study(path))["published"]["revisions"]
    assert revisions["scifact"] == study.tasks["scifact"].source.revision and len(revisions) == len(study.tasks)


def test_nothing_is_trained_fetched_or_evaluated(study):
    assert {job.stage for job in jobs(study)} == {"collect", "fit", "figure", "report"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(recipes=["own-mini"]), "recipes: unknown key"),
        (
            lambda data: data["published"].update(trained_on=["msmarc"]),
            "unknown task 'msmarc'; did you mean 'msmarco'?",
        ),
        (lambda data: data["published"].pop("models"), "published.models: this key is required"),
    ],
)
def test_a_wrong_study_of_published_results_is_refused(change, message, tmp_path, monkeypatch):
    monkeypatch.chdir(CONFIG.parent)
    data = yaml.safe_load(STUDY.read_text())
    change(data)
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(UserError, match=re.escape(message)):
        load.study(path)


def test_check_counts_what_is_published(study):
    expected = "28 models, 21 of them in fits, 420 scores on 15 tasks, in config/published/scores.csv"
    assert overview.published(study) == expected

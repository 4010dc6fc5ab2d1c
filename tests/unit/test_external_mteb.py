"""A folder of mteb's results joined to a study: what is taken, what is refused, and where parameters are from."""

import json
from pathlib import Path

import minimal
import pandas as pd
import pytest

pytest.importorskip("mteb")
from mteb.results import TaskResult

from retscale.audit.rules import RULES, SOME
from retscale.common.files import sha256
from retscale.errors import UserError
from retscale.external.run import run
from retscale.external.summary import ExternalSummary
from retscale.plan import needs
from retscale.plan.jobs import jobs
from retscale.study import load, overview, preflight, source_files, specs
from retscale.study.study import Study

STUDY = (
    minimal.study("scifact, {use: beir-fiqa, id: fiqa}")
    + """external:
  - {results: shared, table: models.csv, source: the results repository}
"""
)
TABLE = "model,n_params,n_tokens\norg/a,1e9,2e11\norg/b,2e9,\n"


def result(model: str, task: str, value: float, revision: str, of: str = "rev1", split: str = "test") -> None:
    """As mteb's own class writes it, below `shared`."""
    path = Path("shared", model.replace("/", "__"), of, f"{task}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {"ndcg_at_10": value, "main_score": value, "hf_subset": "default", "languages": ["eng-Latn"]}
    TaskResult(
        dataset_revision=revision, task_name=task, mteb_version="2", scores={split: [entry]}, evaluation_time=1
    ).to_disk(path)


@pytest.fixture
def study(tmp_path, monkeypatch) -> Study:
    """Two models of mteb, of which one lacks a task, and one has a task that the study lacks."""
    monkeypatch.chdir(tmp_path)
    study = study_of()
    scifact, fiqa = (study.tasks[id].source.revision for id in ("scifact", "fiqa"))
    result("org/a", "SciFact", 0.5, scifact)
    result("org/a", "FiQA2018", 0.25, fiqa)
    result("org/a", "NQ", 0.9, "x")
    result("org/b", "SciFact", 0.75, scifact)
    for meta in ("org__a", "org__b"):
        Path("shared", meta, "rev1", "model_meta.json").write_text("{}")
    Path("models.csv").write_text(TABLE)
    return study


def study_of(**replaced: str) -> Study:
    text = STUDY
    for old, new in replaced.items():
        assert f"{old}: " in text
        text = text.replace(f"{old}: ", f"{new}, {old}: ")
    Path("s.yaml").write_text(text)
    return load.study(Path("s.yaml"))


def made(study: Study) -> pd.DataFrame:
    out = Path("results/s/external/work")
    out.mkdir(parents=True, exist_ok=True)
    run(specs.external(study), {"tables": source_files.external(study)}, out)
    return pd.read_parquet(out / "external.parquet").set_index(["model", "task"])


def test_its_scores_are_joined_to_the_table_of_parameters(study):
    points = made(study)
    assert points["y"].to_dict() == {
        ("org/a", "fiqa"): 0.25,
        ("org/a", "mean"): 0.375,
        ("org/a", "scifact"): 0.5,
        ("org/b", "scifact"): 0.75,
    }
    assert points["flops"].dropna().to_dict() == dict.fromkeys(points.loc[["org/a"]].index, 6 * 1e9 * 2e11)
    score = points.loc["org/a", "fiqa"]
    assert score["file"] == "../../shared/org__a/rev1/FiQA2018.json"
    assert score["sha256"] == sha256(Path("shared/org__a/rev1/FiQA2018.json"))
    assert pd.isna(points.loc["org/a", "mean"]["file"])  # it is of several
    summary = ExternalSummary.read(Path("results/s/external/work/external.json"))
    (table,) = summary.tables
    assert (table.file, table.results, table.models, table.rows) == ("../../models.csv", "../../shared", 2, 3)
    assert table.elsewhere == 1 and summary.absent == {"org/b": ["fiqa"]}
    assert overview.external(study) == [
        "shared: 2 models on 2 of its tasks, 1 value on tasks that this study does not have"
    ]


def test_every_file_is_an_input_and_no_spec_names_one(study):
    (job,) = (job for job in jobs(study) if job.stage == "external")
    assert job.tables == source_files.external(study)
    assert len(job.tables) == 1 + 4 + 2 and job.tables[0] == Path("models.csv")
    spec = specs.external(study)
    assert "shared" not in json.dumps(spec) and "models.csv" not in json.dumps(spec)
    assert spec["tables"][0]["revisions"]["scifact"] == study.tasks["scifact"].source.revision
    assert RULES["external"].inputs["tables"].count(spec, {}) == SOME


def test_models_are_chosen_and_columns_have_other_names(study):
    Path("models.csv").write_text("name,size,tokens,why\norg/a,1e9,2e11,its paper\n")
    columns = "columns: {model: name, n_params: size, n_tokens: tokens, origin: why}"
    points = made(study_of(source=f"models: [org/a], {columns}"))
    assert set(points.index.get_level_values("model")) == {"org/a"} and points["flops"].notna().all()
    assert points.loc["org/a", "fiqa"]["origin"] == "its paper"
    with pytest.raises(UserError, match="no result of the model 'org/c' in the folder of mteb; did you mean"):
        overview.external(study_of(source=f"models: [org/c], {columns}"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda study: result("org/b", "FiQA2018", 0.1, "old"), "org__b/rev1/FiQA2018.json: is on revision old of FiQA2018"),
        (
            lambda study: result("org/a", "SciFact", 0.1, study.tasks["scifact"].source.revision, of="rev2"),
            "rev2/SciFact.json: org/a has a second value for scifact; the first is .*rev1/SciFact.json",
        ),
        (
            lambda study: Path("models.csv").write_text("model,n_params,n_tokens\norg/a,1e9,2e11\n"),
            "models.csv: has no row of org/b, of which there is .*; did you mean 'org/a'.*add one",
        ),
        (lambda study: Path("models.csv").write_text(TABLE + "org/a,1,1\n"), "line 4: org/a has a second row; keep one"),
        (lambda study: Path("models.csv").write_text("model,n_params\norg/a,1\n"), "has no column n_tokens; it has"),
        (lambda study: Path("models.csv").write_text(TABLE.replace("2e9", "-2")), "line 3: n_params is '-2', not a count"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_name(study, change, message):
    change(study)
    with pytest.raises(UserError, match=message):
        overview.external(study)


def test_a_model_in_a_folder_and_a_table_is_refused(study):
    Path("scores.csv").write_text("model,task,ndcg_at_10\norg/a,SciFact,0.4\n")
    text = STUDY + "  - {table: scores.csv, source: a paper}\n"
    Path("s.yaml").write_text(text)
    with pytest.raises(
        UserError, match=r"scores.csv, line 2: org/a has a second value for scifact; the first is shared"
    ):
        overview.external(load.study(Path("s.yaml")))


def test_a_bad_study_is_refused_before_any_job(study, tmp_path):
    with pytest.raises(UserError, match="external.0.columns.split: files of mteb state it themselves; remove the key"):
        study_of(source="columns: {split: s}")
    for path in Path("shared").rglob("*.json"):
        path.unlink()
    with pytest.raises(UserError, match="external.0.results: there is no folder shared with files of mteb"):
        preflight.check_tables(study)
    Path("shared").rename("elsewhere")
    assert "shared, a folder of published results" in needs.missing(study)

"""Published tables: what is taken, what is refused, and that nothing else changes by them."""

import csv
import json
from pathlib import Path

import minimal
import pandas as pd
import pytest

from retscale.errors import UserError
from retscale.external.config import Columns, Published
from retscale.external.run import run
from retscale.external.table import read
from retscale.study import load, overview, preflight, specs
from retscale.study.study import Study

ROOT = Path(__file__).resolve().parents[2]

HEAD = "model,task,ndcg_at_10,params,tokens,split"
GOOD = [
    "small,FiQA2018,0.25,125000000,300000000000,test",
    "small,scifact,0.5,125000000,300000000000,test",
    "large,FiQA2018,0.75,1000000000,,test",
    "large,NQ,0.1,1000000000,,test",
]
NAMES = {"FiQA2018": "fiqa", "fiqa": "fiqa", "scifact": "scifact", "NQ": None}


def told(**over) -> Published:
    columns = Columns(n_params="params", n_tokens="tokens", split="split")
    base = {"source": "a paper", "metric": "ndcg_at_10", "models": None, "names": NAMES, "splits": {"fiqa": "test"}}
    return Published(**base | {"columns": columns} | over)


def write(folder: Path, rows: list[str], head: str = HEAD) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_rows_are_taken_by_the_names_of_the_study(tmp_path):
    rows, elsewhere = read(write(tmp_path, GOOD), told())
    assert [(row.model, row.task, row.value, row.n_params, row.n_tokens, row.line) for row in rows] == [
        ("small", "fiqa", 0.25, 1.25e8, 3e11, 2),
        ("small", "scifact", 0.5, 1.25e8, 3e11, 3),
        ("large", "fiqa", 0.75, 1e9, None, 4),
    ]
    assert elsewhere == 1
    assert {row.model for row in read(write(tmp_path, GOOD), told(models=["large"]))[0]} == {"large"}


def test_a_byte_order_mark_and_windows_lines_do_no_harm(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(("\ufeff" + "\r\n".join([HEAD, *GOOD]) + "\r\n").encode())
    assert len(read(path, told())[0]) == 3


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda rows: [*rows, "small,FiQA2018,0.3,125000000,300000000000,test"],
            "line 6: small has a second value for fiqa; the first is .*line 2",
        ),
        (lambda rows: [*rows, "small,fiqa,0.3,125000000,300000000000,test"], "a second value for fiqa"),
        (
            lambda rows: [*rows, "small,FiQA2019,0.3,125000000,300000000000,test"],
            "unknown task 'FiQA2019'; did you mean 'FiQA2018'",
        ),
        (
            lambda rows: [*rows, "other,scifact,25.4,1,1,test"],
            "line 6: the value 25.4 lies outside 0 to 1; percentages",
        ),
        (lambda rows: [*rows, "other,scifact,-0.1,1,1,test"], "outside 0 to 1"),
        (lambda rows: [*rows, "other,scifact,nan,1,1,test"], "outside 0 to 1"),
        (lambda rows: [*rows, "other,scifact,inf,1,1,test"], "outside 0 to 1"),
        (lambda rows: [*rows, "other,scifact,,1,1,test"], "the value '' is not a number"),
        (lambda rows: [*rows, "other,scifact,0.5,many,1,test"], "params is 'many', not a count"),
        (lambda rows: [*rows, "other,scifact,0.5,0,1,test"], "params is '0', not a count"),
        (lambda rows: [*rows, "other,scifact,0.5,1,inf,test"], "tokens is 'inf', not a count"),
        (
            lambda rows: [*rows, "large,scifact,0.5,1000000001,,test"],
            "large has other parameters or tokens than at .*line 4",
        ),
        (lambda rows: [*rows, ",scifact,0.5,1,1,test"], "the model has no name"),
        (lambda rows: [*rows, "other,scifact,0.5"], "line 6: does not have the 6 cells"),
        (lambda rows: [*rows, "other,scifact,0.5,1,1,test,more"], "line 6: does not have the 6 cells"),
        (lambda rows: [*rows, "other,FiQA2018,0.5,1,1,dev"], "of the split 'dev', this study's of 'test'"),
        (lambda rows: [*rows, 'other,"scifact'], "cannot read the table"),
        (lambda rows: rows[3:], "holds no value of a task of this study"),
        (lambda rows: [], "holds no value of a task of this study"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        read(write(tmp_path, change(GOOD)), told())


def test_columns_and_models_that_are_not_there_are_refused(tmp_path):
    path = write(tmp_path, GOOD)
    for over, message in {
        "value": "no column score; it has model, task, ndcg_at_10",
        "n_tokens": "no column score",
        "origin": "no column score",
    }.items():
        with pytest.raises(UserError, match=message):
            read(path, told(columns=Columns(**{over: "score"})))
    with pytest.raises(UserError, match="no model 'smal'; did you mean 'small'"):
        read(path, told(models=["smal"]))
    with pytest.raises(UserError, match="names a column twice"):
        read(write(tmp_path, ["a,b,0.1,c"], "model,task,ndcg_at_10,task"), told(columns=Columns()))
    with pytest.raises(UserError, match="there is no table"):
        read(tmp_path / "none.csv", told())
    (tmp_path / "bad.csv").write_bytes(b"model,task,ndcg_at_10\n\xff\xfe,fiqa,0.1\n")
    with pytest.raises(UserError, match="cannot read the table"):
        read(tmp_path / "bad.csv", told(columns=Columns()))


def test_validation_is_dev(tmp_path):
    rows = ["a,fiqa,0.5,1,1,validation"]
    assert len(read(write(tmp_path, rows), told(splits={"fiqa": "dev"}))[0]) == 1


def made(folder: Path, tables: list[Path], headline: list[str], **over) -> pd.DataFrame:
    out = folder / "results/s/external/work"
    out.mkdir(parents=True, exist_ok=True)
    job = {"headline": headline, "tables": [told(**over).model_dump() for _ in tables]}
    run(job, {"tables": tables}, out)
    return pd.read_parquet(out / "external.parquet")


def test_the_mean_is_over_the_whole_headline_or_absent(tmp_path):
    points = made(tmp_path, [write(tmp_path, GOOD)], ["fiqa", "scifact"])
    means = points[points["task"] == "mean"]
    assert list(means["model"]) == ["small"] and list(means["y"]) == [0.375]
    facts = json.loads((tmp_path / "results/s/external/work/external.json").read_text())
    assert facts["absent"] == {"large": ["scifact"]} and facts["tables"][0]["elsewhere"] == 1
    assert list(points.query("model == 'small'")["flops"].unique()) == [6 * 125e6 * 3e11]
    assert points.query("model == 'large'")["flops"].isna().all()
    assert set(points["source"]) == {"a paper"} and set(points["sha256"]) == {facts["tables"][0]["sha256"]}


def test_the_order_of_the_rows_is_of_no_concern(tmp_path):
    one = made(tmp_path, [write(tmp_path, GOOD)], ["fiqa", "scifact"])
    two = made(tmp_path, [write(tmp_path, GOOD[::-1])], ["fiqa", "scifact"])
    columns = [name for name in one if name not in ("line", "sha256")]
    pd.testing.assert_frame_equal(one[columns], two[columns])


def test_a_model_in_two_tables_is_refused(tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    for path in (first, second):
        path.write_text("\n".join([HEAD, *GOOD]) + "\n")
    with pytest.raises(
        UserError, match="b.csv, line 2: small has a second value for fiqa; the first is .*a.csv, line 2"
    ):
        made(tmp_path, [first, second], ["fiqa"])


STUDY = minimal.study("scifact, beir-fiqa, {use: nq, id: questions}")


def study_of(folder: Path, external: str) -> Study:
    path = folder / "s.yaml"
    path.write_text(STUDY + f"external: {external}\n")
    return load.study(path)


def test_the_spec_knows_the_tasks_by_every_name(tmp_path):
    study = study_of(tmp_path, "{table: a.csv, source: s, tasks: {Fi: beir-fiqa}}")
    [table] = specs.external(study)["tables"]
    wanted = {"scifact": "scifact", "SciFact": "scifact", "FiQA2018": "beir-fiqa", "NQ": "questions", "Fi": "beir-fiqa"}
    assert wanted.items() <= table["names"].items()
    assert table["names"]["DBPedia"] is None and "table" not in table
    assert specs.external(study_of(tmp_path, "[{table: a.csv, source: s}]"))["tables"][0]["source"] == "s"


def test_a_group_is_one_task_of_a_table(tmp_path):
    own = "{table: a.csv, source: s, tasks: {CQADupstackRetrieval: cqadupstack}}"
    path = tmp_path / "s.yaml"
    path.write_text(STUDY.replace("[scifact,", "[cqadupstack, scifact,") + f"external: {own}\n")
    spec = specs.external(load.study(path))
    assert spec["headline"] == ["cqadupstack", "scifact", "beir-fiqa", "questions"]
    assert spec["tables"][0]["names"]["CQADupstackRetrieval"] == "cqadupstack"
    # A study without it passes over it, as over any task that it does not have.
    assert specs.external(study_of(tmp_path, own))["tables"][0]["names"]["CQADupstackRetrieval"] is None


@pytest.mark.parametrize(
    "external, message",
    [
        ("{table: a.csv}", "external.0.source: this key is required"),
        ("{table: a.txt, source: s}", "external.0.table"),
        ("{table: a.csv, source: s, colums: {}}", "unknown key; did you mean 'columns'"),
        (
            "{table: a.csv, source: s, metric: recall_at_10}",
            "external.0.metric is recall_at_10, but fit.metric is ndcg_at_10",
        ),
        ("{table: a.csv, source: s, tasks: {Fi: fica}}", "external.0.tasks.Fi: unknown task 'fica'"),
    ],
)
def test_a_bad_study_stops_before_any_job(tmp_path, external, message):
    with pytest.raises(UserError, match=message):
        study_of(tmp_path, external)


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="external.0.table: there is no file nowhere.csv"):
        preflight.check_tables(study_of(tmp_path, "{table: nowhere.csv, source: s}"))


def test_check_reads_the_tables(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("model,task,ndcg_at_10\na,FiQA2018,0.5\na,NQ,0.4\na,DBPedia,0.4\n")
    study = study_of(tmp_path, f"{{table: {path}, source: s}}")
    assert overview.external(study) == [
        f"{path}: 1 model on 2 of its tasks, 1 value on tasks that this study does not have"
    ]
    path.write_text("model,task,ndcg_at_10\na,FiQA2018,50.1\n")
    with pytest.raises(UserError, match="line 2: the value 50.1 lies outside 0 to 1"):
        overview.external(study)


def test_published_averages_come_out(shared, tmp_path):
    """The means over BEIR's 15 tasks that the leaderboard printed (x100, two digits)."""
    printed = {
        "SGPT-125M-weightedmean-msmarco-specb-bitfit": 37.04,
        "SGPT-1.3B-weightedmean-msmarco-specb-bitfit": 44.49,
        "SGPT-2.7B-weightedmean-msmarco-specb-bitfit": 46.54,
        "SGPT-5.8B-weightedmean-msmarco-specb-bitfit": 50.25,
        "gtr-t5-base": 44.67,
        "gtr-t5-xxl": 48.48,
    }
    beir = shared / "mteb-results" / "beir_ndcg10.csv"
    with beir.open(newline="") as file:
        tasks = sorted({row["task"] for row in csv.DictReader(file)})
    over = {
        "models": list(printed),
        "names": {task: task for task in tasks},
        "splits": {"MSMARCO": "dev"},
        "columns": Columns(n_params="params", n_tokens="pretraining_tokens", split="split", origin="source_path"),
    }
    points = made(tmp_path, [beir], tasks, **over).query("task == 'mean'").set_index("model")
    assert {name: round(100 * points["y"][name], 2) for name in printed} == printed
    assert points["flops"][next(iter(printed))] == pytest.approx(6 * 125e6 * 3e11)
    with pytest.raises(UserError, match="NV-Embed-v1|of the split 'test', this study's of 'dev'"):
        made(tmp_path, [beir], tasks, **over | {"models": None})

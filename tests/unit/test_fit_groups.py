"""Tasks of a group, such as the forums of CQADupstack, count as one task, which has no score unless it has all of them."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_collect_synthetic import write_study

from retscale.audit.points import origins
from retscale.audit.walk import Walk
from retscale.collect.means import MEAN
from retscale.collect.run import run as collect
from retscale.common.tables import read_table
from retscale.errors import UserError
from retscale.figure.run import FIGURES
from retscale.figure.run import run as draw
from retscale.fit.points import points, query_scores, resampled
from retscale.fit.run import run as fit
from retscale.report.run import run as report
from retscale.study import catalog, check, load

pytestmark = pytest.mark.usefixtures("svg_only")

SMOKE = Path(__file__).parents[2] / "config" / "smoke.yaml"
AVERAGED = {"group": ["g1", "g2", "g3"], MEAN: ["alone", "group"]}
VALUES = {"alone": [0.7, 0.9], "g1": [0.1, 0.3], "g2": [0.4, 0.4, 0.4], "g3": [0.0, 1.0, 0.8]}


def tables(lacking: tuple[str, str] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and per-query values of two checkpoints, the second .1 higher, but for a (checkpoint, task)."""
    facts = {"recipe": "r", "family": "f", "size": "s", "role": "fit", "schedule_finished": True, "seed": 0}
    facts |= {"metric": "ndcg_at_10", "n_params": 1.0, "n_params_non_embedding": 1.0, "n_tokens": 2.0, "flops": 12.0}
    facts |= {"tokens_per_param": 2.0, "file": "f", "sha256": "s"}
    scores, queries = [], []
    for checkpoint, more in (("a", 0.0), ("b", 0.1)):
        for task, values in VALUES.items():
            if (checkpoint, task) != lacking:
                identity = {"checkpoint": checkpoint, "recipe": "r", "task": task}
                values = np.array(values) + more
                scores.append(
                    facts | identity | {"value": values.mean(), "n_queries": len(values), "ties": len(scores)}
                )
                ids = [str(i) for i in range(len(values))]
                queries.append(pd.DataFrame({"query_id": ids, "ndcg_at_10": values}).assign(**identity))
    return pd.DataFrame(scores), pd.concat(queries)


def marks(lacking=None) -> tuple[pd.DataFrame, pd.DataFrame]:
    scores, queries = tables(lacking)
    draws = resampled(query_scores([queries], "ndcg_at_10"), AVERAGED, 300, 0)
    scored = points(scores, draws, AVERAGED, "ndcg_at_10", 0.05)
    return scored.set_index(["checkpoint", "task"]), draws


def test_a_group_is_the_mean_of_its_tasks_and_counts_once():
    scored, _ = marks()
    # alone .8; g1 .2, g2 .4, g3 .6: the group .4 whatever the number of queries, and the mean (.8 + .4) / 2
    assert scored.loc["a"]["y"].round(12).to_dict() == {
        "alone": 0.8,
        "g1": 0.2,
        "g2": 0.4,
        "g3": 0.6,
        "group": 0.4,
        MEAN: 0.6,
    }
    assert scored.loc[("b", MEAN), "y"] == pytest.approx(0.7)
    assert scored.loc["a"]["n_queries"].to_dict()["group"] == 8 and scored.loc[("a", MEAN), "n_queries"] == 10
    assert (scored["missing"] == "").all()


def test_a_further_column_of_scores_changes_nothing():
    """One that differs from score to score would otherwise split every mean, or travel on with a value of no meaning."""
    scores, queries = tables()
    draws = resampled(query_scores([queries], "ndcg_at_10"), AVERAGED, 300, 0)
    wider = scores.assign(minutes=np.arange(float(len(scores))), device=[f"gpu {i}" for i in range(len(scores))])
    once, again = (points(table, draws, AVERAGED, "ndcg_at_10", 0.05) for table in (scores, wider))
    pd.testing.assert_frame_equal(once, again)


def test_the_bootstrap_takes_the_group_as_one():
    _, draws = marks()
    one = draws["a"]["r"]
    np.testing.assert_allclose(one["group"], (one["g1"] + one["g2"] + one["g3"]) / 3)
    np.testing.assert_allclose(one[MEAN], (one["alone"] + one["group"]) / 2)
    assert one["group"].std() > 0 and one["g2"].std() == pytest.approx(0)


def test_without_one_of_its_tasks_a_group_and_the_mean_are_null_and_name_it():
    scored, draws = marks(lacking=("b", "g2"))
    for task in ("group", MEAN):
        assert scored.loc[("a", task), "y"] > 0 and np.isfinite(scored.loc[("a", task), "high"])
        assert scored.loc[("b", task), ["y", "low", "high"]].isna().all()
        assert scored.loc[("b", task), "missing"] == "g2"
        assert ("b", "r", task) not in draws.columns
    assert scored.loc[("b", "g3"), "y"] == pytest.approx(0.7)


def follow(path: Path, value: float) -> None:
    """Make the evaluation one of a task with instructions: p-MRR stands at every third query."""
    result, table = json.loads(path.read_text()), pd.read_parquet(path.with_suffix(".parquet"))
    path.write_text(json.dumps(result | {"metrics": result["metrics"] | {"p_mrr": value}}))
    values = np.where(np.arange(len(table)) % 3 == 0, value, np.nan)
    table.assign(p_mrr=values).to_parquet(path.with_suffix(".parquet"), index=False)


def whole_study(root, lacking: list[str], figures=FIGURES):
    """fit.json, collect.json and the report of a study whose group lacks evaluations of some checkpoints."""
    spec, inputs = write_study(root, sizes={"40k": 40_000, "160k": 160_000}, queries=12)
    names = list(spec["headline"])
    spec["headline"] = {name: [name] for name in names[:2]} | {"group": names[2:]}
    inputs["scores"] = [p for p in inputs["scores"] if not (p.stem == names[3] and p.parts[-3] in lacking)]
    instructed = next(path for path in inputs["scores"] if path.stem == names[0])
    for path in inputs["scores"]:
        if path.stem == names[0]:
            follow(path, -0.125 if path == instructed else 0.25)
    for stage in ("collect", "fit", "figure", "report"):
        (root / stage).mkdir()
    collect(spec, inputs, root / "collect")
    given = {"collect": root / "collect" / "collect.json", "fit": root / "fit" / "fit.json"}
    fit({"bootstrap": 200}, given, root / "fit")
    for name in figures:
        draw({"name": name, "dpi": 72}, given, root / "figure")
    given |= {"figures": [root / "figure" / f"{name}.png" for name in figures], "tasks": [], "pairs": []}
    report({}, given, root / "report")
    return given, names, (root / "report" / "report.html").read_text()


@pytest.mark.slow
def test_from_results_to_the_report_one_encoder_without_a_task(tmp_path):
    given, names, page = whole_study(tmp_path, lacking=["toy-40k-5"])
    scored = read_table(given["fit"], "points").query("recipe == 'paper'").set_index(["checkpoint", "task"])
    assert scored["missing"].ne("").sum() == 2 and scored.loc[("toy-40k-5", "group"), "missing"] == names[3]
    trends = read_table(given["fit"], "fits").query("recipe == 'paper' and form == 'log-linear'").set_index("task")
    assert (trends.loc["group", "n"], trends.loc[MEAN, "n"], trends.loc[names[2], "n"]) == (5, 5, 6)
    drawn = {name: set(pd.read_csv(tmp_path / "figure" / f"{name}.csv")["task"]) for name in ("1b", "2")}
    assert drawn == {"1b": {MEAN}, "2": {*names[:2], "group"}}
    assert f"group of toy-40k-5 / paper ({names[3]})" in page and "3 retrieval tasks" in page
    assert "group (the mean of 5)" in page and "over 3 zero-shot tasks" in page and "3 tasks; " in page
    assert ">nan<" not in page
    assert '<td>p-MRR</td><td class="n">−0.125</td>' in page


@pytest.mark.slow
def test_from_results_to_the_report_no_encoder_with_all_tasks(tmp_path):
    every = [f"toy-{size}-{level}" for size in ("40k", "160k") for level in (5, 10, 20)]
    given, names, page = whole_study(tmp_path, lacking=every, figures=["1b"])
    assert read_table(given["fit"], "points").query("task in ['group', 'mean']")["y"].isna().all()
    assert all(f"mean of {name} / paper ({names[3]})" in page for name in every)


def study_of(tmp_path, tasks: str):
    text = SMOKE.read_text().replace("tasks: [fiqa, consumer-contracts]", f"tasks: {tasks}")
    assert tasks in text
    (tmp_path / "study.yaml").write_text(text)
    return load.study(tmp_path / "study.yaml")


def test_beir_is_fifteen_tasks_and_cqadupstack_the_mean_of_twelve(tmp_path):
    study = study_of(tmp_path, "[beir]")
    assert len(study.tasks) == 26 and len(study.headline) == 15
    assert [len(parts) for parts in study.headline.values() if len(parts) > 1] == [12]
    assert set(study.headline["cqadupstack"]) == {name for name in catalog.entries("task") if "cqadupstack" in name}


def test_a_forum_left_out_of_the_study_is_missed(tmp_path):
    forums = [name for name in catalog.suites()["cqadupstack"] if not name.endswith("gis")]
    study = study_of(tmp_path, json.dumps(["fiqa", *forums]))
    assert set(study.headline["cqadupstack"]) - set(study.tasks) == {"cqadupstack-gis"}


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        ("[fiqa, cqadupstack]", "the mean of 12 tasks, counted as one"),
        ("[fiqa, cqadupstack-tex]", "no score, nor a mean over all tasks, without cqadupstack-android, "),
    ],
)
def test_check_says_what_a_group_lacks(tmp_path, capsys, tasks, says):
    study_of(tmp_path, tasks)
    check.main(SimpleNamespace(study=tmp_path / "study.yaml", why=False, profile=None))
    assert f"group        cqadupstack: {says}" in capsys.readouterr().out


def test_a_forum_may_leave_its_group(tmp_path):
    study = study_of(tmp_path, "[{use: cqadupstack-gis, group: null}]")
    assert study.headline == {"cqadupstack-gis": ["cqadupstack-gis"]}


def test_a_group_has_a_name_of_its_own(tmp_path):
    with pytest.raises(UserError, match="fiqa: the name of a task and of a group"):
        study_of(tmp_path, "[fiqa, {use: consumer-contracts, group: fiqa}]")


@pytest.mark.slow
def test_the_audit_of_a_group_names_the_files_of_its_tasks(tmp_path):
    _, names, _ = whole_study(tmp_path, lacking=[], figures=["2"])
    files = origins(tmp_path, Walk([]))
    for task, behind in {"group": names[2:], MEAN: names, names[0]: names[:1]}.items():
        mark = {"checkpoint": "toy-40k-5", "recipe": "paper", "task": task}
        mark["file"] = f"evaluate/toy-40k-5/paper/{task}.json" if task == names[0] else ""
        listed = {line.split()[0].rpartition("/")[2] for line in files(mark) if "/evaluate/" in line}
        assert listed == {f"{name}.json" for name in behind}, task

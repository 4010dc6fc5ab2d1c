"""Collecting: every row traced to a file, nothing stale, double or missing let through."""

import json
import math
import random
import shutil

import pandas as pd
import pytest
from test_collect_synthetic import TASKS, write_study

from retscale.collect.run import run
from retscale.common.files import sha256
from retscale.common.tables import read_table
from retscale.errors import UserError
from retscale.fit.run import run as fit


@pytest.fixture
def study(tmp_path):
    root = tmp_path / "results"
    tasks = {task: TASKS[task] for task in ("alpha", "beta", "gamma")}
    spec, inputs = write_study(root, sizes={"40k": 40_000, "160k": 160_000}, levels=(5, 10), tasks=tasks, queries=12)
    out = tmp_path / "out"
    out.mkdir()
    return spec, inputs, out, root


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_rows_name_the_file_they_come_from(study):
    spec, inputs, out, root = study
    run(spec, inputs, out)
    for name in ("scores", "icl", "checkpoints"):
        table = read_table(out / "collect.json", name)
        for row in table.itertuples():
            assert sha256(root / row.file) == row.sha256
    scores = read_table(out / "collect.json", "scores")
    row = scores[(scores.task == "alpha") & (scores.metric == "mrr_at_10")].iloc[0]
    stored = json.loads((root / row.file).read_text())
    assert row.value == stored["metrics"]["mrr_at_10"]
    assert (row.checkpoint, row.recipe) == (stored["checkpoint"], stored["recipe"])


def test_order_of_inputs_does_not_matter(study, tmp_path):
    spec, inputs, out, _ = study
    run(spec, inputs, out)
    again = tmp_path / "again"
    again.mkdir()
    shuffled = {name: random.Random(1).sample(paths, len(paths)) for name, paths in inputs.items()}
    run(spec, shuffled, again)
    for path in out.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def relabel(spec, name, **changes):
    return spec | {"checkpoints": spec["checkpoints"] | {name: spec["checkpoints"][name] | changes}}


def test_labels_come_from_the_study(study):
    spec, inputs, out, _ = study
    run(relabel(spec, "toy-40k-5", role="external", size="small"), inputs, out)
    scores = read_table(out / "collect.json", "scores").set_index("checkpoint")
    assert set(scores.loc["toy-40k-5", "role"]) == {"external"}
    assert set(scores.loc["toy-40k-5", "size"]) == {"small"}
    assert set(scores.drop("toy-40k-5")["role"]) == {"fit"}


def test_losses_come_from_the_card_and_may_be_unknown(study):
    spec, inputs, out, _ = study
    edit(inputs["cards"][0], loss=None)
    run(spec, inputs, out)
    table = read_table(out / "collect.json", "checkpoints").set_index("checkpoint")
    assert pd.isna(table.loc[inputs["cards"][0].parent.name, "loss_heldout"])
    assert set(table.drop(inputs["cards"][0].parent.name)["loss_heldout"]) == {5.1}


def test_a_card_of_another_study_is_refused(study):
    spec, inputs, out, _ = study
    spec["checkpoints"].pop("toy-40k-5")
    with pytest.raises(UserError, match="toy-40k-5"):
        run(spec, inputs, out)


def test_kept_and_last_encoders_are_not_mixed_up(study):
    """Each under the other's flag; a score of the first quarter of a training must never enter a trend."""
    spec, inputs, out, _ = study
    scores = [*inputs["scores"], inputs["kept"][0]]
    with pytest.raises(UserError, match="step-10/alpha.json is of an encoder kept after step 10, not of the last"):
        run(spec, inputs | {"scores": scores}, out)
    with pytest.raises(UserError, match="is of the last encoder of a training run, not of one kept"):
        run(spec, inputs | {"kept": [*inputs["kept"], inputs["scores"][0]]}, out)


def test_kept_encoders_change_no_other_table(study, tmp_path):
    spec, inputs, out, root = study
    run(spec, inputs, out)
    without = tmp_path / "without"
    without.mkdir()
    run(spec, inputs | {"kept": []}, without)
    for path in out.glob("*.parquet"):
        assert (path.read_bytes() == (without / path.name).read_bytes()) is not path.name.startswith("curve")
    curves = read_table(out / "collect.json", "curves")
    assert len(curves) == 4 * 2 * 3 * 4 and not read_table(without / "collect.json", "curves").size
    for row in curves.itertuples():
        stored = json.loads((root / row.file).read_text())
        assert sha256(root / row.file) == row.sha256 and row.value == stored["metrics"][row.metric]
        assert (row.checkpoint, row.recipe, row.task) == tuple(stored[x] for x in ("checkpoint", "recipe", "task"))
        assert row.step == (stored["step"] or 45) and row.queries == 32 * row.step


@pytest.mark.parametrize("kind", ["scores", "kept", "icl", "cards", "encoders"])
def test_a_duplicate_names_both_files(study, kind):
    spec, inputs, out, root = study
    original = inputs[kind][0]
    copy = root / "stale" / original.name
    copy.parent.mkdir()
    shutil.copy(original, copy)
    if kind in ("scores", "kept"):
        shutil.copy(original.with_suffix(".parquet"), copy.with_suffix(".parquet"))
    if kind == "encoders":
        shutil.copy(original.with_name("log.jsonl"), copy.with_name("log.jsonl"))
    with pytest.raises(UserError) as error:
        run(spec, inputs | {kind: [*inputs[kind], copy]}, out)
    assert str(original) in str(error.value) and str(copy) in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": {"ndgc_at_10": 0.1}}, "unknown metric 'ndgc_at_10'"),
        (
            {"metrics": dict.fromkeys(("ndcg_at_10", "recall_at_10", "recall_at_100", "mrr_at_10"), float("nan"))},
            "finite",
        ),
        ({"metrics": dict.fromkeys(("ndcg_at_10", "recall_at_10", "recall_at_100", "mrr_at_10"), 0.99)}, "mean of"),
        ({"recipe": "other"}, "other"),
        ({"checkpoint": "ghost"}, "ghost"),
        ({"n_queries": 5}, "rows"),
    ],
)
def test_a_bad_score_is_refused_by_name(study, change, message):
    spec, inputs, out, _ = study
    edit(inputs["scores"][0], **change)
    with pytest.raises(UserError, match=message) as error:
        run(spec, inputs, out)
    assert inputs["scores"][0].stem in str(error.value)
    assert not list(out.iterdir())


def test_nan_among_the_icl_scores_is_refused(study):
    spec, inputs, out, _ = study
    edit(inputs["icl"][0], score=float("nan"))
    with pytest.raises(UserError, match="finite"):
        run(spec, inputs, out)


def test_a_fit_checkpoint_needs_its_compute_and_an_external_one_does_not(study):
    spec, inputs, out, _ = study
    edit(inputs["cards"][0], flops=None)
    with pytest.raises(UserError, match="flops"):
        run(spec, inputs, out)
    run(relabel(spec, inputs["cards"][0].parent.name, role="external"), inputs, out)


def test_an_encoder_without_a_headline_task_is_refused(study):
    spec, inputs, out, _ = study
    with pytest.raises(UserError, match="no result for the tasks"):
        run(spec, inputs | {"scores": inputs["scores"][1:]}, out)


def test_different_queries_of_one_task_are_refused(study):
    spec, inputs, out, _ = study
    path = inputs["scores"][0].with_suffix(".parquet")
    table = pd.read_parquet(path)
    table.loc[0, "query_id"] = "another"
    table.to_parquet(path, index=False)
    with pytest.raises(UserError, match="different queries"):
        run(spec, inputs, out)


def test_a_table_edited_after_collect_is_refused(study):
    spec, inputs, out, _ = study
    run(spec, inputs, out)
    table = read_table(out / "collect.json", "scores")
    table.loc[0, "value"] = 0.5
    table.to_parquet(out / "scores.parquet", index=False)
    with pytest.raises(UserError, match=r"scores\.parquet"):
        read_table(out / "collect.json", "scores")


@pytest.mark.parametrize(
    ("metric", "value", "fine"),
    [
        ("p_mrr", -0.3, True),
        ("p_mrr", None, True),
        ("robustness_at_10", 0.2, True),
        ("p_mrr", -1.1, False),
        ("robustness_at_10", -0.1, False),
    ],
)
def test_what_tasks_with_instructions_have_besides_is_collected(study, metric, value, fine):
    spec, inputs, out, _ = study
    paths = [path for path in inputs["scores"] if path.stem == "alpha"]
    for path in paths:
        add_metric(path, metric, value, [math.nan if value is None or i % 3 else value for i in range(12)])
    if not fine:
        with pytest.raises(UserError, match=f"{metric} is {value}, outside"):
            run(spec, inputs, out)
        return
    run(spec, inputs, out)
    scores = read_table(out / "collect.json", "scores")
    assert scores[scores["metric"] == metric]["value"].tolist() == ([] if value is None else [value] * len(paths))


def add_metric(path, name, mean, values):
    """Give an evaluation another metric: its mean, and its value at each query."""
    edit(path, metrics=json.loads(path.read_text())["metrics"] | {name: mean})
    table = pd.read_parquet(path.with_suffix(".parquet"))
    table.assign(**{name: values}).to_parquet(path.with_suffix(".parquet"), index=False)


def deep(paths, name="recall_at_1000"):
    """Every evaluation with a metric that a study has asked for beside the standard ones."""
    for i, path in enumerate(paths):
        values = [((i + query) % 12) / 11 for query in range(12)]
        add_metric(path, name, sum(values) / 12, values)


def test_a_metric_asked_for_reaches_every_table_and_the_fit(study, tmp_path):
    spec, inputs, out, _ = study
    deep([*inputs["scores"], *inputs["kept"]])
    run(spec, inputs, out)
    scores = read_table(out / "collect.json", "scores").query("metric == 'recall_at_1000'")
    queries = read_table(out / "collect.json", "per_query")
    means = queries.groupby(["checkpoint", "recipe", "task"])["recall_at_1000"].mean()
    assert len(scores) == len(inputs["scores"]) == len(means)
    for row in scores.itertuples():
        assert row.value == pytest.approx(means[row.checkpoint, row.recipe, row.task], rel=1e-12)
    curves = read_table(out / "collect.json", "curves").query("metric == 'recall_at_1000'")
    assert len(curves) == 4 * 2 * 3
    (tmp_path / "fit").mkdir()
    fit({"bootstrap": 200, "metric": "recall_at_1000"}, {"collect": out / "collect.json"}, tmp_path / "fit")
    points = read_table(tmp_path / "fit" / "fit.json", "points").set_index(["checkpoint", "recipe", "task"])
    for row in scores.itertuples():
        assert points.loc[(row.checkpoint, row.recipe, row.task), "y"] == row.value
    assert points.xs("mean", level="task")["y"].notna().all()


def test_a_metric_asked_for_is_checked_as_the_others(study):
    spec, inputs, out, _ = study
    deep(inputs["scores"])
    with_it = json.loads(inputs["scores"][5].read_text())["metrics"]
    edit(inputs["scores"][5], metrics=with_it | {"recall_at_1000": 0.9})
    with pytest.raises(UserError, match="the mean of recall_at_1000 is 0.5"):
        run(spec, inputs, out)
    edit(inputs["scores"][5], metrics={name: value for name, value in with_it.items() if name != "recall_at_1000"})
    with pytest.raises(UserError, match="differ in their metrics of .*: only one has recall_at_1000; delete the stale"):
        run(spec, inputs, out)


def test_a_metric_of_some_tasks_leaves_the_others_without_it(study, tmp_path):
    """p-MRR stands at some queries of some tasks: a mean over tasks that lack it is absent and says so."""
    spec, inputs, out, _ = study
    for path in inputs["scores"]:
        if path.stem == "alpha":
            add_metric(path, "p_mrr", 0.25, [math.nan if i % 3 else 0.25 for i in range(12)])
    run(spec, inputs, out)
    for metric in ("ndcg_at_10", "p_mrr", "robustness_at_10"):
        (tmp_path / metric).mkdir()
        job = {"bootstrap": 200, "metric": metric}
        if metric == "robustness_at_10":
            with pytest.raises(UserError, match="is robustness_at_10, which no evaluation of this study has"):
                fit(job, {"collect": out / "collect.json"}, tmp_path / metric)
            return
        fit(job, {"collect": out / "collect.json"}, tmp_path / metric)
        points = read_table(tmp_path / metric / "fit.json", "points").set_index(["recipe", "task"])
        assert points.loc[("paper", "alpha"), "high"].notna().all()
        if metric == "ndcg_at_10":
            assert points["y"].notna().all()
        else:
            assert set(points.loc[("paper", "alpha"), "low"]) == {0.25}
            assert points.loc[("paper", "mean"), "y"].isna().all()
            assert set(points.loc[("paper", "mean"), "missing"]) == {"beta, gamma"}


def test_what_is_not_on_the_ladders_trend_says_why(study):
    spec, inputs, out, _ = study
    unknown, unfinished, external, *rest = (path.parent.name for path in inputs["cards"])
    edit(inputs["cards"][0], n_tokens=None, flops=None, tokens_per_param=None)
    edit(inputs["cards"][1], schedule_finished=False)
    with pytest.raises(UserError, match="n_tokens is None; a checkpoint that enters fits needs a positive number"):
        run(spec, inputs, out)
    run(relabel(relabel(spec, unknown, role="reference"), external, role="external"), inputs, out)
    reasons = read_table(out / "collect.json", "checkpoints").set_index("checkpoint")["reason"].to_dict()
    assert reasons == {
        unknown: "in no fit, for its pretraining tokens are unknown and so are its FLOPs",
        unfinished: "fitted apart, schedule unfinished",
        external: "in no fit",
    } | dict.fromkeys(rest, "")

"""The fit stage on a made-up study: what enters, what comes out, and that it is repeatable."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_collect_synthetic import TASKS, collected, write_study
from threadpoolctl import threadpool_info, threadpool_limits

from retscale.collect.means import MEAN, means
from retscale.collect.run import run as collect
from retscale.common.tables import read_table
from retscale.errors import UserError
from retscale.fit.analysis import ladder_rows
from retscale.fit.compare import effects, isoflop_pairs
from retscale.fit.distinct import require_distinct
from retscale.fit.points import MEAN, levels, points, query_scores, resampled
from retscale.fit.run import run
from retscale.study import load

ROOT = Path(__file__).resolve().parents[2]
SPEC = {"bootstrap": 200, "seed": 1}
FEW = {task: TASKS[task] for task in ("alpha", "beta", "zeta")}


def fitted(source, out, **spec):
    out.mkdir()
    run(SPEC | spec, {"collect": source}, out)
    return out / "fit.json"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    source = collected(root)
    return source, fitted(source, root / "fit")


def test_the_mean_is_that_of_the_headline_tasks(study):
    _, fit = study
    points = read_table(fit, "points")
    for _, rows in points.groupby(["checkpoint", "recipe"]):
        mean, tasks = rows[rows.task == MEAN].iloc[0], rows[rows.task != MEAN]
        assert mean.y == pytest.approx(tasks.y.mean())
        assert mean.low < mean.y < mean.high
        assert mean.high - mean.low < (tasks.high - tasks.low).mean()


def test_known_slopes_are_recovered(study):
    trends = read_table(study[1], "fits").query("recipe == 'paper' and form == 'log-linear'").set_index("task")
    for task, slope in TASKS.items():
        assert trends.loc[task, "slope"] == pytest.approx(slope, abs=0.035)
    assert trends.loc[MEAN, "low"] > 0
    assert trends.loc[MEAN, "method"] == "mixed bootstrap"
    assert (trends["n"] == 12).all() and (trends["families"] == 1).all()


def test_size_and_tokens_each_have_an_effect(study):
    effects = read_table(study[1], "effects").query("recipe == 'paper'").set_index("direction")
    assert (effects["low"] > 0).all() and (effects["status"] == "ok").all()


def test_icl_follows_retrieval_and_says_that_both_grow(study):
    rows = read_table(study[1], "correlations").query("headline and recipe == 'paper'").set_index(["about", "method"])
    raw, beyond = rows.loc[("icl-retrieval", "pearson")], rows.loc[("icl-beyond-compute", "partial pearson")]
    assert raw["value"] > 0.5 and raw["shared_growth"] and pd.isna(raw["low"]) and "too few sizes" in raw["reason"]
    assert (beyond["status"], beyond["shared_growth"]) == ("insufficient", False)
    assert rows.loc[("flops-quality", "pearson"), "disattenuated"] >= rows.loc[("flops-quality", "pearson"), "value"]
    single = read_table(study[1], "correlations").query(
        "about == 'flops-quality' and method == 'pearson' and not headline"
    )
    assert (single["q"] >= single["p"]).all()


def test_the_ablation_is_paired(study):
    rows = read_table(study[1], "ablation")
    assert rows["checkpoint"].nunique() == 6
    mean = rows[rows.task == MEAN]
    assert mean["difference"].mean() == pytest.approx(0.03, abs=0.02)
    np.testing.assert_allclose(mean["difference"], mean["y"] - mean["y_against"])
    assert set(mean["method"]) == {"stratified bootstrap"} and set(rows[rows.task != MEAN]["method"]) == {"sign flips"}
    assert (rows["p_holm"] >= rows["p"]).all() and mean["headline"].all()


def test_predictions_flag_what_lies_beyond_the_data(study):
    rows = read_table(study[1], "predictions").query("task == 'mean' and recipe == 'paper' and form == 'set'")
    last = read_table(study[1], "points")["flops"].max()
    assert (rows["extrapolated"] == (rows["flops"] > last * (1 + 1e-6))).all()
    assert 0 < rows["extrapolated"].sum() < len(rows) / 2
    # The data end on a point of the grid, so that figures shade from the last checkpoint on.
    assert rows.loc[~rows["extrapolated"], "flops"].max() == pytest.approx(last)


def test_another_seed_moves_intervals_over_queries_alone(study, tmp_path):
    source, first = study
    other = fitted(source, tmp_path / "other", seed=2)
    assert read_table(other, "fits").equals(read_table(first, "fits"))
    assert not read_table(other, "points")["low"].equals(read_table(first, "points")["low"])


def test_same_seed_same_bytes_and_products_are_summed_by_one_thread(study, tmp_path, monkeypatch):
    """Their last bits depend on it, in a study larger than this one."""
    source, first = study
    threads = set()

    def counted(*arguments):
        threads.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return resampled(*arguments)

    monkeypatch.setattr("retscale.fit.run.resampled", counted)
    with threadpool_limits(2):
        again = fitted(source, tmp_path / "again")
    assert threads == {1}
    for path in first.parent.iterdir():
        assert path.read_bytes() == (again.parent / path.name).read_bytes(), path.name


def test_adding_a_task_leaves_the_other_intervals(tmp_path):
    trends = []
    for name in ("few", "more"):
        spec, inputs = write_study(tmp_path / name, tasks=FEW, ablation=0)
        if name == "few":
            del spec["headline"]["zeta"]
            inputs["scores"] = [path for path in inputs["scores"] if path.stem != "zeta"]
        (tmp_path / name / "collect").mkdir()
        collect(spec, inputs, tmp_path / name / "collect")
        trends.append(
            read_table(fitted(tmp_path / name / "collect" / "collect.json", tmp_path / f"{name}-fit"), "fits")
        )
    few, more = (table[table.task == "alpha"].reset_index(drop=True) for table in trends)
    pd.testing.assert_frame_equal(few, more)


def test_only_fit_checkpoints_enter_and_undecayed_ones_apart(tmp_path):
    spec, inputs = write_study(tmp_path, tasks=FEW)
    spec["checkpoints"]["toy-40k-5"]["role"] = "external"
    path = tmp_path / "checkpoint" / "toy-160k-5" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schedule_finished": False}))
    (tmp_path / "collect").mkdir()
    collect(spec, inputs, tmp_path / "collect")
    fit = fitted(tmp_path / "collect" / "collect.json", tmp_path / "fit")
    trends = (
        read_table(fit, "fits")
        .query("recipe == 'paper' and task == 'mean' and form == 'log-linear'")
        .set_index("schedule")
    )
    assert trends.loc["finished", "n"] == 10
    assert (trends.loc["unfinished", "n"], trends.loc["unfinished", "status"]) == (1, "insufficient")
    assert {"toy-40k-5", "toy-160k-5"} <= set(read_table(fit, "points")["checkpoint"])


@pytest.mark.parametrize(("sizes", "levels"), [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (1, 12)])
def test_a_small_study_is_fitted_without_inventing(tmp_path, sizes, levels):
    names = dict(list({"a": 40_000, "b": 160_000, "c": 640_000}.items())[:sizes])
    levels_of_tokens = tuple(5 * 2**i for i in range(levels))
    source = collected(tmp_path, sizes=names, levels=levels_of_tokens, tasks=FEW, queries=20)
    fit = fitted(source, tmp_path / "fit")
    trends = read_table(fit, "fits")
    n = trends["n"].max()
    assert n == sizes * levels
    if n < 3:
        assert trends["slope"].isna().all() and (trends["status"] == "insufficient").all()
        assert len(read_table(fit, "predictions")) == 0
    assert (trends.loc[trends["status"] != "ok", "reason"] != "").all()


def test_a_study_without_icl(tmp_path):
    spec, inputs = write_study(tmp_path, tasks=FEW, queries=20)
    (tmp_path / "collect").mkdir()
    collect(spec, inputs | {"icl": []}, tmp_path / "collect")
    fit = fitted(tmp_path / "collect" / "collect.json", tmp_path / "fit")
    assert set(read_table(fit, "correlations")["about"]) == {"flops-quality"}


def test_a_study_of_external_checkpoints_writes_headers(tmp_path):
    spec, inputs = write_study(tmp_path, tasks=FEW, queries=20)
    for labels in spec["checkpoints"].values():
        labels["role"] = "external"
    (tmp_path / "collect").mkdir()
    collect(spec, inputs, tmp_path / "collect")
    fit = fitted(tmp_path / "collect" / "collect.json", tmp_path / "fit")
    for name in ("correlations", "isoflop_global", "isoflop_pairs", "tasks", "effects", "noise"):
        assert (fit.parent / f"{name}.csv").read_text().startswith(("about,recipe", "recipe,")), name
        assert read_table(fit, name).empty
    claims = read_table(fit, "claims")
    assert set(claims["verdict"]) == {"cannot tell"} and len(claims) == 10


def test_claims_state_how_often_their_rules_would_be_right(study):
    claims = read_table(study[1], "claims").set_index("claim")
    assert (claims.loc[["grows", "grows-with-size", "grows-with-tokens"], "verdict"] == "supported").all()
    assert claims.loc["fewer-pairs", "worlds"].startswith("true: half the queries for ten times the parameters")
    rates = claims.loc[["grows", "grows-with-tokens", "equal-compute", "most-tasks"]]
    assert (rates["supported_if_false"] <= 0.06).all() and (rates["refuted_if_true"] <= 0.06).all()
    assert claims.loc["grows-with-tokens", "supported_if_true"] > 0.5
    assert rates["worlds"].str.startswith("true: ").all() and (claims["rule"].str.startswith("supported: ")).all()


def test_levels_come_from_numbers_and_keep_200_apart_from_250():
    grouped = levels(pd.Series([20.0, 20.1, 50.0, 199.8, 250.0, None]))
    assert grouped[0] == grouped[1] != grouped[2]
    assert grouped[3] != grouped[4]
    assert np.isnan(grouped[5])


def near_study(small: float, large: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two checkpoints of equal FLOPs, one task, twenty queries whose values differ by a constant."""
    facts = {"family": "f", "schedule_finished": True, "role": "fit", "recipe": "paper", "seed": 0, "task": "t"}
    facts |= {
        "metric": "ndcg_at_10",
        "n_queries": 20,
        "ties": 0,
        "file": "f",
        "sha256": "s",
        "n_params_non_embedding": 1.0,
    }
    base = np.linspace(0, 0.5, 20)
    scores, queries = [], []
    for name, params, tokens, shift in (("s", 1e5, 4e6, small), ("l", 2e5, 2e6, large)):
        ratio = {
            "n_params": params,
            "n_tokens": tokens,
            "flops": 6 * params * tokens,
            "tokens_per_param": tokens / params,
        }
        scores.append(facts | ratio | {"checkpoint": name, "size": name, "value": (base + shift).mean()})
        ids = {"query_id": [str(i) for i in range(20)], "ndcg_at_10": base + shift}
        queries.append(pd.DataFrame(ids).assign(checkpoint=name, recipe="paper", task="t"))
    draws = resampled(query_scores(queries, "ndcg_at_10"), {MEAN: ["t"]}, 200, 0)
    return points(pd.DataFrame(scores), draws, {MEAN: ["t"]}, "ndcg_at_10", 0.05), draws


def test_equal_compute_pairs_compare_the_same_queries():
    marks, draws = near_study(0.1, 0.13)
    pair = isoflop_pairs(ladder_rows(marks), draws, 1.25, 0.05).iloc[0]
    assert (pair.checkpoint_small, pair.checkpoint_large, pair.flops_ratio) == ("s", "l", 1)
    # The shift is the same for each query, so paired resampling leaves no spread at all.
    assert (pair.difference, pair.query_low, pair.query_high) == pytest.approx((0.03, 0.03, 0.03))
    doubled = marks.assign(flops=marks["flops"].where(marks["checkpoint"] == "l", marks["flops"] * 2))
    assert not isoflop_pairs(ladder_rows(doubled), draws, 1.25, 0.05)["iso_flop"].any()


def test_effects_need_sizes_and_levels():
    marks, _ = near_study(0.1, 0.13)
    assert set(effects(ladder_rows(marks), 0.05)["status"]) == {"insufficient"}


def test_one_checkpoint_under_two_ids_is_refused():
    marks, _ = near_study(0.1, 0.13)
    require_distinct(marks)
    twin = marks[marks["checkpoint"] == "s"].assign(checkpoint="again")
    with pytest.raises(UserError, match="again and s have the same parameters, tokens and scores"):
        require_distinct(pd.concat([marks, twin]))
    # Another training, or a score that says nothing of who made it.
    require_distinct(pd.concat([marks, twin.assign(y=twin["y"] + 1e-6)]))
    require_distinct(pd.concat([marks.assign(y=0.0), twin.assign(y=0.0)]))


def test_replicates_drawn_in_parts_are_those_drawn_at_once(monkeypatch):
    world = np.random.default_rng(3)
    rows = pd.DataFrame({"query_id": [str(i) for i in range(40)], "ndcg_at_10": world.random(40)})
    tables = [rows.assign(checkpoint=name, recipe="r", task="t") for name in "ab"]
    once = resampled(query_scores(tables, "ndcg_at_10"), {}, 50, 0)
    monkeypatch.setattr("retscale.fit.points.COUNTS", 40 * 7)
    shuffled = pd.concat(tables).sample(frac=1, random_state=0)
    again = resampled(query_scores([shuffled[:13], shuffled[13:]], "ndcg_at_10"), {}, 50, 0)
    pd.testing.assert_frame_equal(once, again, rtol=1e-14)


def test_a_second_mean_leaves_out_arguana_and_touche():
    study = SimpleNamespace(
        headline={name: [name] for name in ("arguana", "nq", "touche2020")},
        in_domain={},
        beside={},
        groups={},
        contrasts=[],
    )
    assert means(study) == {"mean": ["arguana", "nq", "touche2020"], "mean-without-arguana-touche": ["nq"]}
    study.headline = {"nq": ["nq"], "quora": ["quora"]}
    assert means(study) == {"mean": ["nq", "quora"]}


@pytest.mark.parametrize("study", ["portes2025", "open-ladders", "luo2024"])
def test_the_headline_has_no_task_of_the_training_data(study):
    loaded = load.study(ROOT / "config" / f"{study}.yaml")
    assert "msmarco" not in loaded.headline and "msmarco" in loaded.in_domain
    second = means(loaded)["mean-without-arguana-touche"]
    assert {"arguana", "touche2020"} == loaded.headline.keys() - set(second)

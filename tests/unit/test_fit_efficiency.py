"""Data efficiency: areas and queries needed of curves with known answers, and trends of simulated ladders."""

import numpy as np
import pandas as pd
import pytest
from ladders import SIZES, D, N, ladder

from retscale.collect.summary import StudySummary
from retscale.fit.claims import early
from retscale.fit.config import Spec
from retscale.fit.efficiency import SHARE, TOO_FAR, area, curve, efficiency, growth, needed, trends

X = np.array([100.0, 400.0, 1600.0])
SPEC = Spec(bootstrap=200)


def test_area_and_pairs_needed_of_curves_that_are_known():
    flat, line, late = [0.4, 0.4, 0.4], [0.0, 0.2, 0.4], [0.1, 0.1, 0.4]
    assert area(X, np.array([flat, line, late])) == pytest.approx([0.4, 0.2, (0.1 + 0.25) / 2])
    # On the line 95% of the last score is 95% of the way in the logarithm.
    assert needed(X, np.array([flat, line])) == pytest.approx([100, 100 * 16**SHARE])
    assert needed(X, np.array([late])) == pytest.approx([400 * 4 ** ((SHARE * 0.4 - 0.1) / 0.3)])
    assert np.isnan(needed(X, np.array([[0.1, 0.0, 0.0]]))).all()
    # A score that falls again has had it when it first crossed.
    assert needed(X, np.array([[0.0, 0.5, 0.4]])) == pytest.approx([100 * 4 ** (SHARE * 0.4 / 0.5)])


def test_units_and_scale_change_nothing_that_they_should_not():
    rng = np.random.default_rng(0)
    y = np.sort(rng.uniform(0.1, 0.5, (50, 3)), 1)
    assert area(7 * X, y) == pytest.approx(area(X, y)) and needed(7 * X, y) == pytest.approx(7 * needed(X, y))
    assert needed(X, 2 * y) == pytest.approx(needed(X, y)) and area(X, 2 * y) == pytest.approx(2 * area(X, y))
    assert (y[:, 0] <= area(X, y)).all() and (area(X, y) <= y[:, 2]).all()


def test_a_curve_that_is_there_at_once_is_said_to_be():
    rng = np.random.default_rng(1)
    y = np.array([0.40, 0.41, 0.41])
    row = curve(X, y, y + 0.02 * rng.normal(size=(500, 1)), 0.05)
    assert (
        row["at_most"] is True
        and row["needed"] == pytest.approx(X[0])
        and row["area_low"] < row["area"] < row["area_high"]
    )
    assert curve(X, np.zeros(3), np.zeros((9, 3)), 0.05)["reason"] == "the last score is 0"


def test_pairs_needed_are_not_read_off_a_line_between_encoders_far_apart():
    """On .4 - .25 exp(-q / 60,000) they are 151,000; between 100 and 3,700 steps of 128 a line says 331,000."""
    for steps, low, high in (([100, 3700], None, None), ([100, 400, 1500, 3700], 140_000, 175_000)):
        x = 128.0 * np.array(steps)
        y = 0.4 - 0.25 * np.exp(-x / 60_000)
        row = curve(x, y, y + np.zeros((9, 1)), 0.05)
        if low is None:
            assert "needed" not in row and row["reason"] == TOO_FAR and row["area"] > 0
        else:
            assert low < row["needed"] < high and row["reason"] == ""
    # What the first kept encoder has already lies between no two.
    at_once = np.array([0.4, 0.4])
    assert curve(np.array([100.0, 3700.0]), at_once, at_once + np.zeros((9, 1)), 0.05)["needed"] == pytest.approx(100)


def test_an_interval_reaches_both_encoders_that_a_line_may_not_join():
    """A replicate whose first encoder misses its share by little needs anything up to the next, 20 times as many queries."""
    x, y = np.array([100.0, 2000.0, 4000.0]), np.array([0.384, 0.39, 0.4])
    draws = y + np.array([[0.0, 0.0, 0.0]] * 20 + [[-0.005, 0.0, 0.0]] * 20)
    row = curve(x, y, draws, 0.05)
    assert (row["needed"], row["needed_low"], row["needed_high"]) == pytest.approx((100, 100, 2000))


def test_trends_say_how_many_curves_have_no_queries_needed():
    about = {"recipe": "r", "task": "mean", "family": "f", "flops": 6 * N * D, "n_params": N, "n_tokens": D}
    points = pd.DataFrame(about | {"checkpoint": [f"c{i}" for i in range(len(N))], "size": SIZES.astype(str)})
    points = points.assign(y=0.1, low=0.0, high=0.2)
    area = np.log(N) + 0.01 * np.random.default_rng(9).normal(size=len(N))
    table = points[["checkpoint", "recipe", "task"]].assign(area=area, needed=np.nan, at_most=None, reason=TOO_FAR)
    rows = trends(table, points, Spec())
    reasons = rows[rows["measure"] == "log10 of the queries needed"]["reason"]
    assert reasons.str.endswith(f"{len(N)} of {len(N)} have none: {TOO_FAR}").all()
    assert (rows[rows["measure"] == "area"]["status"] == "ok").all()


def test_the_interval_of_an_area_is_that_of_a_mean_over_queries():
    """All queries alike at every step: the area varies as the mean of one score does."""
    rng = np.random.default_rng(2)
    draws = 0.3 + 0.02 * rng.normal(size=(4000, 1)) + np.zeros(3)
    row = curve(X, np.full(3, 0.3), draws, 0.05)
    assert row["area_high"] - row["area_low"] == pytest.approx(2 * 1.96 * 0.02, rel=0.05)


def test_growth_with_parameters_and_with_tokens_is_covered():
    """The ladder of the paper, with effects of size: of 95% intervals so many hold the truth."""
    rng, hits, power = np.random.default_rng(3), {"parameters": 0, "tokens": 0}, 0
    truth = {"parameters": 0.03, "tokens": 0.01}
    plane = 0.03 * np.log10(N) + 0.01 * np.log10(D)
    for _ in range(300):
        y = plane + 0.008 * rng.normal(size=SIZES.max() + 1)[SIZES] + 0.004 * rng.normal(size=len(N))
        for row in growth(ladder(y), 0.05):
            hits[row["direction"]] += row["low"] <= truth[row["direction"]] <= row["high"]
            power += row["direction"] == "tokens" and row["low"] > 0
    assert all(0.91 * 300 <= count <= 0.985 * 300 for count in hits.values()), hits
    assert power > 0.9 * 300


def test_too_few_checkpoints_and_exact_planes_have_no_trend():
    few = ladder(np.zeros(len(N)) + 0.01 * np.arange(len(N)))[np.arange(4)]
    assert [row["status"] for row in growth(few, 0.05)] == ["insufficient"] * 2
    exact = growth(ladder(0.03 * np.log10(N) + 0.01 * np.log10(D)), 0.05)
    assert {row["reason"] for row in exact} == {"the plane passes through every point"}
    assert growth(ladder(np.full(len(N), 0.3)), 0.05)[0]["reason"] == "all values are equal"


def test_trends_are_of_the_mean_of_finished_checkpoints_and_say_what_was_there_at_once():
    about = {"recipe": "r", "task": "mean", "family": "f", "flops": 6 * N * D, "n_params": N, "n_tokens": D}
    points = pd.DataFrame(about | {"checkpoint": [f"c{i}" for i in range(len(N))], "size": SIZES.astype(str)})
    points = points.assign(y=0.1, low=0.0, high=0.2)
    rng = np.random.default_rng(4)
    table = points[["checkpoint", "recipe", "task"]].assign(
        area=0.03 * np.log10(N) + 0.002 * rng.normal(size=len(N)),
        needed=10 ** (4 - 0.1 * np.log10(N) + 0.01 * rng.normal(size=len(N))),
        at_most=[True, *[False] * (len(N) - 1)],
        reason="",
    )
    fitted = trends(table, points, Spec()).set_index(["measure", "direction"])
    assert fitted.loc[("area", "parameters"), "slope"] == pytest.approx(0.03, abs=0.003)
    row = fitted.loc[("log10 of the queries needed", "parameters")]
    assert (
        row["slope"] == pytest.approx(-0.1, abs=0.02)
        and row["reason"] == f"1 of {len(N)} have it by the first kept encoder"
    )


def test_early_scores_count_a_group_once():
    """Twelve parts of one group at .2 and another task at .2 or .5: the mean is .2 or .35, and not .223."""
    parts = [f"part-{i}" for i in range(12)]
    rows = pd.DataFrame(
        (checkpoint, "main", step, task, query, 0.1 + (late if task == "alone" else 0.1) + 0.01 * (step > 100))
        for checkpoint, late in (("a", 0.1), ("b", 0.4))
        for step in (100, 200)
        for task in (*parts, "alone")
        for query in ("q0", "q1")
    )
    rows.columns = ["checkpoint", "recipe", "step", "task", "query_id", "ndcg_at_10"]
    study = StudySummary(study="s", headline={"group": parts, "alone": ["alone"]}, recipes=["main"], main_recipe="main")
    curves = rows.assign(queries=10 * rows["step"])
    table = efficiency(curves, rows[rows["step"] == 100], rows[rows["step"] == 200].drop(columns="step"), study, SPEC)
    about = {"recipe": "main", "task": "mean", "y": 0.5, "low": 0.4, "high": 0.6, "n_params": 1e6}
    points = pd.DataFrame({"checkpoint": ["a", "b"]}).assign(**about)
    values = early(table, points, "main").set_index("checkpoint")
    assert values["y"].to_dict() == pytest.approx({"a": 0.2, "b": 0.35}) and (values["n_params"] == 1e6).all()
    assert early(table, points, "other").empty and early(table.head(0), points, "main").empty

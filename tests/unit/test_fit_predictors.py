"""What predicts retrieval best, and how far a task tells checkpoints apart."""

import ladders
import numpy as np
import pandas as pd
import pytest

from retscale.fit.config import Spec
from retscale.fit.correlations import FLOPS, given_compute
from retscale.fit.ladder import ladder_of
from retscale.fit.points import icl_bits
from retscale.fit.predictors import BITS, PREDICTORS, SCORE, left_out_rmse, predictors
from retscale.fit.signal import expected_range, ratio, signal

SPEC = Spec(bootstrap=200)
NAMES = [f"c{i}" for i in range(27)]


def study(keep: slice = slice(None)):
    """27 cells of 6 sizes: retrieval follows what bits per byte measure well, in-context scores badly, beyond compute."""
    rng = np.random.default_rng(0)
    ability = 0.04 * ladders.X0 + rng.normal(0, 0.01, 27)
    points = pd.DataFrame({"checkpoint": NAMES, "recipe": "r", "task": "mean", "schedule": "finished"})
    points = points.assign(n_params=ladders.N, n_tokens=ladders.D, flops=6.0 * ladders.N * ladders.D, family="f")
    points = points.assign(size=[f"s{size}" for size in ladders.SIZES], y=0.3 + ability + rng.normal(0, 0.001, 27))
    points["log_flops"] = np.log10(points["flops"])
    means = {"checkpoint": NAMES, "task": "mean", "stderr": 0.01}
    icl = pd.DataFrame(means | {"score": ability + rng.normal(0, 0.05, 27)})
    bits = pd.DataFrame(means | {"bits_per_byte": 3 - 10 * ability + rng.normal(0, 0.02, 27)})
    return points[keep], icl, bits


def test_the_closest_measure_predicts_best_and_has_the_partial_correlation_of_the_control():
    points, icl, bits = study()
    table = predictors(points, icl, bits, "r", SPEC).set_index("predictor")
    assert list(table.index) == [FLOPS, SCORE, BITS] and table.index[table["best"]].tolist() == [BITS]
    assert table.loc[BITS, "rmse"] < 0.5 * table.loc[FLOPS, "rmse"] < table.loc[SCORE, "rmse"]
    assert table.loc[BITS, "pearson"] < -0.9 and table.loc[BITS, "gain"] > 0 and table.loc[BITS, "gain_low"] > 0
    expected = (
        np.corrcoef(bits["bits_per_byte"], points["y"])[0, 1],
        np.corrcoef(points["log_flops"], points["y"])[0, 1],
    )
    assert table.loc[BITS, "gain"] == pytest.approx(-expected[0] - expected[1])
    row = given_compute(bits["bits_per_byte"].to_numpy(), ladder_of(points), ("x",), SPEC)
    assert table.loc[BITS, "partial"] == pytest.approx(row.value) and row.value < -0.9
    assert table.loc[BITS, "partial_high"] == pytest.approx(row.high)
    assert table.loc[FLOPS, "partial_status"] == "unidentified" and np.isnan(table.loc[FLOPS, "partial"])


def test_a_line_is_judged_by_sizes_that_it_has_not_seen():
    points, _, bits = study()
    ladder, x = ladder_of(points), bits["bits_per_byte"].to_numpy()
    errors = []
    for size in set(points["size"]):
        out = (points["size"] == size).to_numpy()
        errors.extend(points["y"][out] - np.polyval(np.polyfit(x[~out], points["y"][~out], 1), x[out]))
    assert left_out_rmse(x, ladder) == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_all_predictors_are_of_the_same_checkpoints_and_few_sizes_have_no_interval():
    points, icl, bits = study(slice(0, 12))
    table = predictors(points, icl[1:], bits[:-1], "r", SPEC)
    assert table["n"].tolist() == [11] * 3
    assert table[["low", "gain_low"]].isna().all(axis=None) and table["reason"].str.contains("too few sizes").all()
    assert table["gain"].notna().tolist() == [False, True, True]


def test_a_study_without_in_context_scores_compares_nothing():
    points, icl, bits = study()
    nothing = predictors(points, icl[:0], bits[:0], "r", SPEC)
    assert nothing.empty and list(nothing) == PREDICTORS
    assert predictors(points, icl, bits[:0], "r", SPEC)["predictor"].tolist() == [FLOPS, SCORE]


def test_the_mean_of_bits_needs_all_tasks_that_have_any():
    values = {"a": [3.0, 4.0, None], "b": [2.0, None, None]}  # of three tasks, the last one generated
    rows = [(name, task, bits) for name, each in values.items() for task, bits in zip("xyz", each)]
    icl = pd.DataFrame(rows, columns=["checkpoint", "task", "bits_per_byte"])
    icl = icl.assign(bits_per_byte_stderr=[0.3, 0.4, None, 0.3, None, None], file="f", sha256="s")
    table = icl_bits(icl)
    (mean,) = table[table["task"] == "mean"].to_dict("records")
    assert (mean["checkpoint"], mean["bits_per_byte"]) == ("a", 3.5) and mean["stderr"] == pytest.approx(0.25)
    assert len(table) == 4 and icl_bits(icl.assign(bits_per_byte=None)).empty


def test_noise_alone_has_the_ratio_that_is_stated_beside():
    assert expected_range(2) == pytest.approx(2 / np.sqrt(np.pi), rel=1e-9)
    values = np.random.default_rng(1).normal(0.2, 0.03, (20_000, 12))
    assert expected_range(12) == pytest.approx(np.ptp(values, axis=1).mean() / 0.03, rel=0.01)
    row = ratio(np.array([0.1, 0.4, 0.3]), np.array([0.03, 0.05, 0.04]))
    assert row["spread"] == pytest.approx(0.3) and row["noise"] == pytest.approx(np.sqrt(0.005 / 3))
    assert row["ratio"] == pytest.approx(0.3 / np.sqrt(0.005 / 3)) and row["ratio_of_noise"] == expected_range(3)


@pytest.mark.parametrize(
    ("values", "errors", "status"),
    [([0.1], [0.02], "insufficient"), ([0.0, 0.0], [0.0, 0.0], "unidentified"), ([1, 2], [np.nan] * 2, "unidentified")],
)
def test_no_ratio_where_noise_or_spread_is_unknown(values, errors, status):
    row = ratio(np.array(values, float), np.array(errors))
    assert row["status"] == status and "ratio" not in row and row["reason"]


def test_signal_is_of_the_ladder_alone():
    points, icl, bits = study(slice(0, 20))
    table = signal(points, icl, bits, "r").set_index("measure")
    assert table["n"].tolist() == [20, 20] and table["headline"].all()
    assert table.loc["bits per byte", "least"] == bits["bits_per_byte"][:20].min()
    assert table.loc["bits per byte", "ratio"] > table.loc["score", "ratio"]

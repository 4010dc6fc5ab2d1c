"""Selection, backtests, forecasts and ceilings: what may be said beyond the data, and what beside it."""

from dataclasses import replace

import numpy as np
import pytest
from worlds import SIZES, grid, line, linear, power, sigmoid

from retscale.fit import backtest, select, trend
from retscale.fit.analysis import Analysis
from retscale.fit.ceiling import ceilings
from retscale.fit.config import Spec
from retscale.fit.extrapolate import Forecast, union
from retscale.fit.forms import FORMS
from retscale.fit.ladder import LN10
from retscale.fit.tables import curves, ladder_tables, target_rows
from retscale.fit.variance import Prior

PRIOR, UNIT = Prior(0.008, 4), (0.0, 1.0)


def rng(seed=0):
    return np.random.default_rng(seed)


def fits_of(ladder):
    return [trend.fit(form, ladder, 0.05, PRIOR) for form in FORMS.values()]


def analysis(ladder) -> Analysis:
    fits, held_out = fits_of(ladder), backtest.hold_out(ladder, 0.05, PRIOR, UNIT)
    key = {"recipe": "r", "schedule": "finished", "task": "t"}
    ids = np.array([f"c{i}" for i in range(len(ladder))])
    past = backtest.summarize(ladder, held_out)
    return Analysis(key, False, ladder, ids, fits, select.chosen(fits), held_out, past, UNIT)


@pytest.fixture(scope="module")
def curved() -> Analysis:
    return analysis(grid(power, rng(1), tau=0.003))


def test_aicc_is_that_of_its_formula():
    # n = 10, two parameters and the variance, RSS = 10 * .01²
    assert select.aicc(10, 3, 0.01) == pytest.approx(10 * np.log(0.01**2) + 6 + 24 / 6)
    assert select.aicc(4, 3, 0.01) is None
    assert select.aicc(10, 3, 0.0) == select.aicc(10, 3, 1e-12)  # rounding is no better than rounding


def test_the_set_is_within_4_of_the_best_and_its_weights_are_akaikes(curved):
    rows = {row.form: row for row in select.select(curved.fits, {})}
    inside = [row for row in rows.values() if row.in_set]
    assert min(row.delta_aicc for row in inside) == 0 and sum(row.weight for row in inside) == pytest.approx(1)
    assert all(row.in_set == (row.delta_aicc <= 4) for row in rows.values() if row.form != "quadratic")
    assert rows["saturating-power"].in_set and not rows["log-linear"].in_set
    assert rows["log-linear"].k == 3 and rows["surface"].k == 6
    inside = [row for row in select.select(fits_of(grid(linear, rng(1), tau=0.003)), {}) if row.in_set]
    first, other = sorted(inside, key=lambda row: row.aicc)[:2]
    assert first.weight / other.weight == pytest.approx(np.exp(other.delta_aicc / 2))


def test_a_diagnostic_is_in_no_set():
    ladder = grid(lambda n, d: linear(n, d) - 0.02 * (np.log10(6 * n * d) - 21) ** 2, rng(2))
    row = next(row for row in select.select(fits_of(ladder), {}) if row.form == "quadratic")
    assert row.aicc is not None and not row.in_set and "diagnostic" in row.reason


def test_a_winner_is_named_by_the_held_out_size_alone(curved):
    assert not any(row.winner for row in select.select(curved.fits, {}))
    worst = max(curved.weights, key=lambda name: -curved.weights[name])
    named = select.select(curved.fits, {worst: 0.001, "log-linear": 1e-9})  # the line is not in the set
    assert [row.form for row in named if row.winner] == [worst]


def test_three_checkpoints_have_a_line_and_no_aicc():
    rows = select.select(fits_of(line([0.1, 0.2, 0.25])), {})
    assert [row.form for row in rows if row.in_set] == ["log-linear"]
    assert rows[0].aicc is None and "too few checkpoints (3) for AICc" in rows[0].reason


def test_a_union_spans_the_bands_of_the_set_alone():
    forecasts = [
        Forecast(name, *(np.array([value]) for value in values))
        for name, values in {"a": (0.4, 0.3, 0.5), "b": (0.6, 0.5, 0.8), "c": (0.0, 0.0, 1.0)}.items()
    ]
    both = union(forecasts, {"a": 0.75, "b": 0.25})
    assert (both.form, both.y[0], both.low[0], both.high[0]) == ("set", pytest.approx(0.45), 0.3, 0.8)


def test_each_origin_knows_smaller_sizes_only():
    ladder = grid(linear, rng(3))
    for size, train, test in backtest.origins(ladder):
        assert set(ladder.sizes[test]) == {size}
        assert set(ladder.sizes[train]) == set(SIZES[: SIZES.index(size)])
    assert [size for size, *_ in backtest.origins(ladder)] == SIZES[1:]


def test_what_is_more_than_two_decades_beyond_is_not_held_out():
    ladder = line([0.1, 0.12, 0.15, 0.2])
    ladder = replace(ladder, at=replace(ladder.at, x=ladder.at.x + np.array([0, 0, 0, 1.5 * LN10])))
    assert list(backtest.origins(ladder)) == []
    assert {row.status for row in backtest.summarize(ladder, [])} == {"insufficient"}


def test_a_family_that_smaller_sizes_lack_is_not_predicted():
    ladder = grid(linear, rng(3))
    ladder = replace(ladder, families=np.where(ladder.sizes == "7B", "new", "old"))
    assert "7B" not in [size for size, *_ in backtest.origins(ladder)]


def test_hits_widths_and_errors_are_counted():
    ladder = line([0.1, 0.2, 0.3, 0.4])
    parts = [
        backtest.HeldOut("c", np.array([2]), "set", *(np.array([value]) for value in (0.3, 0.32, 0.31, 0.35))),
        backtest.HeldOut("d", np.array([3]), "set", *(np.array([value]) for value in (0.4, 0.38, 0.30, 0.42))),
    ]
    rows = {row.scheme: row for row in backtest.summarize(ladder, parts) if row.form == "set"}
    rolling, largest = rows["rolling origin"], rows["largest size"]
    assert (rolling.hits, rolling.n, rolling.origins) == (1, 2, 2) and (largest.hits, largest.n) == (1, 1)
    assert (rolling.width, rolling.rmse, rolling.bias) == pytest.approx((0.08, 0.02, 0.0))


def test_a_forecast_stands_beside_its_backtest_and_ends_at_two_decades(curved):
    rows = target_rows(
        curved,
        Spec(targets={"near": {"n_params": 13e9, "n_tokens": 2e12}, "far": {"n_params": 1e12, "n_tokens": 1e15}}),
    )
    near, far = ([row for row in rows if row["target"] == name] for name in ("near", "far"))
    assert [row["form"] for row in near] == [*curved.weights, "set"]
    past = next(row for row in curved.backtest if row.scheme == "rolling origin" and row.form == "set")
    assert near[-1]["backtest_hits"] == past.hits and near[-1]["backtest_n"] == past.n > 0
    assert near[-1]["low"] == min(row["low"] for row in near) < near[-1]["y"] < near[-1]["high"]
    assert near[0]["flops"] == 6 * 13e9 * 2e12
    assert [(row["status"], row["form"]) for row in far] == [("insufficient", "set")]
    assert "decades beyond" in far[0]["reason"] and "y" not in far[0]


def test_targets_of_a_study_have_defaults():
    assert list(Spec().targets) == ["13B x 2T", "30B x 1T", "70B x 15T"]


def test_curves_of_every_form_and_of_the_set(curved):
    table = {part["form"].iloc[0]: part for part in curves(curved, Spec())}
    assert list(table) == [*FORMS, "set"]
    inside = [table[name] for name in curved.weights]
    np.testing.assert_array_equal(
        table["set"]["prediction_high"], np.max([part["prediction_high"] for part in inside], 0)
    )
    np.testing.assert_array_equal(
        table["set"]["confidence_low"], np.min([part["confidence_low"] for part in inside], 0)
    )


def bounded(n, d):
    """A power law that is near its ceiling."""
    return 0.55 - 0.17 * 10 ** (-0.25 * (np.log10(6 * n * d) - 20.5))


@pytest.mark.parametrize(("world", "ceiling"), [(sigmoid, 0.5), (bounded, 0.55)])
def test_a_ceiling_that_is_there_is_found(world, ceiling):
    rows = {row.form: row for row in ceilings(fits_of(grid(world, rng(4))), 0.05, UNIT)}
    both = rows["set"]
    assert both.status == "ok" and both.low < ceiling < both.high < 0.7 and both.delta_aicc >= 2
    good = [row for row in rows.values() if row.status == "ok"]
    assert both.low == min(row.low for row in good) and both.high == max(row.high for row in good)


@pytest.mark.parametrize("n", [4, 27])
def test_no_ceiling_is_invented(n):
    ladder = grid(linear, rng(5)) if n == 27 else line([0.1, 0.2, 0.25, 0.27])
    rows = ceilings(fits_of(ladder), 0.05, UNIT)
    assert all(row.status != "ok" and row.ceiling is None and row.reason for row in rows)
    assert n == 27 or {row.status for row in rows} == {"insufficient"}


def test_tables_keep_their_columns_without_a_row(curved):
    empty, full = ladder_tables([], Spec()), ladder_tables([curved], Spec())
    for name, table in full.items():
        assert len(table) and list(empty[name].columns) == list(table.columns), name
        if "status" in table:
            assert set(table["status"]) <= {"ok", "bound_hit", "not_converged", "unidentified", "insufficient"}, name
            assert (table.loc[table["status"] != "ok", "reason"] != "").all(), name

"""Trends: honest intervals, and nothing claimed from too little."""

import numpy as np
import pytest
from scipy.stats import linregress, t

from retscale.fit import trend, variance
from retscale.fit.forms import FORMS

LINE = FORMS["log-linear"]


def rng():
    return np.random.default_rng(0)


def fit(x, y, sizes, replicates=400):
    fitted = trend.fit(LINE, np.array(x, float), np.array(y, float), sizes, 0.05, replicates, rng())
    return fitted.trend, fitted.draws


def ladder(sizes=6, levels=4):
    """log10 FLOPs and size labels of a ladder at fixed tokens per parameter."""
    params = np.linspace(5, 7, sizes)
    x = np.array([np.log10(6) + 2 * p + level for p in params for level in np.linspace(0.7, 2, levels)])
    return x, [str(s) for s in range(sizes) for _ in range(levels)]


def test_line_and_t_interval_are_those_of_scipy():
    x, y = np.array([10.0, 10.7, 11.3, 12.1]), np.array([0.1, 0.13, 0.14, 0.2])
    trend, draws = fit(x, y, ["a", "b", "c", "d"])
    known = linregress(x, y)
    half = t.ppf(0.975, 2) * known.stderr
    assert draws is None and trend.method == "t"
    assert trend.slope == pytest.approx(known.slope)
    assert (trend.low, trend.high) == pytest.approx((known.slope - half, known.slope + half))
    assert trend.r2 == pytest.approx(known.rvalue**2)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_points_claim_nothing(n):
    trend, _ = fit([10, 12][:n], [0.1, 0.2][:n], ["a", "b"][:n])
    assert (trend.status, trend.slope, trend.low, trend.n) == ("insufficient", None, None, n)
    assert str(n) in trend.reason


def test_less_than_a_decade_claims_nothing():
    trend, _ = fit([10, 10.3, 10.6, 10.9], [0.1, 0.2, 0.3, 0.4], list("abcd"))
    assert (trend.status, trend.slope) == ("insufficient", None)
    assert "decades" in trend.reason


def test_constant_values_identify_nothing():
    trend, _ = fit([10, 11, 12, 13, 14], [0.2] * 5, list("abcde"))
    assert (trend.status, trend.slope) == ("unidentified", None)


def test_one_size_is_fitted_without_size_effects_and_says_so():
    trend, draws = fit([10, 10.5, 11, 11.5, 12, 12.5], [0.1, 0.12, 0.13, 0.17, 0.18, 0.2], ["a"] * 6)
    assert (trend.status, trend.method, draws) == ("ok", "t", None)
    assert "sizes: 1" in trend.reason


def test_nan_is_refused():
    with pytest.raises(ValueError, match="finite"):
        fit([10, 11, 12], [0.1, np.nan, 0.2], list("abc"))


def test_one_checkpoint_a_size_falls_back_to_t():
    trend, _ = fit([10, 11, 12, 13, 14, 15], [0.1, 0.12, 0.15, 0.2, 0.21, 0.26], list("abcdef"))
    assert trend.method == "t"


def test_units_and_row_order_do_not_matter():
    x, sizes = ladder()
    y = 0.05 * x + np.random.default_rng(1).normal(0, 0.01, len(x))
    one, _ = fit(x, y, sizes)
    shifted, _ = fit(x - 20, y, sizes)
    assert (one.slope, one.low, one.high) == pytest.approx((shifted.slope, shifted.low, shifted.high))
    order = np.random.default_rng(2).permutation(len(x))
    other, _ = fit(x[order], y[order], [sizes[i] for i in order])
    assert one.slope == pytest.approx(other.slope)
    assert one.sigma == pytest.approx(other.sigma) and one.tau == pytest.approx(other.tau)


def test_a_size_effect_is_found_and_widens_the_interval():
    x, sizes = ladder()
    noise = np.random.default_rng(3).normal(0, 0.004, len(x))
    effect = np.repeat([0.03, -0.03, 0.03, -0.03, 0.03, -0.03], 4)
    without, _ = fit(x, 0.05 * x + noise, sizes)
    with_effect, _ = fit(x, 0.05 * x + noise + effect, sizes)
    assert with_effect.tau > 0.02 > 0.01 > without.tau
    assert with_effect.high - with_effect.low > 2 * (without.high - without.low)


def test_three_sizes_are_enough_for_a_wide_interval_only():
    x, sizes = ladder(sizes=3)
    y = 0.05 * x + np.random.default_rng(6).normal(0, 0.01, len(x))
    trend, _ = fit(x, y, sizes)
    assert trend.method == "mixed bootstrap" and "3 sizes" in trend.reason
    assert trend.low < trend.t_low < trend.slope < trend.t_high < trend.high


def test_bands_are_nested_and_grow_outwards():
    x, sizes = ladder()
    y = 0.05 * x + np.random.default_rng(4).normal(0, 0.01, len(x))
    grid = np.linspace(x.min(), x.max() + 1, 30)
    for count in (len(x), 4):
        part = slice(None, None, len(x) // count)
        band = trend.bands(trend.fit(LINE, x[part], y[part], sizes[part], 0.05, 400, rng()), grid, 0.05)
        assert (band["prediction_low"] < band["confidence_low"]).all()
        assert (band["confidence_high"] < band["prediction_high"]).all()
        width = band["confidence_high"] - band["confidence_low"]
        assert width[-1] > width[len(grid) // 2]


def test_the_solved_percentiles_are_those_of_a_bootstrap_that_draws_everything():
    x, sizes = ladder(sizes=5)
    groups = trend.size_codes(sizes)
    x = x - x.mean()
    y = (
        0.05 * x
        + np.random.default_rng(7).normal(0, 0.01, len(x))
        + np.random.default_rng(8).normal(0, 0.01, 5)[groups]
    )
    components = variance.components(np.column_stack([np.ones_like(x), x]), y, groups)
    draws = variance.mixed_bootstrap(groups, components, 40_000, rng())
    world = np.random.default_rng(9)
    effects = draws.tau[:, None] * world.normal(size=(40_000, 5))[:, groups]
    noise = effects + draws.sigma[:, None] * world.normal(size=(40_000, len(x)))
    slopes = noise @ x / (x @ x)
    solved = variance.half_width(draws, x[None] / (x @ x), 0.05)[0]
    assert np.quantile(slopes, [0.025, 0.975]) == pytest.approx([-solved, solved], rel=0.05)
    future = noise.mean(1) + draws.tau * world.normal(size=40_000) + draws.sigma * world.normal(size=40_000)
    solved = variance.half_width(draws, np.full((1, len(x)), 1 / len(x)), 0.05, new=True)[0]
    assert np.quantile(future, 0.975) == pytest.approx(solved, rel=0.05)


def pairs_bootstrap(x, y, replicates, rng):
    """Slopes of resampled checkpoints: the common method, which ignores sizes."""
    rows = rng.integers(len(x), size=(replicates, len(x)))
    xs, ys = x[rows], y[rows]
    xs = xs - xs.mean(1, keepdims=True)
    square = (xs**2).sum(1)
    return (xs * ys).sum(1)[square > 0] / square[square > 0]


def test_the_mixed_bootstrap_covers_and_the_pairs_bootstrap_does_not():
    """Size effects of the noise's magnitude, 27 checkpoints of 6 sizes as in the paper: nominal 95%."""
    rounds, truth = 300, 0.05
    sizes = np.repeat(np.arange(6), [5, 5, 5, 4, 4, 4])
    x = 10 + 2 * sizes * 0.35 + np.concatenate([np.linspace(0, 1.4, n) for n in np.bincount(sizes)])
    x = x - x.mean()
    world = np.random.default_rng(5)
    covered = {"mixed": 0, "pairs": 0}
    for _ in range(rounds):
        y = truth * x + world.normal(0, 0.01, 6)[sizes] + world.normal(0, 0.006, len(x))
        mixed = trend.fit(LINE, x, y, [str(size) for size in sizes], 0.05, 400, world).trend
        covered["mixed"] += mixed.low <= truth <= mixed.high
        low, high = np.quantile(pairs_bootstrap(x, y, 400, world), [0.025, 0.975])
        covered["pairs"] += low <= truth <= high
    assert covered["mixed"] / rounds >= 0.9
    assert covered["pairs"] / rounds < 0.9

"""Correlations against scipy, permutation tests that keep sizes whole, and intervals over sizes."""

import ladders
import numpy as np
import pytest
from scipy import stats

from retscale.fit import correlate


def correlation(x, y, groups=None, method="pearson", replicates=500):
    groups = np.arange(len(x)) if groups is None else np.asarray(groups)
    rng = np.random.default_rng(0)
    return correlate.correlate(np.array(x, float), np.array(y, float), groups, method, 0.05, replicates, rng)


@pytest.mark.parametrize("ties", [False, True])
def test_coefficients_are_those_of_scipy(ties):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=20), rng.normal(size=20)
    if ties:
        x, y = x.round(), y.round()
    assert correlate.pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)
    assert correlate.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert correlate.kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)


def test_three_points_have_the_exact_p_of_a_third():
    coefficient = correlation([1, 2, 3], [0.1, 0.2, 0.3], method="spearman")
    assert coefficient.value == pytest.approx(1)
    assert coefficient.p == pytest.approx(1 / 3)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_points_have_no_coefficient(n):
    coefficient = correlation([1, 2][:n], [1, 2][:n])
    assert (coefficient.status, coefficient.value, coefficient.p) == ("insufficient", None, None)


def test_a_constant_side_is_unidentified():
    assert correlation([1, 2, 3, 4], [0.1] * 4).status == "unidentified"


def test_two_sizes_have_no_interval():
    coefficient = correlation([1, 2, 3, 4], [1, 2, 4, 3], [0, 0, 1, 1])
    assert coefficient.status == "ok" and coefficient.low is None and "too few sizes" in coefficient.reason


def test_the_interval_resamples_whole_sizes():
    """Many checkpoints of few sizes hold little more than the sizes do: the interval must not shrink with them."""
    rng = np.random.default_rng(2)
    sizes = np.repeat(np.arange(6), 20)
    x, y = rng.normal(size=6)[sizes], rng.normal(size=6)[sizes]
    x, y = x + rng.normal(0, 0.01, 120), y + rng.normal(0, 0.01, 120)
    clustered, single = correlation(x, y, sizes), correlation(x, y)
    assert clustered.high - clustered.low > 2 * (single.high - single.low)


@pytest.mark.parametrize("noise", [0, 1e-16])
def test_a_constant_is_one_whatever_its_rounding(noise):
    values = 0.4 + noise * np.arange(12)
    row = correlation(values, np.arange(12.0))
    assert (row.status, row.value) == ("unidentified", None)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_a_short_ladder_of_one_checkpoint_a_size_has_no_interval(n):
    for method in correlate.METHODS:
        row = correlation(np.arange(n), np.arange(n) ** 2, method=method)
        assert row.value == pytest.approx(1, abs=0.1) and (row.low, row.high) == (None, None)


def test_an_interval_is_never_a_point():
    row = correlation(np.arange(8.0), np.arange(8.0), method="spearman")
    assert row.value == 1 and row.low is None and "every resample" in row.reason


def test_pearson_of_resampled_sums_is_that_of_resampled_rows():
    rng = np.random.default_rng(5)
    groups = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5])
    x, y = rng.normal(size=(2, 9))
    fast = correlate.size_bootstrap(correlate.pearson, [x, y], groups, 300, np.random.default_rng(6))
    slow = correlate.size_bootstrap(lambda a, b: correlate.pearson(a, b), [x, y], groups, 300, np.random.default_rng(6))
    np.testing.assert_allclose(np.sort(fast), np.sort(slow), atol=1e-9)


def test_effects_of_size_are_no_relation():
    """With 8, 5, 4, 3, 5 and 2 checkpoints of 6 sizes, as in the paper: permutations that mix sizes reject in a third."""
    rng = np.random.default_rng(7)
    ps, mixed = [], []
    for y in ladders.scores(np.zeros(27), 0.010, 300, rng):
        ps.append(correlate.permutation_p(correlate.pearson, ladders.X, y, ladders.SIZES, 200, rng))
        mixed.append(correlate.permutation_p(correlate.pearson, ladders.X, y, np.arange(27), 200, rng))
    assert np.mean(np.array(ps) <= 0.05) <= 0.09 and np.mean(np.array(mixed) <= 0.05) > 0.2


def test_permutation_p_has_its_size_under_the_null():
    rng = np.random.default_rng(4)
    ps = [
        correlate.permutation_p(correlate.pearson, *rng.normal(size=(2, 9)), np.arange(9), 200, rng) for _ in range(300)
    ]
    assert 0.02 <= np.mean(np.array(ps) <= 0.05) <= 0.09

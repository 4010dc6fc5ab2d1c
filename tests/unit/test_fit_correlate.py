"""Correlations against scipy, exact permutation tests, and partial correlation."""

import numpy as np
import pytest
from scipy import stats

from retscale.fit import correlate


def one(x, y, groups=None, method="pearson", control=None, replicates=500):
    groups = np.arange(len(x)) if groups is None else np.asarray(groups)
    rng = np.random.default_rng(0)
    return correlate.correlate(np.array(x, float), np.array(y, float), groups, method, 0.05, replicates, rng, control)


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
    coefficient = one([1, 2, 3], [0.1, 0.2, 0.3], method="spearman")
    assert coefficient.value == pytest.approx(1)
    assert coefficient.p == pytest.approx(1 / 3)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_points_have_no_coefficient(n):
    coefficient = one([1, 2][:n], [1, 2][:n])
    assert (coefficient.status, coefficient.value, coefficient.p) == ("insufficient", None, None)


def test_a_constant_side_is_unidentified():
    assert one([1, 2, 3, 4], [0.1] * 4).status == "unidentified"


def test_two_sizes_have_no_interval():
    coefficient = one([1, 2, 3, 4], [1, 2, 4, 3], [0, 0, 1, 1])
    assert coefficient.status == "ok" and coefficient.low is None and "too few sizes" in coefficient.reason


def test_the_interval_resamples_whole_sizes():
    """Many checkpoints of few sizes hold little more than the sizes do: the interval must not shrink with them."""
    rng = np.random.default_rng(2)
    sizes = np.repeat(np.arange(5), 20)
    x, y = rng.normal(size=5)[sizes], rng.normal(size=5)[sizes]
    x, y = x + rng.normal(0, 0.01, 100), y + rng.normal(0, 0.01, 100)
    clustered, single = one(x, y, sizes), one(x, y)
    assert clustered.high - clustered.low > 2 * (single.high - single.low)


def test_partial_correlation_removes_a_common_cause():
    rng = np.random.default_rng(3)
    cause = rng.normal(size=200)
    x, y = cause + rng.normal(0, 0.3, 200), cause + rng.normal(0, 0.3, 200)
    assert one(x, y).value > 0.8
    partial = one(x, y, control=cause)
    assert abs(partial.value) < 0.2 and partial.p > 0.05


def test_permutation_p_has_its_size_under_the_null():
    rng = np.random.default_rng(4)
    ps = [
        correlate.permutation_p(correlate.pearson, rng.normal(size=9), rng.normal(size=9), 200, rng) for _ in range(300)
    ]
    assert 0.02 <= np.mean(np.array(ps) <= 0.05) <= 0.09

"""Rules, classes and paired tests: verdicts that exclude each other, against other implementations and by hand."""

from itertools import product

import ladders
import numpy as np
import pytest
from scipy import stats

from retscale.fit import rules
from retscale.fit.classes import Growth, class_of, growth
from retscale.fit.forms import FORMS
from retscale.fit.paired import bootstrap_p, paired_p
from retscale.fit.trend import fit
from retscale.fit.variance import Prior


@pytest.mark.parametrize(
    ("low", "high", "grows", "strong", "beyond"),
    [
        (0.011, 0.05, "supported", "not supported", "supported"),
        (0.001, 0.002, "not supported", "not supported", "supported"),
        (-0.05, 0.005, "not supported", "not supported", "not supported"),
        (-0.01, 0.6, "cannot tell", "cannot tell", "cannot tell"),
        (0.6, 0.9, "supported", "supported", "supported"),
        (None, None, "cannot tell", "cannot tell", "cannot tell"),
        (float("nan"), float("nan"), "cannot tell", "cannot tell", "cannot tell"),
    ],
)
def test_an_interval_has_one_verdict(low, high, grows, strong, beyond):
    assert (rules.growth(low, high), rules.correlation(low, high), rules.partial(low, high)) == (grows, strong, beyond)


def test_most_is_more_than_half():
    yes, no, open_ = rules.SUPPORTED, rules.REFUTED, rules.OPEN
    assert rules.most([yes, yes, no]) == yes and rules.most([no, no, open_]) == no
    assert rules.most([yes, no]) == rules.most([yes, open_]) == rules.most([]) == open_


def grown(curve, tau=0.003, drawn=None, seed=0):
    ladder = ladders.ladder(ladders.scores(curve, tau, 1, np.random.default_rng(seed))[0])
    fits = [fit(FORMS[name], ladder, 0.05, Prior(0.012, 4)) for name in ("log-linear", "quadratic")]
    return growth(*fits, drawn, 0.05), ladder, fits


@pytest.mark.parametrize(
    ("curve", "name"),
    [
        (0.3 + 0.04 * ladders.X0, "monotone"),
        (0.3 - 0.04 * ladders.X0, "inverse"),
        (0.3 + 0.0 * ladders.X0, "noisy"),
        (0.4 - 0.03 * np.exp(-1.2 * ladders.X0), "plateau"),
    ],
)
def test_classes(curve, name):
    row, *_ = grown(curve)
    assert class_of(row, row.p, 0.05) == name
    assert (
        class_of(row, 0.06, 0.05) == "noisy"
        and class_of(Growth(4, 4, 1, 0.001, status="ok"), 0.001, 0.05) == "insufficient"
    )


def test_p_is_where_the_interval_reaches_zero_and_queries_add_to_it():
    row, ladder, (line, parabola) = grown(0.3 + 0.006 * ladders.X0)
    slope = line.parameters[1]
    low, high = line.interval(slope, line.inverse[1], row.p)
    assert min(abs(low), abs(high)) < 1e-4 * (high - low) and row.query_se is None and "unknown" in row.reason
    drawn = ladder.y + np.random.default_rng(1).normal(0, 0.01, 500)[:, None] * ladders.X0
    noisy = growth(line, parabola, drawn, 0.05)
    assert noisy.query_se == pytest.approx(0.01, rel=0.1) and noisy.p > row.p


@pytest.mark.parametrize("noise", [0, 1e-16])
def test_a_constant_task_is_insufficient_whatever_its_rounding(noise):
    ladder = ladders.ladder(0.4 + noise * np.random.default_rng(2).normal(size=27))
    line = fit(FORMS["log-linear"], ladder, 0.05, Prior(0.012, 4))
    row = growth(line, line, None, 0.05)
    assert (row.status, row.reason, class_of(row, float("nan"), 0.05)) == (
        "unidentified",
        "all values are equal",
        "insufficient",
    )


def test_sign_flips_are_all_of_them_or_a_sample_of_many():
    d = np.random.default_rng(3).normal(0.3, 1, 8)
    flips = [abs(np.mean(signs * d)) for signs in product([1, -1], repeat=8)]
    rng = np.random.default_rng(4)
    assert paired_p(d, 2000, rng) == (np.mean(np.array(flips) >= abs(d.mean()) - 1e-12), "sign flips")
    many = np.random.default_rng(5).normal(0.1, 1, 299)
    assert paired_p(many, 5000, rng)[0] == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.02)
    assert paired_p(np.zeros(20), 500, rng) == (1.0, "sign flips")


def test_many_queries_have_students_t():
    d, rng = np.random.default_rng(6).normal(0.05, 1, 300), np.random.default_rng(0)
    assert paired_p(d, 500, rng) == (pytest.approx(stats.ttest_1samp(d, 0).pvalue), "paired t")
    assert paired_p(np.zeros(300), 500, rng)[0] == 1 and paired_p(d[:1], 500, rng) == (None, "")


def test_the_bootstrap_of_a_mean_is_two_sided():
    drawn = np.linspace(-1, 9, 999)
    assert bootstrap_p(drawn) == bootstrap_p(-drawn) == pytest.approx(0.2, abs=0.005)
    assert bootstrap_p(np.zeros(999)) == 1
